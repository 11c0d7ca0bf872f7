"""Reads what a child process wrote to its log since it was started, and keeps logs short.

Services log one JSON object a line. What is no such object, for example the traceback of a program
that could not be imported, is a line of text.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import shutil
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pathlib import Path

_LIMIT_BYTES: Final = 16 * 1024 * 1024
_MOST_BYTES: Final = 256 * 1024
_MOST_LINES: Final = 8
_MOST_CHARACTERS: Final = 500

CANNOT_RUN: Final = "cannot_run"
"""The event with which a service says, as its `error`, why it ends."""


class ChildLog:
    """The part of a log that was written since this object was made. `read` reads on.

    Attributes:
        last_lines: The last lines, with JSON events made readable.
        phase: The last of the events that were looked for; "" if there was none.
        error: The text of the last event with the level error; "" if there was none.
        end_reason: Why the child says that it ends; "" if it says no such thing.
        hopeless_reason: Why it says that it will not become ready; "" if it says no such thing.
    """

    def __init__(
        self,
        path: Path,
        *,
        phases: frozenset[str] = frozenset(),
        hopeless: frozenset[str] = frozenset(),
    ) -> None:
        """Begin at the present end of the log.

        Args:
            path: The log; it need not exist yet.
            phases: The events to look for.
            hopeless: Events that say, as their `error`, why the child will not become ready.
        """
        self.last_lines: collections.deque[str] = collections.deque(maxlen=_MOST_LINES)
        self.phase = ""
        self.error = ""
        self.end_reason = ""
        self.hopeless_reason = ""
        self._path = path
        self._phases = phases
        self._hopeless = hopeless
        self._position = _measure(path)

    def read(self, *, to_the_end: bool = False) -> None:
        """Read what was written since the last call, up to the last whole line.

        Args:
            to_the_end: Also read a line without its end, because the child has ended.
        """
        size = _measure(self._path)
        if size < self._position:  # the log was emptied
            self._position = 0
        if size == self._position:
            return
        # Only the end of very much is read.
        begin = max(self._position, size - _MOST_BYTES)
        try:
            with self._path.open("rb") as file:
                file.seek(begin)
                content = file.read(size - begin)
        except OSError:
            return
        whole = content if to_the_end else content[: content.rfind(b"\n") + 1]
        self._position = begin + len(whole)
        for line in whole.decode("utf-8", "replace").splitlines():
            self._take(line)

    def _take(self, line: str) -> None:
        event = _parse(line)
        text = line if event is None else _format_event(event)
        if text.strip():
            self.last_lines.append(text[:_MOST_CHARACTERS])
        if event is None:
            return
        name = str(event["event"])
        reason = str(event.get("error") or "")
        if name in self._phases:
            self.phase = name
        if event.get("level") == "error":
            self.error = reason or text
        if name == CANNOT_RUN:
            self.end_reason = reason or text
        if name in self._hopeless:
            self.hopeless_reason = reason or text


def limit_log(log: Path) -> None:
    """Empty a log that has become long. Its lines are kept in `….old.log`, instead of older lines.

    If they cannot be copied, they are lost.
    """
    if _measure(log) <= _LIMIT_BYTES:
        return
    # A full disk has no room for a copy, and a log must not be what fills it.
    with contextlib.suppress(OSError):
        shutil.copyfile(log, log.with_suffix(".old.log"))
    # The file is not renamed: the child keeps it open and goes on writing at its end.
    os.truncate(log, 0)


def _measure(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _parse(line: str) -> dict[str, Any] | None:
    """Return the event of a line; None if it is another text."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) and "event" in event else None


def _format_event(event: dict[str, Any]) -> str:
    hidden = {"event", "level", "timestamp", "service", "exception"}
    facts = " ".join(f"{key}={value}" for key, value in event.items() if key not in hidden)
    trace = str(event.get("exception", "")).strip().rpartition("\n")[2]
    return " ".join(part for part in (str(event["event"]), facts, trace) if part)
