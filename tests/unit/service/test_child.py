"""Children that end with their parents, as Linux does it and as macOS does."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.support.system import is_alive

PATIENCE = 120.0
# Says that it runs, and then does what its argument says.
PROGRAM = """
import os, pathlib, sys, time
pathlib.Path("running").write_text(str(os.getpid()))
match sys.argv[1]:
    case "end":
        sys.exit(7)
    case "deaf":
        os.close(1)
        os.close(2)
time.sleep(600)
"""
# The parent starts the command of its arguments with its own process id in place of PARENT.
PARENT = """
import os, subprocess, sys
command = [str(os.getpid()) if word == "PARENT" else word for word in sys.argv[1:]]
sys.exit(subprocess.run(command).returncode)
"""


@pytest.fixture(
    params=[
        "here",
        pytest.param(
            "mac", marks=pytest.mark.skipif(sys.platform != "linux", reason="this is no Linux")
        ),
    ]
)
def launcher(request):
    """The words of a command before the parent's id."""
    words = {"here": (), "mac": ("-m", "tests.support.mac", "halftone.service.child")}
    return [sys.executable, *(words[request.param] or ("-m", "halftone.service.child"))]


@pytest.fixture(params=["module", "--exec"])
def command(request, launcher, tmp_path, monkeypatch):
    """Makes commands of children that do what they are told."""
    (tmp_path / "program.py").write_text(PROGRAM)
    monkeypatch.setenv("PYTHONPATH", f"{Path.cwd()}{os.pathsep}{tmp_path}")
    monkeypatch.chdir(tmp_path)
    what = {"module": ["program"], "--exec": ["--exec", sys.executable, "program.py"]}

    def make(doing, *, parent):
        return [*launcher, str(parent), *what[request.param], doing]

    return make


def until(condition):
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.01)
    return found


def running() -> int:
    """The process id of the program, once it runs."""
    return int(until(lambda: Path("running").exists() and Path("running").read_text()))


def group(leader: int) -> list[int]:
    """The processes of a group that are alive."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.getpgid(process.pid) == leader and is_alive(process.pid):
                found.append(process.pid)
    return found


@contextlib.contextmanager
def started(words, **options):
    """Starts a command as the leader of a group of its own, which is killed at the end."""
    with subprocess.Popen(words, start_new_session=True, **options) as process:
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)


def test_it_is_killed_with_its_parent(command):
    """The parent is killed with SIGKILL, so that nothing of ours can run in it any more."""
    words = [sys.executable, "-c", PARENT, *command("wait", parent="PARENT")]
    with started(words) as parent:
        pid = running()
        assert is_alive(pid)
        parent.kill()
        parent.wait()
        until(lambda: not is_alive(pid))
        until(lambda: not group(parent.pid))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_signals_reach_it_and_nobody_stays_behind(command, number):
    words = command("wait", parent=os.getpid())
    with started(words) as child:
        assert running() == child.pid
        child.send_signal(number)
        assert child.wait(PATIENCE) == -number
        until(lambda: not group(child.pid))


def test_its_exit_code_is_its_own(command):
    words = command("end", parent=os.getpid())
    with started(words) as child:
        assert child.wait(PATIENCE) == 7
        until(lambda: not group(child.pid))


def test_what_it_closes_is_closed(command):
    """Whoever watches it holds no pipe open: readers wait for the end of what it writes."""
    words = command("deaf", parent=os.getpid())
    with started(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as child:
        readable, _, _ = select.select([child.stdout], [], [], PATIENCE)
        assert readable
        assert child.stdout.read() == b""
        assert is_alive(child.pid)


def test_without_a_parent_it_does_not_run(command):
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass
    words = command("wait", parent=gone.pid)
    assert subprocess.run(words, timeout=PATIENCE, check=False).returncode in {1, -signal.SIGKILL}
    assert not Path("running").exists()
