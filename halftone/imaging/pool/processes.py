"""The processes of a pool as the service sees them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Final

from halftone.core import system
from halftone.imaging.pool import nursery
from halftone.imaging.pool.messages import Channel, ChannelClosedError

if TYPE_CHECKING:
    from halftone.imaging.pool.worker import Limits

_START_SECONDS: Final = 60.0
"""Seconds in which the nursery imports its modules, on a busy machine."""
_ANSWER_SECONDS: Final = 10.0
"""Seconds in which the nursery forks or ends a worker."""
_ONE_THREAD: Final = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"), "1"
)
"""There is a worker for each core, so none of them needs more threads than one."""


class WorkerProcess:
    """A worker process, or the place of one that has ended and was not replaced."""

    def __init__(self) -> None:
        self.pid = 0
        self.nursery: Nursery | None = None
        self._channel: Channel | None = None

    def take_over(self, channel: Channel, *, pid: int, nursery: Nursery) -> None:
        """Become a process that was started."""
        self._channel, self.pid, self.nursery = channel, pid, nursery

    def is_alive(self) -> bool:
        """Return whether there is a process."""
        return self._channel is not None and not self._channel.is_closed_there()

    def open_channel(self) -> Channel:
        """Return the channel to the process.

        Raises:
            ChannelClosedError: There is no process.
        """
        if self._channel is None:
            raise ChannelClosedError
        return self._channel

    def close(self) -> None:
        """Close the channel."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None


class Nursery:
    """The process that forks the workers, as the pool sees it."""

    def __init__(self, limits: Limits, *, modules: tuple[str, ...]) -> None:
        """Start the process, and wait until it has imported the modules.

        Raises:
            OSError: It cannot be started, or has ended.
        """
        self._control, there = socket.socketpair()
        numbers = (there.fileno(), limits.memory_bytes, limits.seconds, limits.nice)
        environment = {
            **os.environ,
            **_ONE_THREAD,
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        }
        with there:
            self._process = subprocess.Popen(  # noqa: S603 - this program's own module
                [sys.executable, "-m", nursery.__name__, *map(str, numbers), *modules],
                stdin=subprocess.DEVNULL,
                pass_fds=(there.fileno(),),
                env=environment,
            )
        try:
            self._receive(timeout=_START_SECONDS)
        except BaseException:
            self._process.kill()
            self.close()
            raise

    def start(self, worker: WorkerProcess) -> None:
        """Start the process of a worker.

        Raises:
            OSError: It cannot be started, or this process has ended.
        """
        here, there = socket.socketpair()
        file = system.open_shared_memory()
        try:
            with there:
                socket.send_fds(self._control, [nursery.START], [there.fileno(), file])
                pid = self._receive(timeout=_ANSWER_SECONDS)
        except BaseException:
            here.close()
            os.close(file)
            raise
        worker.take_over(Channel(here, file=file), pid=pid, nursery=self)

    def end(self, pid: int) -> int:
        """Kill a worker. Returns how it ended, or 0 if that is not known."""
        try:
            self._control.sendall(nursery.END + nursery.NUMBER.pack(pid))
            return self._receive(timeout=_ANSWER_SECONDS)
        except OSError:
            return 0

    def close(self) -> None:
        """End the process and its workers."""
        self._control.close()
        try:
            self._process.wait(_ANSWER_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _receive(self, *, timeout: float) -> int:
        self._control.settimeout(timeout)
        answer = self._control.recv(nursery.NUMBER.size)
        if len(answer) < nursery.NUMBER.size:
            raise ConnectionError("The process that starts the others has ended.")
        number: int = nursery.NUMBER.unpack(answer)[0]
        return number
