"""The languages of the page: catalogues of its sentences, numbers and dates.

Sentences are written in English in the templates and the code, and translated in
`locales/*/page.po`. The catalogues are read when the page starts, so nothing has to be compiled.
"""

from __future__ import annotations

import datetime as dt
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Final

from babel import Locale, dates, negotiate_locale, numbers
from babel.core import get_global
from babel.messages import pofile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from babel.messages.catalog import Catalog

LOCALES: Final = Path(__file__).parents[1] / "locales"
ENGLISH: Final = "en"
_MOST_ACCEPTED: Final = 16


class Language:
    """One language: translates sentences, and writes numbers and dates.

    Args:
        code: A language tag such as `de`.
        catalog: The translations; None for English, in which everything is written.
    """

    def __init__(self, code: str, catalog: Catalog | None = None) -> None:
        self.code = code
        self.locale = Locale.parse(code)
        self._messages: dict[str, tuple[str, ...]] = {}
        self._plural: Callable[[int], int] = lambda count: int(count != 1)
        if catalog is not None:
            for message in catalog:
                if message.id and message.string and not message.fuzzy:
                    key = message.id if isinstance(message.id, str) else message.id[0]
                    said = message.string
                    self._messages[key] = (said,) if isinstance(said, str) else tuple(said)
            self._plural = _make_plural(self.locale, catalog)

    @property
    def name(self) -> str:
        """Return the language's own name."""
        return str(self.locale.get_display_name()).capitalize()

    def gettext(self, text: str, **values: object) -> str:
        """Return a sentence in this language, with its `%(name)s` filled in."""
        said = self._messages.get(text, (text,))[0] or text
        return said % values if values else said

    def ngettext(self, one: str, many: str, count: int, **values: object) -> str:
        """Return the form of a sentence that belongs to a count, which is `%(n)s` in it."""
        forms = self._messages.get(one)
        if forms and all(forms):
            said = forms[min(self._plural(count), len(forms) - 1)]
        else:
            said = one if count == 1 else many
        return said % {"n": self.number(count), **values}

    def number(self, value: float) -> str:
        """Return a number with the separators of this language."""
        return str(numbers.format_decimal(value, locale=self.locale))

    @property
    def colon(self) -> str:
        """Return a colon as it follows a word: French sets a space before it."""
        return "\u00a0:" if self.code == "fr" else ":"

    @property
    def decimal_sign(self) -> str:
        """Return what stands between the whole part of a number and its decimals."""
        return str(numbers.get_decimal_symbol(self.locale))

    def percent(self, share: float) -> str:
        """Return a share, 0 to 1, in per cent."""
        return str(numbers.format_percent(share, locale=self.locale))

    def day(self, day: dt.date) -> str:
        """Return a day in full, for example `22 August 1914`."""
        form = {"en": "d MMMM y", "de": "d. MMMM y", "fr": "d MMMM y"}.get(self.code, "long")
        return str(dates.format_date(day, form, locale=self.locale))

    def month(self, year: int, month: int) -> str:
        """Return a month and its year, for example `August 1914`."""
        return str(dates.format_date(dt.date(year, month, 1), "LLLL y", locale=self.locale))

    def moment(self, moment: dt.datetime | None) -> str:
        """Return a moment to the minute, in UTC; "" for None."""
        if moment is None:
            return ""
        return str(
            dates.format_datetime(moment, "d MMM y, HH:mm 'UTC'", locale=self.locale, tzinfo=dt.UTC)
        )


_KNOWN: Final = frozenset(Locale(ENGLISH).languages)
_ALIASES: Final[Mapping[str, str]] = get_global("language_aliases")


def tag_language(text: str) -> str:
    """Return a record's language as a tag for HTML; "" if it is none, which stands for unknown.

    Catalogues of libraries write `ger` or `deu-Latf`, for which browsers want `de`.
    """
    code = text.strip().replace("_", "-").partition("-")[0].lower()
    code = _ALIASES.get(code, code).partition("_")[0]
    return code if code in _KNOWN else ""


def _make_plural(locale: Locale, catalog: Catalog) -> Callable[[int], int]:
    """Return the function from a count to the index of a plural form in a catalogue."""
    tags = ("zero", "one", "two", "few", "many", "other")
    known = [tag for tag in tags if tag in {*locale.plural_form.tags, "other"}]

    def find_form(count: int) -> int:
        index = known.index(locale.plural_form(count))
        return min(index, catalog.num_plurals - 1)

    return find_form


class Languages:
    """All languages of the page; construct it with `read_languages`."""

    def __init__(self, by_code: Mapping[str, Language]) -> None:
        self._by_code = dict(by_code)

    def __iter__(self) -> Iterator[Language]:
        return iter(self._by_code.values())

    def choose(self, *, asked: str, accepted: str) -> Language:
        """Return the language to answer in.

        Args:
            asked: The code that the reader chose; may be empty or unknown.
            accepted: The browser's `Accept-Language` header.
        """
        if asked in self._by_code:
            return self._by_code[asked]
        wanted = [tag.replace("-", "_") for tag in _read_accepted(accepted)]
        code = negotiate_locale(wanted, list(self._by_code)) or ENGLISH
        return self._by_code[code]


def _read_accepted(header: str) -> list[str]:
    """Return the tags of an `Accept-Language` header, the most wanted first."""
    ranked = []
    for position, part in enumerate(header.split(",")[:_MOST_ACCEPTED]):
        tag, _, parameter = part.strip().partition(";")
        try:
            weight = float(parameter.strip().removeprefix("q=") or 1)
        except ValueError:
            continue
        if tag.strip() and tag.strip() != "*" and weight > 0:
            ranked.append((-weight, position, tag.strip()))
    return [tag for *_, tag in sorted(ranked)]


@functools.cache
def read_languages(directory: Path = LOCALES) -> Languages:
    """Return English and the languages that have a catalogue in a directory; read once."""
    found = {ENGLISH: Language(ENGLISH)}
    for path in sorted(directory.glob("*/page.po")):
        with path.open("rb") as file:
            code = path.parent.name
            found[code] = Language(code, pofile.read_po(file, locale=code))
    return Languages(found)
