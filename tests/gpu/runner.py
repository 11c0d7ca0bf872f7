"""Runs stages one after the other, each in a process of its own and within its share of the time.

A stage that hangs or crashes costs its own results at most: it writes down each figure as soon as
it is measured, and what it wrote until it was killed is kept.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

Status = Literal["done", "skipped", "failed", "timed out"]
_GRACE_SECONDS: Final = 5.0
_TAIL: Final = 12


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Something to run.

    Attributes:
        name: One word.
        weight: Its share of the time, beside the other stages'.
        least: Seconds below which it is not worth starting.
    """

    name: str
    weight: float
    least: float = 5.0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a stage.

    Attributes:
        name: Of the stage.
        status: How it ended.
        reason: Why it was skipped or did not end well.
        budget_seconds: What it was given.
        seconds: What it took.
        rows: Figures for the table.
        details: Everything else that it measured.
        tail: Last lines of its output, when it did not end well.
    """

    name: str
    status: Status
    reason: str = ""
    budget_seconds: float = 0.0
    seconds: float = 0.0
    rows: list[dict[str, Any]] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)
    tail: list[str] = field(default_factory=list)


def share(stage: Stage, *, left: Sequence[Stage], seconds: float) -> float:
    """A stage's share of the seconds left, with what earlier stages did not use.

    Args:
        stage: The one to start now.
        left: All that are still to run, this one among them.
        seconds: Until the end.
    """
    return max(0.0, seconds * stage.weight / sum(each.weight for each in left))


def run_stage(
    stage: Stage,
    *,
    command: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    seconds: float,
) -> Outcome:
    """Start a stage's process and wait for it, at most so long.

    Args:
        stage: Which.
        command: Without the options `--file` and `--seconds`, which are appended.
        environment: Of the process.
        folder: Gets the log, and the file into which the process writes what it measured.
        seconds: After these it is killed with all it started.
    """
    if seconds < stage.least:
        reason = f"{seconds:.0f} s are left, and it needs {stage.least:.0f}"
        return Outcome(name=stage.name, status="skipped", reason=reason, budget_seconds=seconds)
    folder.mkdir(parents=True, exist_ok=True)
    written, log = folder / f"{stage.name}.json", folder / f"{stage.name}.log"
    written.unlink(missing_ok=True)
    started = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(  # our own command
            [*command, "--file", str(written), "--seconds", f"{seconds:.1f}"],
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=dict(environment),
            # A group of its own, so that whatever it started ends with it.
            start_new_session=True,
        )
        try:
            code: int | None = process.wait(seconds)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _end(process)
    took = time.monotonic() - started
    found = _read(written)
    status, reason = _judge(code, found=found, seconds=seconds)
    return Outcome(
        name=stage.name,
        status=status,
        reason=reason,
        budget_seconds=round(seconds, 1),
        seconds=round(took, 1),
        rows=found.get("rows", []),
        details=found.get("details", {}),
        tail=[] if status in ("done", "skipped") else _last_lines(log),
    )


def _judge(code: int | None, *, found: Mapping[str, Any], seconds: float) -> tuple[Status, str]:
    doing = f" while {found['doing']}" if found.get("doing") else ""
    if code is None:
        return "timed out", f"killed after {seconds:.0f} s{doing}"
    if code == 0:
        skipped = found.get("skipped", "")
        return ("skipped", skipped) if skipped else ("done", "")
    how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    return "failed", found.get("failed") or f"{how}{doing}"


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process and its group, also when it has ended and left others behind."""
    for number, patience in ((signal.SIGTERM, _GRACE_SECONDS), (signal.SIGKILL, None)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _last_lines(log: Path) -> list[str]:
    return log.read_text(errors="replace").splitlines()[-_TAIL:]
