"""Reads the dates of a manifest, also such as people write them.

A record keeps EDTF. `22.08.1914`, `ca. 1914` or `n.d.` are no such dates: a row that has one is
refused with what to write instead, or, if the caller wants it, read as what it can only mean. What
may mean two things, or nothing, leaves the record undated. The text as it was written goes with the
record either way.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from halftone.archive import date_hints, dates
from halftone.archive.habits import Habits
from halftone.core import errors

WRITTEN: Final = "date_as_written"
"""The label that keeps the text of a date that was read loosely."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a date of a manifest was read as.

    Attributes:
        date: The EDTF date; empty if none could be read.
        written: The text as it was written, if that is another one.
        note: A sentence for people, or "".
    """

    date: str
    written: str = ""
    note: str = ""


@dataclass(kw_only=True)
class DateReader:
    """Reads the dates of one manifest, and counts what it could not take as it was.

    Attributes:
        loose: Whether dates are read that are not EDTF.
        habits: How the manifest writes.
        refused: The number of dates that were refused because they are not EDTF.
        readable: The number of those that could be read loosely.
        read: The number of dates that were read loosely.
        undated: The number of records that lost their date.
    """

    loose: bool = False
    habits: Habits = field(default_factory=Habits)
    refused: int = 0
    readable: int = 0
    read: int = 0
    undated: int = 0

    def read_date(self, text: str) -> Reading:
        """Return what a date means.

        Raises:
            errors.InvalidArgument: It is not EDTF, and dates are not read loosely.
        """
        date = dates.drop_midnight(text)
        try:
            dates.parse(date)
        except errors.InvalidArgument as error:
            readings = self._list_readings(date)
            if self.loose:
                return self._take(text, readings=readings, error=error)
            self.refused += 1
            self.readable += len(readings) == 1
            raise
        return Reading(date=date, note=" ".join(dates.list_notes(date)))

    def _list_readings(self, text: str) -> list[str]:
        if len(text) > dates.MAX_LENGTH:
            return []
        readings = date_hints.list_readings(
            text, order=self.habits.order, dotted=self.habits.dotted
        )
        return [
            reading
            for reading in readings
            if reading == date_hints.UNDATED or dates.is_date(reading)
        ]

    def _take(self, text: str, *, readings: list[str], error: errors.InvalidArgument) -> Reading:
        if readings == [date_hints.UNDATED]:
            return Reading(date="", written=text, note=f"date: {text!r} says that none is known.")
        if len(readings) == 1:
            self.read += 1
            note = f"date: {text!r} was read as {readings[0]}."
            return Reading(
                date=readings[0],
                written=text,
                note=" ".join([note, *dates.list_notes(readings[0])]),
            )
        self.undated += 1
        why = error.message
        if readings:
            why = f"date: {text!r} may be {' or '.join(readings)}, and no other row tells which."
        return Reading(date="", written=text, note=f"{why} The picture is undated.")

    def describe(self, *, option: str) -> list[str]:
        """Return sentences about the dates that were not taken as they are.

        Args:
            option: How the caller is to ask for loose dates, for example `--loose-dates`.
        """
        if self.refused:
            others = self.refused - self.readable
            parts = [f"reads {self.readable:,} of them"] if self.readable else []
            if others:
                parts.append(f"imports {others:,} without a date")
            rows = "1 row was" if self.refused == 1 else f"{self.refused:,} rows were"
            said = f"{rows} rejected for the date: {option} {' and '.join(parts)}"
            return [f"{said}, and keeps what was written."]
        sentences = []
        if self.read:
            dates_were = "1 date was" if self.read == 1 else f"{self.read:,} dates were"
            sentences.append(f"{dates_were} read as people write them.")
        if self.undated == 1:
            sentences.append("1 picture is undated, since its date is not clear.")
        elif self.undated:
            sentences.append(f"{self.undated:,} pictures are undated, since theirs are not clear.")
        return sentences
