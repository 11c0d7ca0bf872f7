"""Sets the captions of one picture side by side, and says word by word how they differ."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from halftone.rendering import texts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_LONGEST: Final = 800
_WORD: Final = re.compile(r"\S+")


class Kind(StrEnum):
    """How a word of a caption stands to the caption that it is compared with."""

    SAME = "same"
    OTHER = "other"
    MISSING = "missing"


class Word(NamedTuple):
    """A word of a caption, or one that only the other caption has."""

    text: str
    kind: Kind


@dataclass(frozen=True, kw_only=True)
class Caption:
    """A caption and how it differs from an earlier one.

    Attributes:
        number: The printing's number.
        words: Its words, and between them those that it lacks.
        beside: The number of the printing whose caption it was compared with; None for the first
            of a language, and where the two have no word in common.
    """

    number: int
    words: tuple[Word, ...]
    beside: int | None


def compare_captions(captions: Iterable[tuple[int, str, str]]) -> list[Caption]:
    """Compare each caption with the first one in its language.

    In two languages every word differs, which says nothing.

    Args:
        captions: Number, caption and language of each printing, in chronological order. Captions
            may be empty, and are left out then. A language may be unknown.

    Returns:
        The captions in the same order.
    """
    compared = []
    firsts: dict[str, tuple[int, str]] = {}
    for number, caption, language in captions:
        if not texts.flatten(caption):
            continue
        tongue = language.partition("-")[0].casefold()
        first = firsts.get(tongue) or firsts.get("")
        if first is None and not tongue:
            first = next(iter(firsts.values()), None)
        words = compare_words(caption, beside=first[1]) if first else None
        compared.append(
            Caption(
                number=number,
                words=words or tuple(Word(word, Kind.SAME) for word in _split(caption)),
                beside=first[0] if first and words else None,
            )
        )
        firsts.setdefault(tongue, (number, caption))
    return compared


def compare_words(caption: str, *, beside: str) -> tuple[Word, ...]:
    """Return the words of a caption, and those that it lacks of another caption at their places.

    Returns nothing if the two have no word in common.
    """
    words, others = _split(caption), _split(beside)
    matcher = difflib.SequenceMatcher(None, _fold(others), _fold(words), autojunk=False)
    found: list[Word] = []
    for _, other_from, other_to, start, end in matcher.get_opcodes():
        is_same = other_to - other_from == end - start and _fold(words[start:end]) == _fold(
            others[other_from:other_to]
        )
        if not is_same:
            found += [Word(word, Kind.MISSING) for word in others[other_from:other_to]]
        kind = Kind.SAME if is_same else Kind.OTHER
        found += [Word(word, kind) for word in words[start:end]]
    return tuple(found) if any(word.kind is Kind.SAME for word in found) else ()


def _split(caption: str) -> list[str]:
    return _WORD.findall(texts.flatten(caption)[:_LONGEST])


def _fold(words: Sequence[str]) -> list[str]:
    return [word.strip(".,;:!?\"'()[]").casefold() or word for word in words]
