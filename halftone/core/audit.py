"""The audit log: who changed what. One JSON object a line, appended to a file of its owner's only.

Texts are escaped as JSON does it in ASCII, and cut at a bounded length, so that nothing that a
caller sends makes a line of its own or reaches a terminal.
"""

from __future__ import annotations

import datetime as dt
import json
import os
from typing import TYPE_CHECKING, Any, Final

from halftone.core import errors, files

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FILE_NAME: Final = "audit.jsonl"
"""The name of the audit log in a data directory."""
LOG: Final = "log"
"""The setting that puts entries into the log stream instead of a file."""
MAX_SUBJECTS: Final = 20
_MAX_TEXT: Final = 200
_TAIL_BYTES: Final = 1 << 20


def make_entry(action: str, **facts: object) -> dict[str, object]:
    """Return an entry: what was done, now, and facts about it, cut to a bounded length."""
    now = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
    kept = {name: _cut(value) for name, value in facts.items() if value not in ("", None, [])}
    return {"time": now, "action": _cut(action), **kept}


def append(path: Path, entry: Mapping[str, object]) -> None:
    """Append an entry to the audit log, which is made for its owner only if it is missing.

    Raises:
        errors.Unavailable: It cannot be written.
    """
    line = json.dumps(entry, ensure_ascii=True, default=str) + "\n"
    try:
        files.with_folders(path)
        # One write of a file that is opened for appending is not mixed with another one's. It is
        # opened anew each time, so that it may be moved away.
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(handle, line.encode())
        finally:
            os.close(handle)
    except OSError as error:
        raise errors.Unavailable(
            f"The audit log {path} cannot be written: {error.strerror or error}.", reason="AUDIT"
        ) from error


def read_last(path: Path, *, most: int) -> list[dict[str, Any]]:
    """Return the last entries of an audit log, the oldest first; none if it is missing.

    At most the last MiB is read. Lines that are no entries are left out.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            lines = file.read().splitlines()[1 if size > _TAIL_BYTES else 0 :]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise errors.Unavailable(
            f"The audit log {path} cannot be read: {error.strerror or error}.", reason="AUDIT"
        ) from error
    entries = []
    for line in lines[-most:]:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            entries.append(entry)
    return entries


def _cut(value: object) -> object:
    if isinstance(value, str):
        return value if len(value) <= _MAX_TEXT else value[: _MAX_TEXT - 1] + "…"
    if isinstance(value, list | tuple):
        return [_cut(item) for item in value[:MAX_SUBJECTS]]
    return value
