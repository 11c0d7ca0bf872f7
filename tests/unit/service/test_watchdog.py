"""A process whose event loop hangs ends, one that is only busy or was paused does not."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
import time

from halftone.service.watchdog import EXIT_CODE, run_watched

HANGING = """
import asyncio, sys, time
from halftone.service.watchdog import run_watched
async def work():
    await asyncio.sleep(0.1)
    time.sleep(600)
asyncio.run(run_watched(work(), seconds=0.4))
"""
PAUSED = """
import asyncio
from halftone.service.watchdog import run_watched
async def work():
    print("ready", flush=True)
    await asyncio.to_thread(input)
    await asyncio.sleep(0.5)
    print("done", flush=True)
asyncio.run(run_watched(work(), seconds=1.0))
"""


def test_a_loop_that_hangs_ends_the_process_and_shows_where():
    ended = subprocess.run(
        [sys.executable, "-c", HANGING], capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == EXIT_CODE
    assert "event_loop_hangs" in ended.stdout + ended.stderr
    assert "in work" in ended.stderr


def test_a_process_that_was_paused_goes_on():
    with subprocess.Popen(
        [sys.executable, "-c", PAUSED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGSTOP)
        time.sleep(2.5)
        process.send_signal(signal.SIGCONT)
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "done\n"
        assert process.wait(60) == 0


async def test_work_that_waits_is_left_alone():
    codes = []
    watchdogs = threading.active_count()

    async def work():
        await asyncio.sleep(0.5)
        return 7

    assert await run_watched(work(), seconds=0.2, end=codes.append) == 7
    assert codes == []
    async with asyncio.timeout(60):
        while threading.active_count() > watchdogs:
            await asyncio.sleep(0.01)
