"""Runs a module on Linux as if this were macOS: `python -m tests.support.mac MODULE [ARGUMENT]…`.

The module sees `sys.platform` as it is there, and the part of `select.kqueue` that Halftone uses.
"""

from __future__ import annotations

import os
import runpy
import select
import sys
from dataclasses import dataclass

KQ_FILTER_PROC, KQ_EV_ADD, KQ_NOTE_EXIT = -5, 1, 0x80000000


@dataclass
class Event:
    """`select.kevent`."""

    ident: int
    filter: int
    flags: int
    fflags: int


class Queue:
    """`select.kqueue`, for the ends of processes only."""

    def __init__(self):
        self._pids = {}
        self._poll = select.poll()

    def control(self, changes, count, timeout=None, /):
        for event in changes or ():
            assert (event.filter, event.flags, event.fflags) == (
                KQ_FILTER_PROC,
                KQ_EV_ADD,
                KQ_NOTE_EXIT,
            )
            descriptor = os.pidfd_open(event.ident)
            self._pids[descriptor] = event.ident
            self._poll.register(descriptor, select.POLLIN)
        if not count:
            return []
        ended = self._poll.poll(timeout and timeout * 1000)
        return [
            Event(self._pids[descriptor], KQ_FILTER_PROC, 0, KQ_NOTE_EXIT)
            for descriptor, _ in ended[:count]
        ]


def main() -> None:
    """Run the module that the command line names."""
    assert sys.platform == "linux"
    select.kqueue, select.kevent = Queue, Event
    select.KQ_FILTER_PROC, select.KQ_EV_ADD = KQ_FILTER_PROC, KQ_EV_ADD
    select.KQ_NOTE_EXIT = KQ_NOTE_EXIT
    sys.platform = "darwin"
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
