"""Ends a process whose event loop hangs, so that whoever started it starts it again.

`halftone up` and Kubernetes notice a service that does not answer; Docker by itself only marks its
container as unhealthy. So each service watches its own loop, too, and ends when that does not turn.
"""

from __future__ import annotations

import asyncio
import faulthandler
import os
import threading
from typing import TYPE_CHECKING, Any, Final, TypeVar

from halftone.core import telemetry

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")

EXIT_CODE: Final = 70
"""The exit code of a process that ended itself."""
_BEATS: Final = 4
"""The beats in a row that are missed before the process ends. Several, since a process that was
stopped for a while, with its machine or by `docker pause`, misses one and goes on."""

_log = telemetry.get_logger(__name__)


async def run_watched(
    work: Coroutine[Any, Any, T],
    *,
    seconds: float,
    end: Callable[[int], object] = os._exit,
) -> T:
    """Run the work of a process and end the process if the event loop hangs meanwhile.

    The stacks of all threads are written to standard error before.

    Args:
        work: The work.
        seconds: Seconds for which the loop may stand still; 0 does not watch it.
        end: Ends the process with an exit code, without waiting for anything.
    """
    ended = threading.Event()
    loop = asyncio.get_running_loop()

    def watch() -> None:
        missed = 0
        while missed < _BEATS:
            beat = threading.Event()
            try:
                loop.call_soon_threadsafe(beat.set)
            except RuntimeError:  # the loop is closed
                return
            missed = 0 if beat.wait(seconds / _BEATS) else missed + 1
            if ended.wait(0 if missed else seconds / _BEATS):
                return
        _log.error("event_loop_hangs", seconds=seconds)
        faulthandler.dump_traceback(all_threads=True)
        end(EXIT_CODE)

    if seconds:
        threading.Thread(target=watch, name="watchdog", daemon=True).start()
    try:
        return await work
    finally:
        ended.set()
