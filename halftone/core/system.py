"""What differs between Linux and macOS: the only module that asks which system this is.

Everything else in Halftone uses what both have. `tests/unit/core/test_system.py` searches for calls
that belong here, and runs what is written for macOS on Linux, too. On Windows Halftone runs in WSL
or in containers, which are Linux.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import hashlib
import math
import os
import resource
import select
import signal
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_PR_SET_PDEATHSIG: Final = 1
# From glibc's malloc.h.
_M_MMAP_THRESHOLD: Final = -3
_LARGE_BYTES: Final = 1 << 20
# "The user does not wait for this work"; the class below it may be paused for minutes.
_QOS_CLASS_UTILITY: Final = 0x11
# What macOS answers where a volume, for example a network's, cannot do what was asked.
_UNSUPPORTED: Final = (errno.ENOTSUP, errno.EINVAL, errno.ENOTTY)
_BLOCK: Final = 64 * 1024


def die_with(parent: int) -> None:
    """Arrange for this process to be killed when the process `parent` ends, also after an exec.

    Call it before this process starts threads. On Linux the process is killed as soon as the thread
    that started it ends, so that thread must live until the children are stopped. On macOS a second
    process watches the two.

    The signal is SIGKILL rather than SIGTERM: nobody is left to wait for a drain or to end a child
    that hangs, and everything acknowledged is on disk already.

    Args:
        parent: The process that has started this one.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    else:
        _start_watcher(parent)
    # The parent may have ended before anybody watched it.
    if os.getppid() != parent:
        os._exit(1)


if sys.platform != "linux":

    def _start_watcher(parent: int) -> None:
        """Start a process that kills this one when `parent` ends, and return once it watches."""
        watched = os.getpid()
        reading, writing = os.pipe()
        child = os.fork()
        if child:
            os.close(writing)
            os.waitpid(child, 0)
            ready = os.read(reading, 1)
            os.close(reading)
            if not ready:
                raise OSError(errno.ESRCH, "The process that watches this one has ended.")
            return
        try:
            # The watcher is no child of the program, which may wait for all of its children.
            if not os.fork():
                _watch(parent, watched=watched, ready=writing)
        finally:
            os._exit(0)

    def _watch(parent: int, *, watched: int, ready: int) -> None:
        # Signals to the whole group, such as Ctrl-C, are for the program, and the watcher goes with
        # it. Descriptors are not held open: others wait for the end of a pipe or of a lock.
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        for descriptor in sorted(int(path.name) for path in Path("/dev/fd").iterdir()):
            if descriptor != ready:
                with contextlib.suppress(OSError):
                    os.close(descriptor)
        queue = select.kqueue()
        ended = set()
        for pid in (parent, watched):
            event = select.kevent(pid, select.KQ_FILTER_PROC, select.KQ_EV_ADD, select.KQ_NOTE_EXIT)
            try:
                queue.control([event], 0)
            except ProcessLookupError:
                ended.add(pid)
        os.write(ready, b"\n")
        os.close(ready)
        if not ended:
            ended = {event.ident for event in queue.control(None, 2)}
        if watched not in ended:
            with contextlib.suppress(ProcessLookupError):
                os.kill(watched, signal.SIGKILL)


def lower_thread_priority(nice: int) -> None:
    """Let the calling thread give way to other threads of this process, and to other processes.

    Where that is not possible, the thread stays as it is.

    Args:
        nice: By how much, 0 to 19, on Linux; macOS has one class for what nobody waits for.
    """
    if not nice:
        return
    with contextlib.suppress(OSError, AttributeError):
        if sys.platform == "linux":
            thread = threading.get_native_id()
            # The thread that has started this one may have given way already.
            first = os.getpriority(os.PRIO_PROCESS, os.getpid())
            os.setpriority(os.PRIO_PROCESS, thread, first + nice)
        else:
            ctypes.CDLL(None).pthread_set_qos_class_self_np(_QOS_CLASS_UTILITY, 0)


def return_large_memory() -> None:
    """Let this process give large pieces of memory back to the system as soon as they are freed.

    By default, glibc keeps pieces of up to 32 MiB once the first one was freed: a page that had
    decoded a few large pictures kept 330 MB of them. Elsewhere nothing has to be done.
    """
    with contextlib.suppress(OSError, AttributeError):
        if sys.platform == "linux":
            ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)


def fork() -> int:
    """Fork this process, as `os.fork`. It must have a single thread."""
    return os.fork()


def open_shared_memory() -> int:
    """Return the descriptor of an empty file in memory that has no name.

    On macOS it is a file on the disk without a name.
    """
    if sys.platform == "linux":
        return os.memfd_create("halftone", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def data_bytes() -> int:
    """Return the bytes of memory that count for the limit of `limit_process`; 0 on macOS."""
    if sys.platform != "linux":
        return 0
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[5])
    return pages * resource.getpagesize()


def limit_process(*, data_bytes: int, cpu_seconds: float) -> None:
    """Limit what this process may take from now on. It leaves no image of its memory.

    Beyond the memory, allocations fail; beyond the seconds, SIGXCPU ends the process. macOS has no
    limit on memory that its allocator heeds.

    Args:
        data_bytes: Bytes of memory that no file stands for, those in use included.
        cpu_seconds: Seconds of a processor, from the start of the process.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (_at_most(math.ceil(cpu_seconds), most), most))
    if sys.platform == "linux":
        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (_at_most(data_bytes, most), most))


def _at_most(wanted: int, most: int) -> int:
    return wanted if most == resource.RLIM_INFINITY else min(wanted, most)


def lower_process_priority(pid: int, *, nice: int) -> None:
    """Let a process that has just started give way to others. Its later threads inherit that.

    A process that has ended already is left alone.

    Args:
        pid: The process, which leads a session of its own.
        nice: By how much, 0 to 19.
    """
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, os.getpriority(os.PRIO_PROCESS, pid) + nice)
    if sys.platform == "linux":
        # If Linux schedules sessions as groups, these share the cores evenly whatever their
        # processes' numbers say; the group has a number of its own.
        with contextlib.suppress(OSError):
            Path(f"/proc/{pid}/autogroup").write_text(f"{nice}\n", encoding="ascii")


def sync(descriptor: int) -> None:
    """Bring a file or directory onto the disk: what was written survives a loss of power.

    On macOS, fsync leaves it in the disk's own cache.
    """
    if sys.platform != "linux":
        try:
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
        else:
            return
    os.fsync(descriptor)


def lock(descriptor: int, *, wait: bool) -> bool:
    """Lock an open file against other processes; return False if another one holds the lock.

    The lock belongs to the open file, not to the process: a child that inherits the descriptor
    holds it as well.

    Args:
        descriptor: The file.
        wait: Whether to wait until the lock is free.

    Raises:
        OSError: The file system has no locks.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


def copy_sparse(source: Path, target: Path) -> None:
    """Copy a file durably. Blocks without data take no room in the copy.

    Args:
        source: The file to copy; nobody writes to it meanwhile.
        target: The copy, which must not exist.
    """
    with source.open("rb") as reader, target.open("xb") as writer:
        size = os.fstat(reader.fileno()).st_size
        writer.truncate(size)
        for start, end in _find_data(reader.fileno(), size=size):
            for at in range(start, end, _BLOCK):
                block = os.pread(reader.fileno(), min(_BLOCK, end - at), at)
                if block.count(0) != len(block):
                    os.pwrite(writer.fileno(), block, at)
        sync(writer.fileno())


def _find_data(descriptor: int, *, size: int) -> Iterator[tuple[int, int]]:
    """Yield the ranges of a file outside of which it is known to have holes."""
    if sys.platform != "linux":
        # APFS has been seen to report holes where there is data that is not on the disk yet.
        yield 0, size
        return
    end = 0
    while end < size:
        try:
            start = os.lseek(descriptor, end, os.SEEK_DATA)
        except OSError:
            # The rest of the file is a hole.
            return
        end = os.lseek(descriptor, start, os.SEEK_HOLE)
        yield start, end


def has_nvidia_driver() -> bool:
    """Return whether NVIDIA's driver is there, without which nothing can use its GPUs.

    It comes with the system, and into containers with the GPU. macOS has none.
    """
    if sys.platform != "linux":
        return False
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


def shares_ports() -> bool:
    """Return whether a socket that is bound and does not listen leaves its port to others.

    Both sockets need SO_REUSEADDR. Only Linux allows that.
    """
    return sys.platform == "linux"


def make_file_name(text: str) -> str:
    """Return the name of a file or folder for an id that differs from others maybe by case only.

    On Linux it is the id itself. Most volumes of macOS ignore case, so ids with capital letters get
    a suffix there that tells them apart.
    """
    if sys.platform == "linux" or text == text.lower():
        return text
    return f"{text}~{hashlib.sha256(text.encode()).hexdigest()[:12]}"
