"""A process that has imported what the workers need, and forks them.

    python -m halftone.imaging.pool.nursery DESCRIPTOR MEMORY SECONDS NICE [MODULE[:FUNCTION]]…

It has a single thread and reads no picture. A worker is there within milliseconds, also as the
successor of one that was killed, and shares the memory of what is imported. When the service ends,
however it ends, its end of the socket is closed, and the nursery ends the workers and itself.
"""

from __future__ import annotations

import gc
import importlib
import os
import signal
import socket
import struct
import sys
from typing import Final

from halftone.core import system
from halftone.imaging.pool.messages import Channel
from halftone.imaging.pool.worker import Limits, Worker

START: Final = b"S"
"""Start a worker on the two descriptors that come along. The answer is its process's id."""
END: Final = b"E"
"""End the worker whose id follows. The answer is how it ended, as `os.waitpid` returns it."""
NUMBER: Final = struct.Struct("!q")


class Nursery:
    """Starts and ends workers as the pool says."""

    def __init__(self, control: socket.socket, *, limits: Limits) -> None:
        self._control = control
        self._limits = limits
        self._children: set[int] = set()

    def run(self) -> None:
        """Do as the pool says until it has ended."""
        # The pool hears of it when all modules are there.
        self._control.sendall(NUMBER.pack(os.getpid()))
        try:
            while True:
                message, descriptors, _, _ = socket.recv_fds(self._control, 1 + NUMBER.size, 2)
                if not message:
                    return
                if message.startswith(START):
                    answer = self._start(*descriptors)
                else:
                    answer = self._end(NUMBER.unpack_from(message, 1)[0])
                self._control.sendall(NUMBER.pack(answer))
        except OSError:
            return
        finally:
            for child in list(self._children):
                self._end(child)

    def _start(self, connection: int, file: int) -> int:
        nursery = os.getpid()
        pid = system.fork()
        if pid:
            self._children.add(pid)
            os.close(connection)
            os.close(file)
            return pid
        try:
            self._control.close()
            system.die_with(nursery)
            system.lower_process_priority(0, nice=self._limits.nice)
            channel = Channel(socket.socket(fileno=connection), file=file)
            Worker(channel, limits=self._limits).run()
        finally:
            os._exit(1)

    def _end(self, pid: int) -> int:
        if pid not in self._children:
            return 0
        # It is not waited for yet, so the id is still its own.
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        self._children.discard(pid)
        return status


def main() -> None:
    """Run the command."""
    # The service decides when to end, and tells the nursery by closing the socket.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    descriptor, memory, seconds, nice = sys.argv[1:5]
    control = socket.socket(fileno=int(descriptor))
    for name in sys.argv[5:]:
        module, _, function = name.partition(":")
        imported = importlib.import_module(module)
        if function:
            getattr(imported, function)()
    gc.collect()
    gc.freeze()
    limits = Limits(memory_bytes=int(memory), seconds=float(seconds), nice=int(nice))
    Nursery(control, limits=limits).run()


if __name__ == "__main__":
    main()
