"""Keeps child processes running: starts them, restarts the ones that die, stops them in order."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from halftone.core import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

_POLL_SECONDS: Final = 0.1
# A large model on a busy machine takes a while; somebody waiting should see why.
_REMARK_SECONDS: Final = 15.0
_LOG_LIMIT_BYTES: Final = 16 * 1024 * 1024
_TAIL_BYTES: Final = 16 * 1024


@dataclass(frozen=True, kw_only=True)
class Child:
    """A process to keep running.

    Attributes:
        command: Program and arguments.
        environment: Variables that are added to this process's own.
        log: The file to which both outputs of the child are appended.
        is_ready: Called about every tenth of a second until it returns True.
        start_seconds: The time within which it must be ready.
        stop_seconds: The time between SIGTERM and SIGKILL.
        essential: Whether the other children are useless without it. The start does not wait for a
            child that is not essential. If such a child dies too often, it is not started again,
            and the others go on.
    """

    name: str
    command: tuple[str, ...]
    log: Path
    is_ready: Callable[[], bool]
    environment: Mapping[str, str] = field(default_factory=dict)
    start_seconds: float = 180.0
    stop_seconds: float = 30.0
    essential: bool = True


@dataclass(frozen=True, kw_only=True)
class RestartPolicy:
    """The rules for starting a dead child again.

    Attributes:
        first_pause: Seconds before the first restart; doubled for each further one.
        longest_pause: The longest pause in seconds.
        failures: The number of deaths within the window after which the supervisor gives up.
        window: Length of the window in seconds.
    """

    first_pause: float = 0.5
    longest_pause: float = 8.0
    failures: int = 5
    window: float = 60.0

    def pause(self, failures: int) -> float:
        """Return the seconds to wait after `failures` deaths within the window."""
        return min(self.longest_pause, self.first_pause * 2.0 ** (failures - 1))


CHILD_FAILED: Final = "CHILD_FAILED"
"""The reason of the error if a child did not start or died too often. The error's text ends with
the child's last lines."""


@dataclass(kw_only=True)
class _Running:
    """A child with the state of its process."""

    child: Child
    process: subprocess.Popen[bytes] | None = None
    ready: bool = False
    started: float = 0.0
    restart_at: float | None = None
    deaths: list[float] = field(default_factory=list)


class Supervisor:
    """Runs children; call `start`, then `watch` until the end, then `stop`.

    The functions that say when to stop are called about ten times a second. They are not
    `threading.Event`s, because a signal's handler runs in the very thread that waits for the event:
    setting it there would wait for ever for the lock that the wait holds.

    Args:
        children: The children in the order of starting; they are stopped in the reverse order.
        report: Called with a sentence about each thing that happens.
        policy: The rules for restarting and for giving up.
    """

    def __init__(
        self,
        children: Sequence[Child],
        *,
        report: Callable[[str], None],
        policy: RestartPolicy | None = None,
    ) -> None:
        self._children = [_Running(child=child) for child in children]
        self._report = report
        self._policy = policy or RestartPolicy()

    @property
    def processes(self) -> dict[str, int]:
        """Return the process id of each child that runs."""
        return {
            running.child.name: running.process.pid
            for running in self._children
            if running.process is not None and running.process.poll() is None
        }

    def start(self, is_stopping: Callable[[], bool]) -> None:
        """Start every child and wait for the essential ones, or until `is_stopping` returns True.

        Raises:
            errors.Unavailable: An essential child died or was not ready in time. Call `stop` all
                the same.
        """
        for running in self._children:
            self._spawn(running)
        remark_at = time.monotonic() + _REMARK_SECONDS
        needed = [running for running in self._children if running.child.essential]
        while not is_stopping() and not all(running.ready for running in needed):
            for running in needed:
                process = running.process
                if process is not None and process.poll() is not None:
                    raise _make_error(running.child, what=_describe_end(process))
                if not running.ready and running.child.is_ready():
                    running.ready = True
                elif not running.ready and self._is_late(running):
                    raise _make_error(running.child, what="was not ready in time")
            if time.monotonic() > remark_at:
                remark_at = time.monotonic() + _REMARK_SECONDS
                self._report_waiting(needed)
            time.sleep(_POLL_SECONDS)

    def _report_waiting(self, needed: list[_Running]) -> None:
        for running in needed:
            if not running.ready:
                lines = read_last_lines(running.child.log, count=1) or ["nothing yet"]
                self._report(f"Still waiting for {running.child.name}, which says: {lines[0]}")

    def watch(self, is_stopping: Callable[[], bool]) -> None:
        """Restart children that die or are not ready in time, until `is_stopping` returns True.

        A child that is not essential and dies too often is not started again.

        Raises:
            errors.Unavailable: An essential child died, or was not ready in time, too often.
        """
        while not is_stopping():
            for running in self._children:
                self._look_after(running)
            time.sleep(_POLL_SECONDS)

    def _look_after(self, running: _Running) -> None:
        _limit_log(running.child.log)
        process = running.process
        if process is None:
            if running.restart_at is not None and time.monotonic() >= running.restart_at:
                self._spawn(running)
        elif process.poll() is not None:
            self._handle_death(running, what=_describe_end(process))
        elif not running.ready and running.child.is_ready():
            running.ready = True
            again = " again" if running.deaths or running.child.essential else ""
            self._report(f"{running.child.name} is serving{again}.")
        elif not running.ready and self._is_late(running):
            process.kill()
            process.wait()
            self._handle_death(running, what="was not ready in time")

    def _handle_death(self, running: _Running, *, what: str) -> None:
        now = time.monotonic()
        running.process = None
        running.ready = False
        running.deaths = [at for at in running.deaths if now - at < self._policy.window]
        running.deaths.append(now)
        if len(running.deaths) >= self._policy.failures:
            times = len(running.deaths)
            failure = _make_error(running.child, what=f"{what}, for the {times}. time; giving up")
            if running.child.essential:
                raise failure
            running.restart_at = None
            self._report(failure.message)
            return
        pause = self._policy.pause(len(running.deaths))
        running.restart_at = now + pause
        self._report(f"{running.child.name} {what}; starting it again in {pause:g} s.")

    def stop(self, in_a_hurry: Callable[[], bool]) -> None:
        """Stop the children one after the other, the last one first.

        Args:
            in_a_hurry: Once it returns True, the children are killed instead of asked to stop.
        """
        for running in reversed(self._children):
            process = running.process
            if process is None:
                continue
            if process.poll() is None:
                process.terminate()
            until = time.monotonic() + running.child.stop_seconds
            while process.poll() is None and time.monotonic() < until and not in_a_hurry():
                time.sleep(_POLL_SECONDS / 2)
            if process.poll() is None:
                if not in_a_hurry():
                    seconds = running.child.stop_seconds
                    self._report(f"{running.child.name} did not stop in {seconds:g} s; killed.")
                process.kill()
            process.wait()
            running.process = None

    def _spawn(self, running: _Running) -> None:
        child = running.child
        child.log.parent.mkdir(parents=True, exist_ok=True)
        _limit_log(child.log)
        with child.log.open("ab") as log:
            running.process = subprocess.Popen(  # noqa: S603  # our own entry points
                child.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **child.environment},
                # Ctrl-C in a terminal reaches the whole foreground group. Only the supervisor may
                # receive it, because the order of stopping matters.
                start_new_session=True,
            )
        running.started = time.monotonic()
        running.restart_at = None
        running.ready = False

    def _is_late(self, running: _Running) -> bool:
        return time.monotonic() - running.started > running.child.start_seconds


def _limit_log(log: Path) -> None:
    """Empty a log that has become long. Its lines are kept in `….old.log`, instead of older lines.

    If they cannot be copied, they are lost.
    """
    if not log.exists() or log.stat().st_size <= _LOG_LIMIT_BYTES:
        return
    # A full disk has no room for a copy, and a log must not be what fills it.
    with contextlib.suppress(OSError):
        shutil.copyfile(log, log.with_suffix(".old.log"))
    # The file is not renamed: the child keeps it open and goes on writing at its end.
    os.truncate(log, 0)


def _describe_end(process: subprocess.Popen[bytes]) -> str:
    code = process.returncode
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def _make_error(child: Child, *, what: str) -> errors.Unavailable:
    lines = read_last_lines(child.log)
    text = f"{child.name} {what}."
    if lines:
        text += f" Its last lines ({child.log}):\n" + "\n".join(f"    {line}" for line in lines)
    return errors.Unavailable(text, reason=CHILD_FAILED)


def read_last_lines(log: Path, *, count: int = 8) -> list[str]:
    """Return the last `count` lines of a log, with JSON events made readable.

    Empty lines are left out. The result is empty if the log cannot be read.
    """
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    return [_format_line(line)[:500] for line in text.splitlines()[-count:] if line.strip()]


def _format_line(line: str) -> str:
    try:
        event = json.loads(line)
    except ValueError:
        return line
    if not isinstance(event, dict) or "event" not in event:
        return line
    hidden = {"event", "level", "timestamp", "service", "exception"}
    facts = " ".join(f"{key}={value}" for key, value in event.items() if key not in hidden)
    trace = str(event.get("exception", "")).strip().rpartition("\n")[2]
    return " ".join(part for part in (str(event["event"]), facts, trace) if part)
