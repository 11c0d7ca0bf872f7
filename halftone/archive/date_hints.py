"""Reads dates as people write them, to name the form in which a record keeps them.

`halftone.archive.dates` refuses `22.08.1914` and says what to write instead; only
`halftone.archive.loose_dates` takes it for a date. Of a text that can be read in two ways both are
named, unless the manifest's habit tells which is meant.
"""

from __future__ import annotations

import enum
import itertools
import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

UNDATED: Final = ""
"""The reading of a text that says that no date is known."""

# English, German, French, Italian, Spanish, Dutch and Russian.
_MONTH_NAMES: Final = (
    "january januar jänner janvier gennaio enero januari январь января",
    "february februar feber février febbraio febrero februari февраль февраля",
    "march märz maerz mars marzo maart март марта",
    "april avril aprile abril апрель апреля",
    "may mai maggio mayo mei май мая",
    "june juni juin giugno junio июнь июня",
    "july juli juillet luglio julio июль июля",
    "august août agosto augustus август августа",
    "september septembre settembre septiembre setiembre сентябрь сентября",
    "october oktober octobre ottobre octubre октябрь октября",
    "november novembre noviembre ноябрь ноября",
    "december dezember décembre dicembre diciembre декабрь декабря",
)
_ROMAN: Final = ("i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x", "xi", "xii")
_LEAST_LETTERS: Final = 3
_ALIKE: Final = str.maketrans({"\N{EN DASH}": "—", "\N{RIGHT SINGLE QUOTATION MARK}": "'"})
# "In the year": the word or its first letter.
_RUSSIAN_YEAR: Final = re.compile(r"(?<=[0-9]) \N{CYRILLIC SMALL LETTER GHE}(?:ода?)?\.?$")

_UNDATED: Final = re.compile(
    r"[-—?]+|n\.? ?d\.?|s\.? ?d\.?|o\.? ?j\.?|undated|undatiert|unknown|unbekannt|none|"
    r"no date|ohne (?:datum|jahr)|sans date|senza data|sin fecha|без даты"
)
_ABOUT: Final = re.compile(
    r"(?:circa|ca?\.?|about|around|approx\.?|approximately|um|etwa|vers|env\.?|environ|hacia|verso|"
    r"omstreeks|около|[~≈]) ?(?P<before>\w.*)|(?P<after>.+\w) ?(?:ca\.?|circa|approx\.?)"
)
_PERHAPS: Final = re.compile(r"[\[(]?(.*\w)[\])]? ?[\[(]?\?[\])]?")
_BRACKETS: Final = re.compile(r"[\[(](.*\w)[\])]")
_DECADE: Final = re.compile(r"(?:the )?([0-9]{3})(?:0 ?'?s|0er(?: jahre)?|[?x_])")
_CENTURY: Final = re.compile(r"([0-9]{2})(?:\?\?|xx|__)")
_PLAIN: Final = re.compile(r"[0-9]{4}(?:-[0-9]{2}(?:-[0-9]{2})?)?")
_YEAR: Final = re.compile(r"([0-9]{4})(?:\.0*)?")
_COMPACT: Final = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})")
_YEAR_FIRST: Final = re.compile(
    r"([0-9]{4}) ?[-—./ ] ?([0-9]{1,2})(?: ?[-—./ ] ?([0-9]{1,2}))?(?:[t ][0-9]{1,2}:[0-9:.]+z?)?"
)
_YEAR_LAST: Final = re.compile(r"(?:([0-9]{1,2}) ?[-./ ] ?)?([0-9]{1,2}) ?([-./ ]) ?([0-9]{4})")
_DAY_MONTH: Final = re.compile(
    r"(?:([0-9]{1,2})(?:st|nd|rd|th|er)?[-./ ]* ?(?:of |de )?)?"
    r"([^\W\d_]+)[-./, ]*(?:del? )?([0-9]{4})"
)
_MONTH_DAY: Final = re.compile(r"([^\W\d_]+)\.? ?([0-9]{1,2})(?:st|nd|rd|th)?,? ([0-9]{4})")
_YEARS: Final = re.compile(r"([0-9]{4})[-—]([0-9]{4})")
_SHORT_YEARS: Final = re.compile(r"([0-9]{2})([0-9]{2}) ?[-—/] ?([0-9]{2})")
_RANGE: Final = re.compile(
    r"(?:between |from |zwischen |von |entre |de |tra )?(\w.*?)"
    r"(?: ?[—] ?| - | to | till | until | bis | und | and | et | y | au | tot )(\w.*)"
)


class Order(enum.Enum):
    """Which of two numbers before a year is the day."""

    DAY_FIRST = "day first"
    MONTH_FIRST = "month first"


def list_readings(
    text: str, *, order: Order | None = None, dotted: Order | None = Order.DAY_FIRST
) -> tuple[str, ...]:
    """Return what a text may mean, as EDTF dates; `UNDATED` if it says that nothing is known.

    The readings have the form of dates, but may lie outside the calendar.

    Args:
        text: A text that is no EDTF date, of at most a few hundred characters.
        order: What is known of the order of day and month.
        dotted: What is known of it between dots, where the day comes first nearly everywhere.
    """
    folded = _fold(text)
    if _UNDATED.fullmatch(folded):
        return (UNDATED,)
    reader = _Reader(order=order, dotted=dotted)
    found = itertools.chain(
        reader.read_date(folded), reader.read_range(folded), reader.read_doubtful(folded)
    )
    return tuple(dict.fromkeys(found))


@dataclass(frozen=True, kw_only=True)
class _Reader:
    order: Order | None
    dotted: Order | None

    def read_date(self, text: str) -> Iterator[str]:
        """Yield the readings of a single date, or of a decade."""
        if match := _PLAIN.fullmatch(text):
            yield text
        if match := _YEAR.fullmatch(text):
            yield match[1]
        if match := _DECADE.fullmatch(text):
            # The 1900s are ten years, or a hundred.
            yield f"{match[1]}X"
            if match[1].endswith("0"):
                yield f"{match[1][:2]}XX"
        if match := _CENTURY.fullmatch(text):
            yield f"{match[1]}XX"
        yield from self.read_day(text)

    def read_day(self, text: str) -> Iterator[str]:
        """Yield the readings of a day or of a month."""
        if match := _COMPACT.fullmatch(text) or _YEAR_FIRST.fullmatch(text):
            yield _write(*match.groups())
        if match := _YEAR_LAST.fullmatch(text):
            first, second, separator, year = match.groups()
            order = self.dotted if separator == "." else self.order
            if not first or order is not Order.MONTH_FIRST:
                yield _write(year, second, first)
            if first and order is not Order.DAY_FIRST:
                yield _write(year, first, second)
        if match := _DAY_MONTH.fullmatch(text):
            yield from self.read_named(year=match[3], month=match[2], day=match[1])
        if match := _MONTH_DAY.fullmatch(text):
            yield from self.read_named(year=match[3], month=match[1], day=match[2])

    def read_named(self, *, year: str, month: str, day: str | None) -> Iterator[str]:
        """Yield the reading of a day whose month is a word."""
        number = _find_month(month)
        if number:
            yield _write(year, str(number), day)

    def read_range(self, text: str) -> Iterator[str]:
        """Yield the readings of the time between two dates."""
        if match := _YEARS.fullmatch(text):
            yield f"{match[1]}/{match[2]}"
        if (match := _SHORT_YEARS.fullmatch(text)) and match[3] > match[2]:
            yield f"{match[1]}{match[2]}/{match[1]}{match[3]}"
        if match := _RANGE.fullmatch(text):
            for pair in itertools.product(self.read_date(match[1]), self.read_date(match[2])):
                yield "/".join(pair)

    def read_doubtful(self, text: str) -> Iterator[str]:
        """Yield the readings of dates that are approximate, uncertain or in brackets."""
        for pattern, mark in ((_ABOUT, "~"), (_PERHAPS, "?"), (_BRACKETS, "")):
            match = pattern.fullmatch(text)
            inner = next(filter(None, match.groups()), "") if match else ""
            nested = self.read_doubtful(inner) if inner and pattern is _BRACKETS else ()
            for reading in itertools.chain(self.read_date(inner), self.read_range(inner), nested):
                yield "/".join(f"{date}{mark}" for date in reading.split("/"))


def _write(year: str, month: str, day: str | None = None) -> str:
    return "-".join([year, f"{int(month):02}", *([f"{int(day):02}"] if day else [])])


def _find_month(word: str) -> int | None:
    """Return the month that a name or an abbreviation means, 1 to 12; None if it is not clear."""
    if word in _ROMAN:
        return _ROMAN.index(word) + 1
    if len(word) < _LEAST_LETTERS:
        return None
    found = {
        number
        for number, names in enumerate(_MONTH_NAMES, start=1)
        if any(name.startswith(word) for name in _fold(names).split())
    }
    return found.pop() if len(found) == 1 else None


def _fold(text: str) -> str:
    """Return a text in lower case and without accents, with one kind of dash and of space."""
    letters = unicodedata.normalize("NFKD", text.casefold().translate(_ALIKE))
    plain = " ".join("".join(x for x in letters if not unicodedata.combining(x)).split())
    return _RUSSIAN_YEAR.sub("", plain)
