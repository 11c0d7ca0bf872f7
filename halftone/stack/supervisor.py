"""Keeps child processes running: starts them, restarts the ones that die or hang, stops them."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from concurrent import futures
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from halftone.core import errors
from halftone.stack.logs import ChildLog, limit_log

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

_POLL_SECONDS: Final = 0.1
# A large model on a busy machine takes a while; somebody waiting should see why.
_FIRST_REMARK_SECONDS: Final = 5.0
_REMARK_SECONDS: Final = 15.0


@dataclass(frozen=True, kw_only=True)
class Child:
    """A process to keep running.

    Attributes:
        command: Program and arguments.
        environment: Variables that are added to this process's own.
        log: The file to which both outputs of the child are appended.
        is_ready: Called about every tenth of a second until it returns True.
        is_alive: Called every few seconds afterwards, in a thread of its own; returns within
            seconds whether the child answers at all. None: only its end is noticed.
        start_seconds: The time within which it must be ready.
        stop_seconds: The time between SIGTERM and SIGKILL.
        essential: Whether the other children are useless without it. The start does not wait for a
            child that is not essential. If such a child dies too often, it is not started again,
            and the others go on.
        phases: What the child does, in words, after it has logged an event; under "", from its
            start on.
        hopeless: Events after which an essential child will not become ready, each with the reason
            as its `error`.
    """

    name: str
    command: tuple[str, ...]
    log: Path
    is_ready: Callable[[], bool]
    is_alive: Callable[[], bool] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    start_seconds: float = 180.0
    stop_seconds: float = 30.0
    essential: bool = True
    phases: Mapping[str, str] = field(default_factory=lambda: {"": "starting"})
    hopeless: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class RestartPolicy:
    """The rules for starting a dead child again.

    Attributes:
        first_pause: Seconds before the first restart; doubled for each further one.
        longest_pause: The longest pause in seconds.
        failures: The number of deaths within the window after which the supervisor gives up.
        window: Length of the window in seconds.
        pulse_seconds: Seconds between two questions whether a child is alive.
        hang_seconds: A child that has answered none for so many seconds is killed, and started
            again like one that died; 0 waits for ever.
    """

    first_pause: float = 0.5
    longest_pause: float = 8.0
    failures: int = 5
    window: float = 60.0
    pulse_seconds: float = 2.0
    hang_seconds: float = 20.0

    def pause(self, failures: int) -> float:
        """Return the seconds to wait after `failures` deaths within the window."""
        return min(self.longest_pause, self.first_pause * 2.0 ** (failures - 1))


CHILD_FAILED: Final = "CHILD_FAILED"
"""The reason of the error if a child did not start or died too often. The error's text says why, or
ends with the child's last lines."""


@dataclass(kw_only=True)
class _Running:
    """A child with the state of its process."""

    child: Child
    log: ChildLog
    process: subprocess.Popen[bytes] | None = None
    ready: bool = False
    started: float = 0.0
    restart_at: float | None = None
    deaths: list[float] = field(default_factory=list)
    pulse: futures.Future[bool] | None = None
    pulse_at: float = 0.0
    silent_since: float | None = None


class Supervisor:
    """Runs children; call `start`, then `watch` until the end, then `stop`.

    The functions that say when to stop are called about ten times a second. They are not
    `threading.Event`s, because a signal's handler runs in the very thread that waits for the event:
    setting it there would wait for ever for the lock that the wait holds.

    Args:
        children: The children in the order of starting; they are stopped in the reverse order.
        report: Called with a sentence about each thing that happens.
        policy: The rules for restarting and for giving up.
        first_remark_seconds: The time after which `start` says what it waits for.
        remark_seconds: The time after which it says so again.
    """

    def __init__(
        self,
        children: Sequence[Child],
        *,
        report: Callable[[str], None],
        policy: RestartPolicy | None = None,
        first_remark_seconds: float = _FIRST_REMARK_SECONDS,
        remark_seconds: float = _REMARK_SECONDS,
    ) -> None:
        self._children = [_Running(child=child, log=_open_log(child)) for child in children]
        self._report = report
        self._policy = policy or RestartPolicy()
        # A question to a child that hangs takes seconds, and the others are looked after meanwhile.
        self._pulses = futures.ThreadPoolExecutor(
            max(1, len(self._children)), thread_name_prefix="pulse"
        )
        self._first_remark_seconds = first_remark_seconds
        self._remark_seconds = remark_seconds

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
        started = time.monotonic()
        remark_at = started + self._first_remark_seconds
        needed = [running for running in self._children if running.child.essential]
        while not is_stopping() and not all(running.ready for running in needed):
            for running in needed:
                self._check_start(running)
            waiting = [running for running in needed if not running.ready]
            late = next(filter(self._is_late, waiting), None)
            if late is not None:
                raise _make_late_error(late, waiting=waiting)
            if time.monotonic() > remark_at:
                remark_at = time.monotonic() + self._remark_seconds
                self._report_waiting(needed, seconds=time.monotonic() - started)
            time.sleep(_POLL_SECONDS)

    def _check_start(self, running: _Running) -> None:
        """Look whether a child has become ready.

        Raises:
            errors.Unavailable: It died, or says that it will not become ready.
        """
        if running.process is not None and running.process.poll() is not None:
            raise _make_error(running, what=_describe_end(running))
        if not running.ready and running.child.is_ready():
            running.ready = True
        elif not running.ready:
            running.log.read()
            if running.log.hopeless_reason:
                why = running.log.hopeless_reason.rstrip(".")
                raise _make_error(running, what=f"does not become ready: {why}")

    def _report_waiting(self, needed: list[_Running], *, seconds: float) -> None:
        waiting = [running for running in needed if not running.ready]
        if not waiting:
            return
        names = " and ".join(_describe_phase(running) for running in waiting)
        self._report(f"Waiting for {names}; {seconds:.0f} s so far.")
        for running in waiting:
            if running.log.error:
                self._report(f"{running.child.name} says: {running.log.error}")

    def watch(self, is_stopping: Callable[[], bool]) -> None:
        """Restart children that die, hang or are not ready in time, until `is_stopping` says so.

        A child that is not essential and dies too often is not started again.

        Raises:
            errors.Unavailable: An essential child died, or was not ready in time, too often.
        """
        while not is_stopping():
            for running in self._children:
                self._look_after(running)
            time.sleep(_POLL_SECONDS)

    def _look_after(self, running: _Running) -> None:
        limit_log(running.child.log)
        process = running.process
        if process is None:
            if running.restart_at is not None and time.monotonic() >= running.restart_at:
                self._spawn(running)
        elif process.poll() is not None:
            self._handle_death(running, what=_describe_end(running))
        elif not running.ready and running.child.is_ready():
            running.ready = True
            again = " again" if running.deaths or running.child.essential else ""
            self._report(f"{running.child.name} is serving{again}.")
        elif not running.ready and self._is_late(running):
            self._kill(running, what=f"was not ready in {running.child.start_seconds:g} s")
        elif running.ready and self._hangs(running):
            self._kill(running, what=f"did not answer for {self._policy.hang_seconds:g} s")

    def _hangs(self, running: _Running) -> bool:
        """Ask a child whether it is alive, if it is time, and return whether it hangs.

        The time counts from the first question without an answer, and not from the last answer:
        after a pause of the whole machine nobody hangs.
        """
        is_alive, now = running.child.is_alive, time.monotonic()
        if is_alive is None or not self._policy.hang_seconds:
            return False
        if running.pulse is None:
            if now >= running.pulse_at:
                running.pulse = self._pulses.submit(is_alive)
            return False
        if not running.pulse.done():
            return False
        answers = running.pulse.exception() is None and running.pulse.result()
        running.pulse, running.pulse_at = None, now + self._policy.pulse_seconds
        if answers:
            running.silent_since = None
        elif running.silent_since is None:
            running.silent_since = now
        return (
            running.silent_since is not None
            and now - running.silent_since >= self._policy.hang_seconds
        )

    def _kill(self, running: _Running, *, what: str) -> None:
        if running.process is not None:
            running.process.kill()
            running.process.wait()
        self._handle_death(running, what=what)

    def _handle_death(self, running: _Running, *, what: str) -> None:
        now = time.monotonic()
        running.process = None
        running.ready = False
        running.deaths = [at for at in running.deaths if now - at < self._policy.window]
        running.deaths.append(now)
        if len(running.deaths) >= self._policy.failures:
            times = len(running.deaths)
            failure = _make_error(running, what=f"{what} {times} times; giving up")
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
        self._pulses.shutdown(wait=False, cancel_futures=True)
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
        limit_log(child.log)
        running.log = _open_log(child)
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
        running.pulse = running.silent_since = None

    def _is_late(self, running: _Running) -> bool:
        return time.monotonic() - running.started > running.child.start_seconds


def _open_log(child: Child) -> ChildLog:
    return ChildLog(child.log, phases=frozenset(child.phases), hopeless=child.hopeless)


def _describe_end(running: _Running) -> str:
    """Return in words how a child ended, with its own reason if it gave one."""
    running.log.read(to_the_end=True)
    if running.log.end_reason:
        return f"cannot run: {running.log.end_reason.rstrip('.')}"
    code = 0 if running.process is None else running.process.returncode
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def _describe_phase(running: _Running) -> str:
    phase = running.child.phases.get(running.log.phase, "")
    return f"{running.child.name} ({phase})" if phase else running.child.name


def _make_late_error(late: _Running, *, waiting: list[_Running]) -> errors.Unavailable:
    """Return the error of a child that was not ready in time.

    It names every child that is not ready: one of the others may be what `late` waits for.
    """
    names = " and ".join(_describe_phase(running) for running in waiting)
    were = "was" if len(waiting) == 1 else "were"
    seconds = late.child.start_seconds
    return errors.Unavailable(
        f"{names} {were} not ready within {seconds:g} s.{_quote_log(late)}", reason=CHILD_FAILED
    )


def _make_error(running: _Running, *, what: str) -> errors.Unavailable:
    """Return the error of a child; its log is quoted unless the child said itself what is wrong."""
    text = f"{running.child.name} {what}."
    if running.log.end_reason or running.log.hopeless_reason:
        text += f" Its log is {running.child.log}."
    else:
        text += _quote_log(running)
    return errors.Unavailable(text, reason=CHILD_FAILED)


def _quote_log(running: _Running) -> str:
    child, lines = running.child, running.log.last_lines
    if not lines:
        return f" {child.name} has written nothing to its log, {child.log}."
    quoted = "\n".join(f"    {line}" for line in lines)
    return f" The last lines of {child.name} ({child.log}):\n{quoted}"
