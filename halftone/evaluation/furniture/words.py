"""Make up what stands on sheets: titles, credits, names of places, lines of text, handwriting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from halftone.evaluation.furniture.canvas import INK, measure

if TYPE_CHECKING:
    from halftone.evaluation.furniture.canvas import Box, Canvas, Field

    Generator = np.random.Generator

_ONSETS: Final = ("b", "br", "c", "ch", "d", "f", "g", "gr", "h", "k", "l", "m", "n", "p", "pr")
_MORE_ONSETS: Final = ("qu", "r", "s", "sch", "st", "t", "tr", "v", "w", "z")
_NUCLEI: Final = ("a", "e", "i", "o", "u", "ea", "ei", "ou", "au", "ie")
_CODAS: Final = ("", "", "n", "r", "s", "l", "nd", "rt", "ng", "t", "ck")
_SHORT: Final = ("the", "of", "and", "in", "a", "to", "die", "der", "und", "le", "de", "et", "on")
_ENDINGS: Final = ("ton", "burg", "ville", "stadt", "ford", "heim", "mouth", "berg", "by")
_PAPERS: Final = (
    ("The", "Weekly Mirror"),
    ("The", "Evening Graphic"),
    ("Die", "Illustrierte Chronik"),
    ("Le", "Petit Messager"),
    ("The", "Sunday Observer"),
    ("Das", "Welt-Panorama"),
    ("La", "Vie Moderne"),
    ("The", "Colonial Gazette"),
)
_FIRMS: Final = ("Harland", "Mills", "Okeden", "Brandt", "Lefort", "Sadler", "Winterton", "Nagel")
_MONTHS: Final = ("Jan.", "Feb.", "March", "April", "May", "June", "July", "Aug.", "Sept.", "Oct.")
_TRIES: Final = 30
_SIZES: Final = (0.92, 0.62)  # of a line: type with its leading, and handwriting


def word(generator: Generator) -> str:
    """Make up a word of one to three syllables; one in four is a short one that is common."""
    if generator.random() < 0.25:  # noqa: PLR2004 - one in four
        return _pick(_SHORT, generator)
    return "".join(
        _pick(_ONSETS + _MORE_ONSETS, generator)
        + _pick(_NUCLEI, generator)
        + _pick(_CODAS, generator)
        for _ in range(int(generator.integers(1, 4)))
    )


def sentence(generator: Generator, *, words: int) -> str:
    """Make up so many words with a capital at the beginning."""
    return " ".join(word(generator) for _ in range(words)).capitalize()


def place(generator: Generator) -> str:
    """Make up the name of a town."""
    stem = _pick(_ONSETS + _MORE_ONSETS, generator) + _pick(_NUCLEI, generator)
    return (stem + _pick(("n", "r", "l", "m"), generator) + _pick(_ENDINGS, generator)).capitalize()


def paper(generator: Generator) -> tuple[str, str]:
    """Make up the name of a newspaper: its article and the rest."""
    return _PAPERS[int(generator.integers(len(_PAPERS)))]


def firm(generator: Generator) -> str:
    """Make up the name of a firm of two partners."""
    first, second = generator.permutation(len(_FIRMS))[:2]
    return f"{_FIRMS[first]} & {_FIRMS[second]}"


def date(generator: Generator) -> str:
    """Make up a date."""
    day, year = int(generator.integers(1, 29)), int(generator.integers(1871, 1939))
    return f"{_pick(_MONTHS, generator)} {day}, {year}"


def set_text(
    canvas: Canvas, *, box: Box, line: float, generator: Generator, face: str = "roman"
) -> None:
    """Set justified lines of made-up words into a rectangle, in paragraphs.

    Args:
        canvas: The sheet.
        box: The column.
        line: Height of a line with its leading, in pixels.
        generator: Source of randomness.
        face: One of `canvas.FACES`.
    """
    size = line * 0.86
    gap = 0.28 * size
    baseline = box.top + size
    indent = 1.4 * size
    failed = 0
    while baseline < box.bottom:
        last = generator.random() < 0.12  # noqa: PLR2004 - a paragraph has about eight lines
        room = box.width - indent
        if last:
            room *= float(generator.uniform(0.3, 0.9))
        words: list[str] = []
        widths: list[float] = []
        while True:
            following = word(generator)
            wide = measure(following, size=size, face=face)
            if sum(widths) + wide + gap * len(widths) > room:
                break
            words.append(following)
            widths.append(wide)
        if not words:
            # The next word may be a shorter one, unless the column is too narrow for any.
            failed += 1
            if failed > _TRIES:
                return
            continue
        spare = room - sum(widths) if not last else gap * (len(words) - 1)
        x = box.left + indent
        for following, wide in zip(words, widths, strict=True):
            canvas.write(following, x=x, y=baseline, size=size, face=face)
            x += wide + min(spare / max(len(words) - 1, 1), 3 * gap)
        indent = 1.4 * size if last else 0
        baseline += line


def fill_field(canvas: Canvas, field: Field, *, generator: Generator) -> None:
    """Write made-up words into a field of a sheet."""
    step = field.box.height / field.lines
    for number in range(field.lines):
        top = field.box.top + number * step
        share = float(generator.uniform(0.55, 0.95)) if number == field.lines - 1 else 0.97
        if field.face == "hand":
            _scribble(
                canvas,
                left=field.box.left,
                right=field.box.left + share * field.box.width,
                baseline=top + 0.72 * step,
                height=_SIZES[1] * step,
                generator=generator,
                tone=field.tone,
            )
            continue
        size = _SIZES[0] * step * 0.8
        text = sentence(generator, words=1)
        while measure(text, size=size, face=field.face) < share * field.box.width:
            text += " " + word(generator)
        while " " in text and measure(text, size=size, face=field.face) > field.box.width:
            text = text.rsplit(" ", 1)[0]
        canvas.write(
            text,
            x=field.box.left,
            y=top + 0.75 * step,
            size=size,
            face=field.face,
            tone=field.tone,
        )


def _scribble(
    canvas: Canvas,
    *,
    left: float,
    right: float,
    baseline: float,
    height: float,
    generator: Generator,
    tone: int = INK,
) -> None:
    """Write words by hand: joined strokes that lean to the right, some above and below the line."""
    x = left + 0.3 * height
    while x < right - 2 * height:
        letters = int(generator.integers(3, 9))
        points, widths = [], []
        for _ in range(letters):
            high = 1.0 if generator.random() < 0.25 else 0.48  # noqa: PLR2004 - ascenders
            low = 0.45 if generator.random() < 0.12 else 0.0  # noqa: PLR2004 - descenders
            wide = float(generator.uniform(0.26, 0.44)) * height
            share = np.linspace(0, 1, 9)
            up = high * np.sin(share * np.pi)
            up -= low * np.exp(-(((share - 0.85) / 0.12) ** 2))
            points.append(
                np.column_stack(
                    [x + share * wide + 0.28 * up * height, baseline - up * height * 0.9]
                )
            )
            # A nib writes thin upstrokes and thick downstrokes.
            widths.append(np.where(np.gradient(up) < 0, 0.085, 0.045) * height)
            x += wide
        canvas.swell(np.concatenate(points), widths=np.concatenate(widths), tone=tone)
        x += float(generator.uniform(0.35, 0.6)) * height


def _pick(choices: tuple[str, ...], generator: Generator) -> str:
    return choices[int(generator.integers(len(choices)))]
