"""Runs functions on strangers' pictures in worker processes, each for one picture at a time."""

from __future__ import annotations

import collections
import contextlib
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any, Final, TypeVar

from halftone.core import errors
from halftone.imaging import needs
from halftone.imaging.pool.messages import ChannelClosedError, Kind, unpack
from halftone.imaging.pool.processes import Nursery, WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Callable

    from halftone.imaging.pool.messages import Channel, Frame
    from halftone.imaging.pool.worker import Limits

T = TypeVar("T")

_LOOK_SECONDS: Final = 0.1
"""Seconds between two looks at whether a caller still waits."""
_HANG_SECONDS: Final = 120.0
"""Seconds of the clock after which a worker is ended, however little of a processor it had."""


class Pool:
    """A few worker processes that decode pictures.

    A worker that takes more than it may, whose caller has given up, or that crashes, is replaced;
    only its own call fails. Methods may be called from several threads.
    """

    def __init__(
        self,
        *,
        limits: Limits,
        workers: int = 0,
        modules: tuple[str, ...] = (),
        budget: needs.MemoryBudget | None = None,
    ) -> None:
        """Create a pool. `start` starts its processes.

        Args:
            limits: What one call may take.
            workers: The number of workers; 0 means one for each core.
            modules: The modules of the functions, imported once for all workers; with
                `module:function`, the function is then called, for example to read a table.
            budget: Bounds the memory that pictures take besides what each worker may have.
        """
        self._limits = limits
        self._workers = workers or os.cpu_count() or 1
        self._modules = modules
        self._budget = budget or needs.MemoryBudget()
        self._lock = threading.Lock()
        self._idle: list[WorkerProcess] = []
        self._waiting: collections.deque[_Place] = collections.deque()
        self._nursery: Nursery | None = None
        self._nursery_lock = threading.Lock()
        self._closed = False

    @property
    def workers(self) -> int:
        """The number of workers."""
        return self._workers

    def start(self) -> None:
        """Start the workers and wait until all of them can be called. Blocks for a second or two.

        Calls that came before wait for it.

        Raises:
            errors.Unavailable: They cannot be started.
        """
        workers = [WorkerProcess() for _ in range(self._workers)]
        for worker in workers:
            self._fill(worker)
        for worker in workers:
            self._put(worker)

    def close(self) -> None:
        """End the workers. Calls that run fail with `Unavailable`."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            for place in self._waiting:
                place.ready.set()
        with self._nursery_lock:
            if self._nursery is not None:
                self._nursery.close()
                self._nursery = None
        for worker in idle:
            worker.close()

    def run(
        self,
        function: Callable[..., T],
        content: bytes,
        /,
        *,
        is_over: Callable[[], bool] | None = None,
        **arguments: Any,
    ) -> T:
        """Call a function with a picture's bytes in a worker, and return its result.

        Args:
            function: A function of a module, called with `content`, `reserve` and the arguments.
                Its result is made of plain data, arrays, pictures and classes of Halftone.
            content: The picture's bytes.
            is_over: Tells that the caller has given up or that its deadline has passed; then the
                worker is killed. None: the caller waits.
            arguments: Further arguments, few bytes.

        Raises:
            errors.ImageRejected: The picture crashes its decoder, or takes more memory or time than
                it may (`TOO_EXPENSIVE`).
            errors.DeadlineExceeded: It is over.
            errors.ResourceExhausted: The worker was killed twice, most likely for lack of memory.
            errors.Unavailable: The pool is closed, or its processes cannot be started.
            errors.HalftoneError: What the function raises.
        """
        over = is_over or (lambda: False)
        for _ in range(2):
            worker = self._take(over)
            try:
                self._prepare(worker)
                with contextlib.suppress(_KilledError):
                    return self._call(worker, over, (function, content, arguments))
            finally:
                self._put(worker)
        raise errors.ResourceExhausted(
            "The process that decoded the picture was killed, perhaps for lack of memory.",
            reason="DECODER_KILLED",
            retry_after=1.0,
        )

    # ---- workers, in turns

    def _take(self, is_over: Callable[[], bool]) -> WorkerProcess:
        place = _Place()
        with self._lock:
            if self._idle and not self._waiting:
                return self._idle.pop()
            self._waiting.append(place)
        while not place.ready.wait(_LOOK_SECONDS) and not is_over() and not self._closed:
            pass
        with self._lock:
            if place.worker is not None:
                return place.worker
            self._waiting.remove(place)
        if self._closed:
            raise _make_closed()
        raise errors.DeadlineExceeded("The deadline passed while the picture waited.")

    def _put(self, worker: WorkerProcess) -> None:
        with self._lock:
            if not self._closed:
                for place in self._waiting:
                    if place.worker is None:
                        self._waiting.remove(place)
                        place.worker = worker
                        place.ready.set()
                        return
                self._idle.append(worker)
                return
        worker.close()

    def _prepare(self, worker: WorkerProcess) -> None:
        """Replace a worker that was killed while it was idle."""
        if not worker.is_alive():
            self._end(worker)
            self._fill(worker)

    # ---- calls

    def _call(
        self,
        worker: WorkerProcess,
        is_over: Callable[[], bool],
        call: tuple[Callable[..., T], bytes, dict[str, Any]],
    ) -> T:
        function, content, arguments = call
        channel, room = worker.open_channel(), _Room(self._budget)
        try:
            lengths = channel.write([content])
            channel.send(Kind.CALL, (function, *lengths, arguments))
            frame = _wait(channel, room, is_over=is_over)
            lengths = _read_numbers(frame.body)
            value = unpack(channel.read(sum(lengths)), lengths=lengths)
            channel.free()
        except ChannelClosedError:
            status = self._replace(worker)
            raise _make_closed() if self._closed else _explain(status) from None
        except OSError as error:
            self._replace(worker)
            raise errors.ResourceExhausted(
                "There is no memory to decode the picture.", reason="NO_MEMORY", retry_after=1.0
            ) from error
        except BaseException:
            # It works on, and nobody knows what it will say next.
            self._replace(worker)
            raise
        finally:
            room.free()
        if frame.kind is Kind.RESULT:
            result: T = value
            return result
        raise value if isinstance(value, errors.HalftoneError) else RuntimeError(str(value))

    # ---- processes

    def _replace(self, worker: WorkerProcess) -> int:
        """Kill a worker and start another one in its place. Returns how the first one ended."""
        status = self._end(worker)
        # If that fails, the next call for this worker tries again, and says what is wrong.
        with contextlib.suppress(errors.Unavailable):
            self._fill(worker)
        return status

    def _end(self, worker: WorkerProcess) -> int:
        status = 0
        with self._nursery_lock:
            if self._nursery is not None and worker.nursery is self._nursery and worker.pid:
                status = self._nursery.end(worker.pid)
        worker.close()
        return status

    def _fill(self, worker: WorkerProcess) -> None:
        """Start the process of a worker.

        Raises:
            errors.Unavailable: It cannot be started.
        """
        with self._nursery_lock:
            for attempt in range(2):
                if self._closed:
                    raise _make_closed()
                try:
                    if self._nursery is None:
                        self._nursery = Nursery(self._limits, modules=self._modules)
                    self._nursery.start(worker)
                except (OSError, ChannelClosedError) as error:
                    if self._nursery is not None:
                        self._nursery.close()
                        self._nursery = None
                    if attempt:
                        raise errors.Unavailable(
                            "The processes that decode pictures cannot be started.",
                            reason="NO_DECODERS",
                            retry_after=5.0,
                        ) from error
                else:
                    return


class _KilledError(Exception):
    """The worker was killed by somebody else."""


class _Room:
    """The memory that a call has taken from the budget."""

    def __init__(self, budget: needs.MemoryBudget) -> None:
        self._budget = budget
        self._size = 0

    def take(self, size: int, *, is_over: Callable[[], bool]) -> None:
        if not self._budget.take(size, is_over=is_over):
            raise errors.DeadlineExceeded("The deadline passed while the picture waited.")
        self._size += size

    def free(self) -> None:
        if self._size:
            self._budget.free(self._size)
        self._size = 0


class _Place:
    """A place in the line of those who wait for a worker."""

    def __init__(self) -> None:
        self.ready = threading.Event()
        self.worker: WorkerProcess | None = None


def _wait(channel: Channel, room: _Room, *, is_over: Callable[[], bool]) -> Frame:
    """Return the last frame of a call: a result or an error."""
    gives_up = time.monotonic() + _HANG_SECONDS
    while True:
        frame = channel.receive(timeout=_LOOK_SECONDS)
        if frame is None:
            if is_over():
                raise errors.DeadlineExceeded("The deadline passed while the picture was decoded.")
            if time.monotonic() > gives_up:
                raise needs.too_much_time()
        elif frame.kind is Kind.NEED:
            room.take(sum(_read_numbers(frame.body)), is_over=is_over)
            channel.send(Kind.GRANT)
        elif frame.kind is Kind.FREE:
            room.free()
        else:
            return frame


def _explain(status: int) -> Exception:
    """Return the error of a call whose worker has ended."""
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    if number == signal.SIGXCPU:
        return needs.too_much_time()
    if number in (0, signal.SIGKILL):
        return _KilledError()
    return errors.ImageRejected(
        "The picture crashes its decoder.",
        reason="CORRUPT",
        metadata={"signal": signal.Signals(number).name},
    )


def _make_closed() -> errors.Unavailable:
    return errors.Unavailable("The service is shutting down.", reason="DRAINING", retry_after=1.0)


def _read_numbers(body: bytes) -> list[int]:
    return [int(each) for each in unpack(body, lengths=[len(body)])]
