"""Says which of a source's columns are the fields of a record.

Archives call their columns as they like. A mapping is given as text, `journal=Publication,
date="Date issued"`, or as a file in TOML, where a field may have several columns of which the first
with a value counts:

    journal = "Publication"
    date = ["Date issued", "Date"]
    keyword = "Subject"

A field that records do not have, such as `keyword`, becomes a label of that name.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from halftone.core import errors
from halftone.core.spelling import tidy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_PAIR: Final = re.compile(r'\s*([^=",\s][^=",]*)=\s*(?:"((?:[^"]|"")*)"\s*|([^",]*))(?:,|$)')


@dataclass(frozen=True, kw_only=True)
class ColumnMap:
    """The columns from which the fields of records are taken.

    Attributes:
        columns: For each field its columns, of which the first with a value counts. Names of
            columns are compared without case.
    """

    columns: Mapping[str, tuple[str, ...]]

    @property
    def sources(self) -> frozenset[str]:
        """Return the columns that are named, in lower case."""
        return frozenset(name.lower() for names in self.columns.values() for name in names)

    def check(self, present: Sequence[str]) -> None:
        """Check that a header has a column for each field.

        Args:
            present: The columns of the header, in lower case.

        Raises:
            errors.InvalidArgument: It has none of the columns of a field.
        """
        for target, names in self.columns.items():
            if not any(name.lower() in present for name in names):
                raise errors.InvalidArgument(
                    f"There is no column {' or '.join(map(repr, names))} for {target}; there are: "
                    f"{', '.join(filter(None, present)) or 'none'}.",
                    field=target,
                    reason="MISSING_COLUMN",
                )

    def apply(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return a row with its columns called as the fields are; others keep their names."""
        by_name = {key.lower(): key for key in row}
        mapped: dict[str, Any] = {}
        used: set[str] = set()
        for target, names in self.columns.items():
            keys = [by_name[name.lower()] for name in names if name.lower() in by_name]
            used.update(keys)
            mapped[target] = next((row[key] for key in keys if row[key] is not None), None)
        rest = {key: value for key, value in row.items() if key not in used and key not in mapped}
        return rest | mapped


def parse_map(texts: Sequence[str]) -> ColumnMap | None:
    """Read mappings as they are given on a command line; None if there are none.

    Args:
        texts: Texts such as `journal=Publication,date="Date issued"`. A name with a comma stands in
            double quotes.

    Raises:
        errors.InvalidArgument: A text is no mapping.
    """
    columns: dict[str, tuple[str, ...]] = {}
    for text in texts:
        for target, name in _split(text):
            columns[target] = (*columns.get(target, ()), name)
    return ColumnMap(columns=columns) if columns else None


def read_map(path: Path) -> ColumnMap:
    """Read a mapping from a file in TOML.

    Raises:
        errors.InvalidArgument: The file cannot be read, or is no mapping.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise _make_error(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:  # of TOML and of UTF-8
        raise _make_error(
            f'{path} is no mapping ({error}); a line of it is journal = "Publication"'
        ) from error
    columns = {}
    for target, value in values.items():
        names = value if isinstance(value, list) else [value]
        if not names or not all(isinstance(name, str) and tidy(name) for name in names):
            raise _make_error(f"{path}: {target} must be the name of a column, or a list of names")
        columns[_read_target(target)] = tuple(map(tidy, names))
    if not columns:
        raise _make_error(f"{path} maps nothing")
    return ColumnMap(columns=columns)


def merge_maps(*maps: ColumnMap | None) -> ColumnMap | None:
    """Return one mapping of several; for a field that two have, the later one counts."""
    columns: dict[str, tuple[str, ...]] = {}
    for each in maps:
        columns |= each.columns if each else {}
    return ColumnMap(columns=columns) if columns else None


def _split(text: str) -> list[tuple[str, str]]:
    """Return the pairs of a mapping."""
    pairs = []
    at = 0
    while at < len(text):
        match = _PAIR.match(text, at)
        if match is None:
            raise _make_error(f"{text!r} is no mapping, as journal=Publication is one")
        target, quoted, plain = match.groups()
        name = tidy(plain if quoted is None else quoted.replace('""', '"'))
        if not name:
            raise _make_error(f"{text!r} names no column for {target.strip()}")
        pairs.append((_read_target(target), name))
        at = match.end()
    return pairs


def _read_target(text: str) -> str:
    name = tidy(text)
    return name.lower() if name.isascii() else name


def _make_error(problem: str) -> errors.InvalidArgument:
    return errors.InvalidArgument(f"{problem}.", field="map", reason="BAD_MAP")
