"""The parts of the client that differ between asyncio and threads, for threads.

The names and their meanings are those of `tasks`.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Generic, Protocol, TypeAlias, TypeVar

import grpc

from halftone.core import addresses, errors, tls

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from typing import ParamSpec

    P = ParamSpec("P")

T = TypeVar("T")
R = TypeVar("R")
T_co = TypeVar("T_co", covariant=True)

Source: TypeAlias = Iterable[T]
"""The iterables from which an import may take its records."""

Channel: TypeAlias = grpc.Channel
Condition: TypeAlias = threading.Condition
Lock = threading.Lock

open_channel = tls.open_channel
sleep = time.sleep


def run_blocking(function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Call the function in this thread, which may block."""
    return function(*args, **kwargs)


@contextlib.contextmanager
def translate_errors(address: str) -> Iterator[None]:
    """Raise what gRPC raises inside the `with` block as `errors.HalftoneError`.

    `address` is the service's; the error names it if nobody answers there.
    """
    try:
        yield
    except grpc.RpcError as failure:
        raise addresses.name_address(errors.from_rpc_error(failure), address=address) from failure


class Stream(Protocol[T_co]):
    """A call whose responses are a stream."""

    def __iter__(self) -> Iterator[T_co]:
        """Iterate over the responses; raises gRPC's errors."""

    def cancel(self) -> bool:
        """End the call."""


class Inbox(Generic[T]):
    """A queue without bounds."""

    def __init__(self) -> None:
        self._items: queue.SimpleQueue[T] = queue.SimpleQueue()

    def put(self, item: T) -> None:
        """Add an item."""
        self._items.put(item)

    def get(self, *, timeout: float) -> T | None:
        """Return the oldest item, or None if there is none for `timeout` seconds."""
        with contextlib.suppress(queue.Empty):
            return self._items.get(timeout=timeout)
        return None


class Worker:
    """Runs a function beside its caller in a daemon thread; it starts at once."""

    def __init__(self, function: Callable[..., None], *args: object, name: str) -> None:
        self._thread = threading.Thread(target=function, args=args, name=name, daemon=True)
        self._thread.start()

    def stop(self, *, patience: float) -> None:
        """Wait at most `patience` seconds for the function to end.

        A thread cannot be stopped from outside.
        """
        self._thread.join(patience)


def pull(records: Source[T], convert: Callable[[T], R]) -> Generator[R, None, None]:
    """Iterate over records; each is converted in the thread that asks for it."""
    for record in records:
        yield convert(record)
