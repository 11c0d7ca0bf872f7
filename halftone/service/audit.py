"""Writes who changed what into the audit log, for each call that changes something."""

from __future__ import annotations

import asyncio
import collections
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from halftone.core import audit, errors, telemetry
from halftone.core.keys import Scope
from halftone.service.access import SCOPES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from halftone.service.access import Caller

_READING: Final = ("Get", "List", "Watch")
_NOT_OURS: Final = "/grpc."
_NAMES: Final = frozenset({"name", "names", "a", "b", "model_version", "verdict", "parent"})
_DETAILS: Final = ("decision", "filter", "spec")

_log = telemetry.get_logger(__name__)


def is_audited(method: str) -> bool:
    """Return whether a method changes something, by its scope and its name.

    A method of ours that has no scope yet counts; gRPC's own, health and reflection, do not.
    """
    if method.startswith(_NOT_OURS):
        return False
    scope = SCOPES.get(method, Scope.ADMIN)
    name = method.rpartition("/")[2]
    return scope not in {Scope.READ, Scope.SEARCH} and not name.startswith(_READING)


class Record:
    """What one call changes.

    Args:
        method: The method as gRPC names it.
    """

    def __init__(self, method: str) -> None:
        self._method = method
        self._subjects: list[str] = []
        self._details: dict[str, str] = {}
        self._states: collections.Counter[str] = collections.Counter()

    def take_request(self, request: Any) -> None:
        """Note what a call asks for. A stream of requests is left alone."""
        if not hasattr(request, "DESCRIPTOR"):
            return
        self._subjects += _list_names(request)
        for name in _DETAILS:
            field = request.DESCRIPTOR.fields_by_name.get(name)
            if field is not None and (value := getattr(request, name)):
                known = field.enum_type.values_by_number.get(value) if field.enum_type else None
                self._details[name] = known.name if known else " ".join(str(value).split())

    def take_answer(self, answer: Any) -> None:
        """Note an answer of a stream: an acknowledgement's state, and the first names."""
        state = answer.DESCRIPTOR.fields_by_name.get("state")
        if state is not None and state.enum_type is not None:
            self._states[state.enum_type.values_by_number[answer.state].name.lower()] += 1
        if len(self._subjects) < audit.MAX_SUBJECTS:
            self._subjects += _list_names(answer)

    def make_entry(self, caller: Caller, *, code: str, reason: str | None) -> dict[str, object]:
        """Return the entry of the audit log."""
        return audit.make_entry(
            self._method.rpartition(".")[2],
            code=code,
            reason=reason,
            key=caller.key_id,
            by=caller.label or ("a service" if caller.is_service else ""),
            origin=caller.origin,
            request_id=telemetry.request_id(),
            subjects=self._subjects,
            counts=dict(self._states) or None,
            **self._details,
        )


def _list_names(message: Any) -> Iterator[str]:
    for field in message.DESCRIPTOR.fields:
        if field.name in _NAMES and field.type == field.TYPE_STRING:
            value = getattr(message, field.name)
            values = [value] if isinstance(value, str) else value[: audit.MAX_SUBJECTS]
            yield from (text for text in values if text)
        elif field.name == "image" and field.message_type is not None:
            yield from _list_names(message.image)


class AuditLog:
    """The audit log of a process.

    Args:
        target: The file; `log` for the log stream; empty: nothing is written.
    """

    def __init__(self, target: str) -> None:
        self._target = target

    @property
    def is_kept(self) -> bool:
        """Return whether anything is written."""
        return bool(self._target)

    async def write(self, entry: dict[str, object]) -> None:
        """Write an entry. A log that cannot be written is an error in the log stream."""
        if self._target == audit.LOG:
            _log.info("audit", **entry)
        elif self._target:
            try:
                await asyncio.to_thread(audit.append, Path(self._target), entry)
            except errors.HalftoneError as error:
                _log.error("audit_not_written", error=error.message, **entry)
