"""Locks between processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from halftone.core.locks import LockHeldError, locked


def test_whoever_is_second_learns_who_was_first(tmp_path):
    with locked(tmp_path / "lock") as first:
        first.write_note(f"process {os.getpid()}")
        with pytest.raises(LockHeldError) as caught:
            locked(tmp_path / "lock")
        assert caught.value.note == f"process {os.getpid()}"
    with locked(tmp_path / "lock") as second:
        assert second.read_note() == f"process {os.getpid()}"
        second.write_note("7")
        assert second.read_note() == "7"


def test_waiting_ends_when_the_holder_lets_go_or_the_time_is_over(tmp_path):
    first = locked(tmp_path / "lock")
    begun = time.monotonic()
    with pytest.raises(LockHeldError):
        locked(tmp_path / "lock", seconds=0.25)
    assert time.monotonic() - begun >= 0.25
    first.close()
    first.close()
    locked(tmp_path / "lock", seconds=None).close()


def test_a_child_that_inherits_the_descriptor_holds_it_after_the_parent(tmp_path):
    with locked(tmp_path / "lock") as lock:
        child = subprocess.Popen(
            [sys.executable, "-c", "import sys; sys.stdin.read()"],
            stdin=subprocess.PIPE,
            pass_fds=[lock.descriptor],
        )
    try:
        with pytest.raises(LockHeldError):
            locked(tmp_path / "lock")
        child.kill()
        child.wait()
        locked(tmp_path / "lock").close()
    finally:
        child.kill()
        child.communicate()


def test_the_umask_decides_who_else_may_lock(tmp_path):
    before = os.umask(0o002)
    try:
        locked(tmp_path / "lock").close()
    finally:
        os.umask(before)
    assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o664
