"""What tests ask of the system: processes, memory, folders in memory."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator

_MEMORY = Path("/dev/shm")  # noqa: S108 - whoever writes there makes a folder of its own
_ROOM = 4 * 1024**3  # bytes; all workers of a run together take about a quarter of it


@contextlib.contextmanager
def hearing_interrupts() -> Iterator[None]:
    """Programs that are started in the block hear Ctrl-C.

    Tests that run in the background of a shell ignore it, and what they start would, too. A
    function for `subprocess` to call after its fork would call gRPC's own, which may abort.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def is_alive(pid: int) -> bool:
    """Whether a process runs. One that has ended and that nobody has waited for does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def peak_kib() -> int:
    """The most memory that this program had."""
    if sys.platform != "linux":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    # Linux would count the program that started this one as well.
    lines = Path("/proc/self/status").read_text().splitlines()
    (peak,) = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(peak)


def memory_folder() -> Path | None:
    """A folder in memory to make others in; None where there is none, or little room in it.

    Containers have 64 MB of it by default; whoever maps a file there is killed once it is full.
    """
    if not os.access(_MEMORY, os.W_OK):
        return None
    return _MEMORY if shutil.disk_usage(_MEMORY).free >= _ROOM else None
