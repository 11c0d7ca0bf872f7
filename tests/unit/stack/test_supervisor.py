"""Starting, restarting and stopping children, with tiny real processes."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import psutil
import pytest

from halftone.core import errors
from halftone.stack.supervisor import (
    CHILD_FAILED,
    Child,
    RestartPolicy,
    Supervisor,
)

if TYPE_CHECKING:
    from pathlib import Path

QUICK = RestartPolicy(first_pause=0.05, longest_pause=0.2, failures=3, window=300)

# Says that it is ready by a file, then waits; SIGTERM makes it note when it stopped.
GOOD = """
import os, pathlib, signal, sys, time
here, name = pathlib.Path(sys.argv[1]), sys.argv[2]
def stop(*_):
    with (here / "order").open("a") as file:
        print(name, file=file)
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
(here / f"{name}.{os.getpid()}").touch()
while True:
    time.sleep(0.05)
"""
STUBBORN = GOOD.replace("signal.signal(signal.SIGTERM, stop)", "signal.signal(15, signal.SIG_IGN)")
FAILING = """
print('{"event": "cannot_start", "reason": "no model", "level": "error"}')
raise SystemExit(3)
"""
# Says itself why it ends, as services do.
REFUSING = """
print('{"event": "cannot_run", "reason": "NO_DEVICE", "error": "There is no such device."}')
print("and more")
raise SystemExit(1)
"""
# Lives on, and says that it will not become ready.
HOPELESS = """
import time
print('{"event": "no_model", "error": "The model is damaged.", "level": "error"}', flush=True)
while True:
    time.sleep(0.05)
"""
# Says what it does, and that something is wrong.
WAITING = """
import time
print('{"event": "listening", "level": "info"}')
print('{"event": "call", "level": "info"}')
print('{"event": "form_refused", "error": "The form is old.", "level": "error"}', flush=True)
while True:
    time.sleep(0.05)
"""
# Comes up once it is let.
LATE = (
    """
import pathlib, sys, time
while not (pathlib.Path(sys.argv[1]) / "go").exists():
    time.sleep(0.02)
"""
    + GOOD
)
# Says a lot, and a word more once it is let.
TALKING = GOOD.replace(
    "while True:",
    """
print("x" * (17 * 1024 * 1024), flush=True)
while not (here / "go").exists():
    time.sleep(0.02)
print("more", flush=True)
while True:""",
)
# Comes up once; each later start fails.
ONCE = (
    """
import pathlib, sys
here, name = pathlib.Path(sys.argv[1]), sys.argv[2]
if (here / "started").exists():
    sys.exit("not again")
(here / "started").touch()
"""
    + GOOD
)


def child(tmp_path: Path, name: str, *, code: str = GOOD, stop_seconds: float = 60) -> Child:
    def is_ready() -> bool:
        # Only a marker of a process that lives counts.
        for marker in tmp_path.glob(f"{name}.[0-9]*"):
            try:
                os.kill(int(marker.suffix[1:]), 0)
            except ProcessLookupError:
                continue
            return True
        return False

    return Child(
        name=name,
        command=(sys.executable, "-c", code, str(tmp_path), name),
        log=tmp_path / "logs" / f"{name}.log",
        is_ready=is_ready,
        start_seconds=100,
        stop_seconds=stop_seconds,
    )


def never() -> bool:
    return False


class Running:
    """A supervisor whose `watch` runs in a thread."""

    def __init__(self, *children: Child, policy: RestartPolicy = QUICK) -> None:
        self.said: list[str] = []
        self.supervisor = Supervisor(children, report=self.said.append, policy=policy)
        self.stopping = threading.Event()
        self.failure: errors.Unavailable | None = None
        self.thread = threading.Thread(target=self._watch)

    def __enter__(self):
        self.supervisor.start(never)
        self.thread.start()
        return self

    def _watch(self) -> None:
        try:
            self.supervisor.watch(self.stopping.is_set)
        except errors.Unavailable as failure:
            self.failure = failure

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        if self.thread.ident is not None:
            self.thread.join()
        self.supervisor.stop(never)


def until(condition, *, seconds: float = 100) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.02)


def test_children_stop_in_the_reverse_order(tmp_path):
    with Running(child(tmp_path, "first"), child(tmp_path, "second")) as running:
        assert set(running.supervisor.processes) == {"first", "second"}
    assert (tmp_path / "order").read_text().split() == ["second", "first"]
    assert running.supervisor.processes == {}


def test_a_child_that_dies_is_started_again(tmp_path):
    with Running(child(tmp_path, "one")) as running:
        old = running.supervisor.processes["one"]
        os.kill(old, signal.SIGKILL)
        until(lambda: "one is serving again." in running.said)
        assert running.supervisor.processes["one"] != old
        assert running.said[0] == "one was killed by SIGKILL; starting it again in 0.05 s."


def test_a_child_that_hangs_is_started_again(tmp_path):
    """It lives and has not ended, so only asking it shows it."""

    def answers() -> bool:
        pid = running.supervisor.processes.get("one")
        return pid is not None and psutil.Process(pid).status() != psutil.STATUS_STOPPED

    policy = replace(QUICK, pulse_seconds=0.02, hang_seconds=0.5)
    one = replace(child(tmp_path, "one"), is_alive=answers)
    # Its question waits much longer than anybody may hang, and keeps nobody waiting.
    late = threading.Event()
    two = replace(child(tmp_path, "two"), is_alive=lambda: late.wait(100))
    with Running(one, two, policy=policy) as running:
        before = running.supervisor.processes
        os.kill(before["one"], signal.SIGSTOP)
        until(lambda: "one is serving again." in running.said)
        late.set()
        assert running.said[0] == "one did not answer for 0.5 s; starting it again in 0.05 s."
        assert running.supervisor.processes["one"] != before["one"]
        assert running.supervisor.processes["two"] == before["two"]


def test_a_child_that_answers_late_is_left_alone(tmp_path):
    asked = threading.Event()
    questions: list[float] = []

    def answers() -> bool:
        questions.append(time.monotonic())
        if len(questions) > 50:
            asked.set()
        return len(questions) % 2 == 0

    policy = replace(QUICK, pulse_seconds=0.0, hang_seconds=30.0)
    with Running(replace(child(tmp_path, "one"), is_alive=answers), policy=policy) as running:
        assert asked.wait(100)
        assert running.said == []


def test_the_others_are_left_alone(tmp_path):
    with Running(child(tmp_path, "one"), child(tmp_path, "two")) as running:
        before = running.supervisor.processes
        os.kill(before["one"], signal.SIGKILL)
        until(lambda: "one is serving again." in running.said)
        assert running.supervisor.processes["two"] == before["two"]


def test_it_gives_up_on_a_child_that_dies_again_and_again(tmp_path):
    with Running(child(tmp_path, "one", code=ONCE)) as running:
        os.kill(running.supervisor.processes["one"], signal.SIGKILL)
        until(lambda: running.failure is not None)
    assert "one ended with exit code 1 3 times; giving up." in str(running.failure)
    assert "not again" in str(running.failure)
    assert running.failure.reason == CHILD_FAILED


def test_a_child_that_cannot_start_shows_its_last_lines(tmp_path):
    supervisor = Supervisor([child(tmp_path, "bad", code=FAILING)], report=print)
    with pytest.raises(errors.Unavailable) as caught:
        supervisor.start(never)
    supervisor.stop(never)
    assert "bad ended with exit code 3." in str(caught.value)
    assert f"The last lines of bad ({tmp_path / 'logs' / 'bad.log'}):" in str(caught.value)
    assert "cannot_start reason=no model" in str(caught.value)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (REFUSING, "bad cannot run: There is no such device."),
        (HOPELESS, "bad does not become ready: The model is damaged."),
    ],
)
def test_what_cannot_start_ends_the_start_with_its_sentence(tmp_path, code, said):
    """Neither the lines of this run nor those of the one before are printed."""
    log = tmp_path / "logs" / "bad.log"
    log.parent.mkdir()
    log.write_text('{"event": "cannot_run", "error": "Something of old."}\n')
    bad = replace(child(tmp_path, "bad", code=code), hopeless=frozenset({"no_model"}))
    supervisor = Supervisor([child(tmp_path, "good"), bad], report=print)
    with pytest.raises(errors.Unavailable) as caught:
        supervisor.start(never)
    supervisor.stop(never)
    assert caught.value.message == f"{said} Its log is {log}."
    assert caught.value.reason == CHILD_FAILED


def test_while_it_waits_it_says_for_what(tmp_path):
    """After five seconds; only lines of this run count."""
    log = tmp_path / "logs" / "model.log"
    log.parent.mkdir()
    log.write_text('{"event": "old", "error": "Something of old.", "level": "error"}\n')
    model = replace(
        child(tmp_path, "model", code=WAITING),
        phases={"": "starting", "listening": "loading the model"},
    )
    other = replace(child(tmp_path, "other", code=LATE), phases={"": "starting"})
    said: list[str] = []
    supervisor = Supervisor(
        [child(tmp_path, "good"), model, other],
        report=said.append,
        first_remark_seconds=0.05,
        remark_seconds=0.05,
    )
    end = time.monotonic() + 100
    waiting = re.compile(
        r"Waiting for model \(loading the model\) and other \(starting\); \d+ s so far\."
    )
    remark = "model says: The form is old."

    def is_said() -> bool:
        return remark in said and any(map(waiting.fullmatch, said))

    supervisor.start(lambda: is_said() or time.monotonic() > end)
    supervisor.stop(lambda: True)
    assert is_said(), said
    assert not any("Something of old" in line for line in said)


def test_a_child_that_does_not_become_ready_is_an_error(tmp_path):
    slow = Child(
        name="slow",
        command=(sys.executable, "-c", "import time; time.sleep(60)"),
        log=tmp_path / "slow.log",
        is_ready=lambda: False,
        start_seconds=0.3,
    )
    slower = replace(
        slow,
        name="slower",
        log=tmp_path / "slower.log",
        phases={"": "thinking"},
        start_seconds=1000,
    )
    supervisor = Supervisor([slow, slower], report=print)
    with pytest.raises(errors.Unavailable) as caught:
        supervisor.start(never)
    supervisor.stop(never)
    assert caught.value.message == (
        "slow (starting) and slower (thinking) were not ready within 0.3 s. slow has written "
        f"nothing to its log, {tmp_path / 'slow.log'}."
    )
    assert supervisor.processes == {}


def test_a_child_that_ignores_sigterm_is_killed(tmp_path):
    with Running(child(tmp_path, "one", code=STUBBORN, stop_seconds=0.3)) as running:
        pass
    assert running.said == ["one did not stop in 0.3 s; killed."]


def test_in_a_hurry_nobody_is_waited_for(tmp_path):
    supervisor = Supervisor([child(tmp_path, "one", code=STUBBORN)], report=print)
    supervisor.start(never)
    started = time.monotonic()
    supervisor.stop(lambda: True)
    assert time.monotonic() - started < 30


def test_pauses_double_up_to_a_limit():
    policy = RestartPolicy(first_pause=1, longest_pause=5)
    assert [policy.pause(n) for n in (1, 2, 3, 4)] == [1, 2, 4, 5]


def test_a_long_log_is_emptied_while_its_child_runs(tmp_path):
    with Running(child(tmp_path, "one", code=TALKING)) as running:
        log = tmp_path / "logs" / "one.log"
        before = running.supervisor.processes["one"]
        old = tmp_path / "logs" / "one.old.log"
        until(lambda: old.exists() and log.stat().st_size < 2 * 1024 * 1024)
        assert old.stat().st_size > 16 * 1024 * 1024
        (tmp_path / "go").touch()
        until(lambda: log.read_bytes().endswith(b"more\n"))
        # Written where the emptied file ends, not where the child was before.
        assert log.stat().st_size < 2 * 1024 * 1024
        assert running.supervisor.processes["one"] == before


def test_a_child_that_is_not_essential_is_not_waited_for_and_takes_nothing_with_it(tmp_path):
    extra = replace(child(tmp_path, "extra", code=FAILING), essential=False)
    late = replace(child(tmp_path, "late", code=LATE), essential=False)
    said: list[str] = []
    supervisor = Supervisor(
        [child(tmp_path, "main"), extra, late], report=said.append, policy=QUICK
    )
    try:
        supervisor.start(never)
        (tmp_path / "go").touch()
        end = time.monotonic() + 100
        supervisor.watch(lambda: len(said) >= 4 or time.monotonic() > end)
        assert "late is serving." in said
        assert any("giving up" in line and "no model" in line for line in said)
        assert set(supervisor.processes) == {"main", "late"}
    finally:
        supervisor.stop(lambda: False)


def test_a_child_that_says_why_it_ends_is_quoted_while_others_go_on(tmp_path):
    extra = replace(child(tmp_path, "extra", code=REFUSING), essential=False)
    said: list[str] = []
    supervisor = Supervisor([child(tmp_path, "main"), extra], report=said.append, policy=QUICK)
    try:
        supervisor.start(never)
        end = time.monotonic() + 100
        supervisor.watch(lambda: len(said) >= 3 or time.monotonic() > end)
    finally:
        supervisor.stop(lambda: False)
    why = "extra cannot run: There is no such device"
    assert said[0] == f"{why}; starting it again in 0.05 s."
    log = tmp_path / "logs" / "extra.log"
    assert said[2] == f"{why} 3 times; giving up. Its log is {log}."
