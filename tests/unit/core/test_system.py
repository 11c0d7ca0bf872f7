"""What differs between systems is in one module, and what it does on macOS is run on Linux."""

from __future__ import annotations

import ast
import ctypes
import errno
import fcntl
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from halftone.core import files, locks, system
from halftone.stack.parts import HeldPorts

ROOT = Path(__file__).parents[3]
SEARCHED = [
    path
    for folder in ("halftone", "services", "tools")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if "v1" not in path.parts and path != Path(system.__file__)
]
# Modules that are missing on one of the systems, or whose functions differ.
MODULES = {
    *("ctypes", "fcntl", "multiprocessing", "pwd", "grp", "resource", "select", "syslog"),
    *("winreg", "msvcrt", "winsound"),
}
# Names that are missing on one of the systems, or that do not do the same on both.
NAMES = {
    "concurrent.futures": {"ProcessPoolExecutor"},
    "os": {
        *("name", "uname", "sysconf", "confstr", "getrandom", "register_at_fork"),
        *("fork", "forkpty", "posix_spawn", "unshare", "setns", "pidfd_open", "waitid"),
        *("setpriority", "cpu_set_t", "process_cpu_count", "getresuid", "setresuid"),
        *("fsync", "fdatasync", "sync", "sync_file_range", "posix_fadvise", "posix_fallocate"),
        *("sendfile", "splice", "copy_file_range", "memfd_create", "eventfd", "pipe2", "lockf"),
        *("SEEK_DATA", "SEEK_HOLE", "O_TMPFILE", "O_PATH", "O_DIRECT", "O_NOATIME", "O_DSYNC"),
        *("O_RSYNC", "O_EXLOCK", "O_SHLOCK", "getxattr", "setxattr", "listxattr", "removexattr"),
        *("chflags", "lchflags", "lchmod", "startfile", "mknod", "statvfs", "fstatvfs"),
    },
    "platform": {
        *("system", "machine", "release", "platform", "uname", "processor", "version"),
        *("libc_ver", "mac_ver", "freedesktop_os_release", "node"),
    },
    "signal": {
        *("SIGRTMIN", "SIGRTMAX", "SIGPWR", "SIGPOLL", "SIGSTKFLT", "SIGCLD", "SIGINFO", "SIGEMT"),
        *("sigtimedwait", "sigwaitinfo", "pidfd_send_signal"),
    },
    "socket": {
        *("SO_REUSEPORT", "SO_PEERCRED", "SO_PASSCRED", "SO_BINDTODEVICE", "SO_MARK"),
        *("AF_NETLINK", "AF_PACKET", "AF_VSOCK", "AF_ALG", "SOCK_CLOEXEC", "SOCK_NONBLOCK"),
        *("TCP_USER_TIMEOUT", "TCP_KEEPIDLE", "TCP_KEEPALIVE", "TCP_QUICKACK", "TCP_CORK"),
    },
    "sys": {"platform", "getwindowsversion"},
    "threading": {"get_native_id"},
    "time": {"CLOCK_BOOTTIME", "CLOCK_TAI", "CLOCK_UPTIME_RAW", "pthread_getcpuclockid"},
}
FOLDERS = tuple(
    f"/{name}/" for name in ("proc", "sys", "dev/shm", "dev/fd", "run", "etc", "System")
)


class Calls(ast.NodeVisitor):
    """Notes what a module uses that only `halftone.core.system` may use."""

    def __init__(self):
        self.found: list[str] = []
        self._modules: dict[str, str] = {}  # by the names that they have in this module

    def _note(self, node, name):
        self.found.append(f"line {node.lineno}: {name}")

    def _check_module(self, node, module):
        if module.split(".")[0] in MODULES:
            self._note(node, module)

    def _check_name(self, node, module, name):
        if name in NAMES.get(module, ()) or name.startswith("sched_"):
            self._note(node, f"{module}.{name}")

    def visit_Import(self, node):
        for alias in node.names:
            self._modules[alias.asname or alias.name] = alias.name
            self._check_module(node, alias.name)

    def visit_ImportFrom(self, node):
        self._check_module(node, node.module)
        for alias in node.names:
            self._modules[alias.asname or alias.name] = f"{node.module}.{alias.name}"
            self._check_name(node, node.module, alias.name)

    def visit_Attribute(self, node):
        module = ast.unparse(node.value)
        self._check_name(node, self._modules.get(module, module), node.attr)
        self.generic_visit(node)

    def visit_Constant(self, node):
        if isinstance(node.value, str) and node.value.startswith(FOLDERS):
            self._note(node, node.value)


def find_calls(source: str) -> list[str]:
    calls = Calls()
    calls.visit(ast.parse(source))
    return calls.found


@pytest.mark.parametrize(
    "source",
    [
        "import fcntl",
        "from ctypes import CDLL",
        "import multiprocessing.pool",
        "import sys\nif sys.platform == 'linux': pass",
        "import os\nos.fsync(1)",
        "import os as o\no.sched_getaffinity(0)",
        "from os import posix_fadvise",
        "import socket\nsocket.socket().setsockopt(1, socket.SO_REUSEPORT, 1)",
        "from concurrent import futures\nfutures.ProcessPoolExecutor()",
        "from concurrent.futures import ProcessPoolExecutor",
        "from pathlib import Path\nPath(f'/proc/{1}/stat')",
        "open('/dev/shm/x')",
    ],
)
def test_the_search_finds(source):
    assert find_calls(source)


def test_the_search_lets_common_calls_pass():
    assert not find_calls(
        "import os, sys, platform\nos.replace('a', 'b'); os.kill(1, 0); os.cpu_count()\n"
        "platform.python_version(); sys.argv; os.open('/dev/null', os.O_RDONLY | os.O_NOFOLLOW)"
    )


def test_only_one_module_knows_the_system():
    assert len(SEARCHED) > 200
    calls = {path.relative_to(ROOT).as_posix(): find_calls(path.read_text()) for path in SEARCHED}
    assert {name: found for name, found in calls.items() if found} == {}


# Options and commands that only GNU's tools have, and what macOS's bash, 3.2, lacks.
GNU = re.compile(
    r"base64 -w|readlink -f|sed -i |cp (-\w+ )*--|(?<!--)\btimeout \d+ (?!apt)|date -d|stat -c"
    r"|grep -\w*P|xargs -[rd]|\bmapfile\b|\breadarray\b|declare -A|\bnproc\b|\bsha256sum\b"
    r"|find .* -printf|du --|sort -V|\btac\b|head -c -|\$\{\w+(\^\^|,,)\}|realpath -|tail --|ls --"
)
SHELL = re.compile(r"^```sh\n(.*?)^```", re.DOTALL | re.MULTILINE)


def test_commands_are_those_of_both_systems():
    """Not on the page about GPUs, which are Linux's."""
    texts = {name: (ROOT / name).read_text() for name in ("Makefile", ".ci/run")}
    for page in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")):
        if page.name != "gpu.md":
            texts[str(page.relative_to(ROOT))] = "".join(SHELL.findall(page.read_text()))
    assert "halftone" in texts["README.md"]
    found = {name: GNU.search(text) for name, text in texts.items()}
    assert {name: match[0] for name, match in found.items() if match} == {}


def test_types_are_checked_for_both_systems():
    """A name that macOS lacks is an error then."""
    makefile = (ROOT / "Makefile").read_text()
    assert "--platform linux" in makefile
    assert "--platform darwin" in makefile


@pytest.fixture
def mac(monkeypatch):
    """As if this were macOS; what it has and Linux has not is noted."""
    noted = []
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(fcntl, "F_FULLFSYNC", 51, raising=False)
    monkeypatch.setattr(fcntl, "fcntl", lambda *arguments: noted.append(arguments))
    return noted


def test_files_are_written_through_the_disks_cache(mac, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: pytest.fail("leaves it in the cache"))
    files.replace_file(tmp_path / "a", b"content")
    # The file, then its directory.
    assert [operation for _, operation in mac] == [51, 51]
    assert (tmp_path / "a").read_bytes() == b"content"


def test_a_volume_that_cannot_do_that_is_synced_as_well_as_it_can(mac, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    synced = []
    monkeypatch.setattr(fcntl, "fcntl", refuse)
    monkeypatch.setattr(os, "fsync", synced.append)
    with (tmp_path / "a").open("wb") as file:
        system.sync(file.fileno())
        assert synced == [file.fileno()]

        def fail(*_):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        monkeypatch.setattr(fcntl, "fcntl", fail)
        with pytest.raises(OSError, match="Input/output"):
            system.sync(file.fileno())


@pytest.mark.parametrize("platform", ["darwin", "linux"])
def test_copies_are_whole_and_keep_their_holes(platform, tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "F_FULLFSYNC", 51, raising=False)
    monkeypatch.setattr(fcntl, "fcntl", lambda *_: None)
    source, target = tmp_path / "source", tmp_path / "target"
    with source.open("wb") as file:
        file.truncate(40 * 2**20)
        for at in (0, 70_001, 10 * 2**20, 40 * 2**20 - 1):
            file.seek(at)
            file.write(b"data"[: 40 * 2**20 - at])
    monkeypatch.setattr(sys, "platform", platform)
    system.copy_sparse(source, target)
    assert target.read_bytes() == source.read_bytes()
    assert target.stat().st_blocks <= source.stat().st_blocks + 4 * 128
    with pytest.raises(FileExistsError):
        system.copy_sparse(source, target)
    (tmp_path / "empty").touch()
    system.copy_sparse(tmp_path / "empty", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b""


def test_a_thread_gives_way(monkeypatch):
    asked = []

    class Library:
        @staticmethod
        def pthread_set_qos_class_self_np(*arguments):
            asked.append((threading.current_thread().name, *arguments))

    def run():
        thread = threading.Thread(target=system.lower_thread_priority, args=(5,), name="patient")
        thread.start()
        thread.join()

    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(ctypes, "CDLL", lambda _: Library)
    run()
    assert asked == [("patient", 0x11, 0)]
    # A system without any such call.
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    system.lower_thread_priority(5)


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no number of their own")
def test_a_thread_gives_way_once():
    """Also if the thread that has started it has given way."""
    found = []

    def second():
        system.lower_thread_priority(3)
        found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    def first():
        second()
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()

    now = os.getpriority(os.PRIO_PROCESS, 0)
    thread = threading.Thread(target=first)
    thread.start()
    thread.join()
    assert found == [min(now + 3, 19)] * 2
    assert os.getpriority(os.PRIO_PROCESS, 0) == now


@pytest.mark.parametrize("platform", ["darwin", "linux"])
def test_a_process_gives_way(platform, monkeypatch):
    monkeypatch.setattr(sys, "platform", platform)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        now = os.getpriority(os.PRIO_PROCESS, process.pid)
        system.lower_process_priority(process.pid, nice=4)
        assert os.getpriority(os.PRIO_PROCESS, process.pid) == min(now + 4, 19)
    # It has ended.
    system.lower_process_priority(process.pid, nice=4)


def test_only_linux_is_asked_for_the_driver_of_gpus(monkeypatch):
    asked = []
    monkeypatch.setattr(ctypes, "CDLL", asked.append)
    assert system.has_nvidia_driver() is (sys.platform == "linux")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not system.has_nvidia_driver()
    assert asked in ([], ["libcuda.so.1"])


def test_locks_are_the_same(mac, tmp_path):
    with locks.locked(tmp_path / "lock") as held:
        held.write_note("first")
        with pytest.raises(locks.LockHeldError, match="first"):
            locks.locked(tmp_path / "lock")
    locks.locked(tmp_path / "lock", seconds=None).close()


def test_ports_are_let_go_where_they_cannot_be_shared(mac):
    with HeldPorts() as held:
        number = held.hold("127.0.0.1", 0, what="test", variable="")
        held.let_children_in()
        # Nobody else holds it: it can be had again without sharing.
        held.hold("127.0.0.1", number, what="test", variable="")


def test_names_of_files_differ_by_more_than_case(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    names = [system.make_file_name(text) for text in ("press-1", "Press-1", "PRESS-1")]
    assert names[0] == "press-1"
    assert len({name.lower() for name in names}) == 3
    assert all(name.startswith(("Press-1~", "PRESS-1~")) for name in names[1:])
    monkeypatch.setattr(sys, "platform", "linux")
    assert system.make_file_name("Press-1") == "Press-1"


# Large pieces of memory with small ones in between that stay, as when pictures are decoded.
_DECODE = """
import re, sys
from pathlib import Path
from halftone.core import system
if sys.argv[1] == "True":
    system.return_large_memory()
del [b"x" * (20 << 20)][:]
large, small = [], []
for _ in range(10):
    large.append(b"x" * (20 << 20))
    small.append(b"x" * 100_000)
del large
print(re.search(r"VmRSS:\\s+([0-9]+) kB", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems need not be asked")
def test_large_pieces_of_memory_go_back_to_the_system():
    kept, returned = (
        int(
            subprocess.run(
                [sys.executable, "-c", _DECODE, str(asked)],
                check=True,
                capture_output=True,
                text=True,
                timeout=120,
            ).stdout
        )
        for asked in (False, True)
    )
    assert returned < 100_000
    if kept < 150_000:
        pytest.skip("this system's C library gives memory back by itself")
