"""Read corrections of labels: pairs that somebody looked at, and what they saw.

No truth is complete. A pair whose label is wrong is corrected by a line in a file, never by a rule:
a rule that leaves out what contradicts the method hides its mistakes.
"""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Final

from halftone.core import errors

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

COLUMNS: Final = ("a", "b", "same", "seen_by", "date", "what")
"""Ids of two pictures (of a folder without a manifest: names of files without their endings), yes
or no, who looked, when, and what they saw."""
_ANSWERS: Final = {"yes": True, "no": False}

Corrections = dict[frozenset[str], bool]
"""Whether the two pictures of a pair are the same."""


def read_corrections(path: Path) -> Corrections:
    """Read a CSV file of corrected pairs.

    Raises:
        errors.InvalidArgument: The file cannot be read, lacks a column, or a line does not say who
            looked.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise errors.InvalidArgument(
            f"{path} cannot be read: {error}.", field="corrections"
        ) from error
    corrections: Corrections = {}
    for number, row in enumerate(rows, start=2):
        missing = [name for name in COLUMNS if not (row.get(name) or "").strip()]
        if missing or row["same"] not in _ANSWERS or row["a"] == row["b"]:
            why = f"{', '.join(missing)} missing" if missing else "`same` is not yes or no"
            if row.get("a") and row.get("a") == row.get("b"):
                why = "it names one picture twice"
            raise errors.InvalidArgument(f"{path}, line {number}: {why}.", field="corrections")
        corrections[frozenset((row["a"], row["b"]))] = _ANSWERS[row["same"]]
    return corrections


def correct(a: str, b: str, *, label: bool, by: Mapping[frozenset[str], bool]) -> bool:
    """Return whether two pictures are the same: as corrected, otherwise as labelled."""
    return by.get(frozenset((a, b)), label)
