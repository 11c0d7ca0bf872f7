"""The parts of the client that differ between asyncio and threads, for asyncio.

`threads` offers the same names for the blocking client. All differences between the two clients
beyond the words `async` and `await` are in these two modules: `tools/unasync.py` generates the
blocking client from the asynchronous one and replaces `tasks` by `threads`.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import AsyncIterable, Iterable
from typing import TYPE_CHECKING, Generic, Protocol, TypeAlias, TypeVar

import grpc

from halftone.core import addresses, errors, tls

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
    from typing import Any

T = TypeVar("T")
R = TypeVar("R")
T_co = TypeVar("T_co", covariant=True)

Source: TypeAlias = Iterable[T] | AsyncIterable[T]
"""The iterables from which an import may take its records."""

Channel: TypeAlias = grpc.aio.Channel
Condition: TypeAlias = asyncio.Condition
# One event loop runs one piece of code at a time, so nothing has to be locked.
Lock = contextlib.nullcontext

open_channel = tls.open_aio_channel
sleep = asyncio.sleep
run_blocking = asyncio.to_thread


@contextlib.contextmanager
def translate_errors(address: str) -> Iterator[None]:
    """Raise what gRPC raises inside the `with` block as `errors.HalftoneError`.

    `address` is the service's; the error names it if nobody answers there.

    gRPC ends a call with `asyncio.CancelledError` when its channel is closed. That becomes
    `errors.Cancelled`, unless the task itself is being cancelled.
    """
    try:
        yield
    except grpc.aio.AioRpcError as failure:
        # When a service ends a stream that is being written to, grpc.aio may report the failed
        # write instead of the service's status. A new stream will report the cause.
        if "SendMessageOperation" in (failure.debug_error_string() or ""):
            raise errors.Unavailable("The service ended the stream.") from failure
        raise addresses.name_address(errors.from_rpc_error(failure), address=address) from failure
    except asyncio.CancelledError as failure:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise errors.Cancelled("The connection was closed.") from failure


class Stream(Protocol[T_co]):
    """A call whose responses are a stream."""

    def __aiter__(self) -> AsyncIterator[T_co]:
        """Iterate over the responses; raises gRPC's errors."""

    def cancel(self) -> bool:
        """End the call."""


class Inbox(Generic[T]):
    """A queue without bounds."""

    def __init__(self) -> None:
        self._items: asyncio.Queue[T] = asyncio.Queue()

    def put(self, item: T) -> None:
        """Add an item."""
        self._items.put_nowait(item)

    async def get(self, *, timeout: float) -> T | None:  # noqa: ASYNC109  # as in `threads`
        """Return the oldest item, or None if there is none for `timeout` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                return await self._items.get()
        return None


class Worker:
    """Runs a coroutine function beside its caller; it starts at once."""

    def __init__(
        self, function: Callable[..., Coroutine[Any, Any, None]], *args: object, name: str
    ) -> None:
        self._task = asyncio.create_task(function(*args), name=name)

    async def stop(self, *, patience: float) -> None:
        """Cancel the task and wait at most `patience` seconds for its end."""
        self._task.cancel()
        await asyncio.wait([self._task], timeout=patience)


class _End:
    """Takes the place of a record after the last one. No exception of a source looks like it."""


async def pull(records: Source[T], convert: Callable[[T], R]) -> AsyncGenerator[R, None]:
    """Iterate over records, each converted, without holding up the event loop.

    `convert` runs in a thread. An iterable that is not asynchronous runs in one thread as well,
    which takes a record only when one is asked for.
    """
    if isinstance(records, AsyncIterable):
        async for record in records:
            yield await asyncio.to_thread(convert, record)
        return
    loop = asyncio.get_running_loop()
    asked: queue.SimpleQueue[asyncio.Future[R | _End] | None] = queue.SimpleQueue()
    # A daemon thread: an iterable that never gives its next record must not keep the program alive.
    threading.Thread(
        target=_serve, args=(records, convert, asked), name="halftone-import-source", daemon=True
    ).start()
    try:
        while True:
            future: asyncio.Future[R | _End] = loop.create_future()
            asked.put(future)
            item = await future
            if isinstance(item, _End):
                return
            yield item
    finally:
        asked.put(None)


def _serve(
    records: Iterable[T],
    convert: Callable[[T], R],
    asked: queue.SimpleQueue[asyncio.Future[R | _End] | None],
) -> None:
    """Answer each future that is asked for with the next record, until None is asked for."""
    # The loop may be closed by the time a slow iterable answers.
    with contextlib.suppress(RuntimeError):
        future = asked.get()
        try:
            for record in records:
                if future is not None:
                    _answer(future, result=convert(record))
                if (future := asked.get()) is None:
                    return
        except BaseException as failure:  # noqa: BLE001  # raised again where it is awaited
            if future is not None:
                _answer(future, error=failure)
        else:
            if future is not None:
                _answer(future, result=_End())


def _answer(
    future: asyncio.Future[R], *, result: R | None = None, error: BaseException | None = None
) -> None:
    def settle() -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    future.get_loop().call_soon_threadsafe(settle)
