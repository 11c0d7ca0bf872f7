"""What a stage writes while it measures, and the table and file that become of it."""

from __future__ import annotations

import dataclasses
import json
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from .runner import Outcome

_WIDEST = 90


class Report:
    """The figures of one stage, on disk after each."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._content: dict[str, Any] = {"doing": "", "rows": [], "details": {}}

    @property
    def rows(self) -> list[dict[str, Any]]:
        """What was measured so far."""
        return list(self._content["rows"])

    def doing(self, what: str) -> None:
        """Say what comes next, for the case that it does not end."""
        print(what, flush=True)
        self._content["doing"] = what
        self._write()

    def add(  # noqa: D417  # the others are named as what they are
        self,
        what: str,
        value: float | str,
        *,
        unit: str = "",
        note: str = "",
        at_least: float | None = None,
        at_most: float | None = None,
    ) -> None:
        """Add a row.

        Args:
            what: Was measured.
            value: The figure.
            note: What it is to be seen beside.
            at_least: The bar, where there is one; `at_most` likewise.
        """
        row: dict[str, Any] = {"what": what, "value": value, "unit": unit, "note": note}
        if at_least is not None:
            row |= {"bar": f"≥ {_number(at_least)}", "met": float(value) >= at_least}
        if at_most is not None:
            row |= {"bar": f"≤ {_number(at_most)}", "met": float(value) <= at_most}
        print(f"{what}: {_number(value)} {unit}  {note}", flush=True)
        self._content["rows"].append(row)
        self._write()

    def detail(self, name: str, value: Any) -> None:
        """Keep something that is not for the table."""
        self._content["details"][name] = value
        self._write()

    def skip(self, reason: str) -> None:
        """Say why the stage does not run."""
        self._content["skipped"] = reason
        self._write()

    def fail(self, reason: str) -> None:
        """Say in a sentence what went wrong."""
        self._content["failed"] = reason
        self._write()

    def _write(self) -> None:
        temporary = self._file.with_suffix(".new")
        temporary.write_text(json.dumps(self._content, indent=2))
        os.replace(temporary, self._file)  # noqa: PTH105  # atomic: it may be read at any moment


def table(outcomes: Sequence[Outcome], *, hardware: Mapping[str, Any]) -> str:
    """All figures as text."""
    rows = [("stage", "what", "measured", "beside", "bar")]
    for outcome in outcomes:
        label = outcome.name
        for row in outcome.rows:
            measured = f"{_number(row['value'])} {row.get('unit', '')}".strip()
            rows.append((label, row["what"], measured, row.get("note", ""), _bar(row)))
            label = ""
        if outcome.status != "done":
            rows.append((label, outcome.status, "", _short(outcome.reason), ""))
        elif not outcome.rows:
            rows.append((label, "done", "", "", ""))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    device = hardware.get("device") or "no GPU"
    head = f"{device}, driver {hardware.get('driver') or 'unknown'}, torch {hardware.get('torch')}"
    return "\n".join([f"{head}, {hardware.get('date')}", "", *lines])


def to_dict(outcomes: Sequence[Outcome], *, hardware: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON file."""
    return {
        "hardware": dict(hardware),
        "stages": {
            outcome.name: {
                name: value for name, value in dataclasses.asdict(outcome).items() if name != "name"
            }
            for outcome in outcomes
        },
        "skipped": {each.name: each.reason for each in outcomes if each.status == "skipped"},
    }


def _short(reason: str) -> str:
    """For one line; the file has all of it."""
    return reason if len(reason) <= _WIDEST else f"{reason[:_WIDEST]} …"


def _bar(row: Mapping[str, Any]) -> str:
    if "bar" not in row:
        return ""
    return row["bar"] if row["met"] else f"{row['bar']}, missed"


def _number(value: float | str) -> str:
    """Three significant digits, or the whole number."""
    if isinstance(value, str):
        return value
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
