"""Draw pages: cover heads over a picture, credit lines and running heads, pages of text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from halftone.evaluation.furniture import vignettes, words
from halftone.evaluation.furniture.canvas import Box, Canvas, Field, Sheet, Window
from halftone.evaluation.furniture.frames import rosette

if TYPE_CHECKING:
    from collections.abc import Callable

    Head = Callable[[Canvas, Box, np.random.Generator], None]

WIDTH: Final = 660
HEADED: Final = (0.78, 0.65, 0.53, 0.42, 0.32)
"""The picture's share of a cover, by strength."""
CREDITED: Final = (0.9, 0.83, 0.76, 0.68, 0.58)
"""The picture's share of a sheet with a credit line, by strength."""
SET: Final = (0.86, 0.77, 0.68, 0.58, 0.48)
"""The share of a page of text that is not its head, by strength."""
_STEEPEST: Final = 1.6
_FLATTEST: Final = 1.15
_NARROW: Final = 0.8  # of a cover's width: a narrower picture has a column beside it


def draw_cover(
    *, aspect: float, strength: int, design: int, generator: np.random.Generator
) -> Sheet:
    """Draw a cover: its head, what stands beside and below its picture.

    Args:
        aspect: About the picture's width over its height.
        strength: From 1 to 5; the head grows with it, and adverts join it.
        design: The number of the head's design.
        generator: Source of randomness for the details.
    """
    share = HEADED[strength - 1]
    most = WIDTH - 24.0
    steep = float(np.clip(most**2 / aspect / share / WIDTH**2, _FLATTEST, _STEEPEST))
    height = round(WIDTH * steep)
    area = share * WIDTH * height
    wide = min(most, np.sqrt(area * aspect))
    high = area / wide
    canvas = Canvas(WIDTH, height)
    spare = height - high - 34
    head = Box(12, 10, WIDTH - 12, 10 + max(spare * (1.0 if strength < 4 else 0.66), 40))  # noqa: PLR2004
    _HEADS[design % len(_HEADS)](canvas, head, generator)
    top = head.bottom + 20
    dated = Field(box=Box(16, head.bottom + 3, WIDTH - 16, head.bottom + 17), face="roman")
    canvas.line([(12, head.bottom + 18.5), (WIDTH - 12, head.bottom + 18.5)], width=1.2)
    beside = wide < _NARROW * WIDTH
    left = 12.0 if beside else (WIDTH - wide) / 2
    window = Box(left, top, left + wide, top + high)
    if beside:
        column = Box(window.right + 8, top, WIDTH - 12, window.bottom)
        count = max(1, round(column.height / 210))
        for number in range(count):
            step = column.height / count
            part = Box(
                column.left, top + number * step, column.right, top + (number + 1) * step - 4
            )
            vignettes.advert(canvas, part, generator=generator)
    foot = Box(12, window.bottom + 6, WIDTH - 12, height - 8)
    fields = [dated]
    if foot.height > 46:  # noqa: PLR2004 - room for adverts
        count = int(generator.integers(2, 5))
        for number in range(count):
            step = foot.width / count
            at = foot.left + number * step
            vignettes.advert(
                canvas, Box(at, foot.top + 14, at + step - 5, foot.bottom), generator=generator
            )
        fields.append(Field(box=Box(20, foot.top - 4, WIDTH - 20, foot.top + 11), face="italic"))
    return Sheet(pixels=canvas.finish(), windows=(Window(box=window),), fields=tuple(fields))


def draw_credited(
    *, aspect: float, strength: int, design: int, generator: np.random.Generator
) -> Sheet:
    """Draw a credit line below a picture, then a running head, a standing notice and a colophon.

    The arguments are those of `draw_cover`.
    """
    share = CREDITED[strength - 1]
    wide = WIDTH - 24.0
    area = wide * wide / aspect
    height = round(area / share / WIDTH)
    canvas = Canvas(WIDTH, height)
    spare = height - wide / aspect
    size = float(np.clip(0.3 * spare, 13, 24))
    face = ("italic", "roman", "slab-italic", "sans")[design % 4]
    who, where = words.firm(generator), words.place(generator)
    credit = (
        f"Photograph by {who}, {where} and New York.",
        f"Copyright, {int(generator.integers(1890, 1935))}, by {who}, {where}",
        f"Phot. {who}, Hofphotographen, {where}. Nachdruck verboten.",
        f"{who}/{where} Press Agency — not to be reproduced without permission",
    )[design % 4]
    above = 10.0
    if strength >= 2:  # noqa: PLR2004
        article, name = words.paper(generator)
        head = Box(12, 8, WIDTH - 12, 8 + min(0.34 * spare, 40))
        title = f"{int(generator.integers(2, 400))}    {article} {name}".upper()
        canvas.write_in(title, box=head.shrink(0, 0.2 * head.height), face=face, align="l")
        canvas.line([(12, head.bottom), (WIDTH - 12, head.bottom)], width=1.8)
        if design % 2:
            canvas.line([(12, head.bottom + 4), (WIDTH - 12, head.bottom + 4)], width=0.8)
        above = head.bottom + 9
    window = Box(12, above, WIDTH - 12, above + wide / aspect)
    line = Box(14, window.bottom + 4, WIDTH - 14, window.bottom + 4 + size)
    canvas.write_in(credit, box=line, face=face, align="l" if design % 2 else "m")
    below = Box(12, line.bottom + 5, WIDTH - 12, height - 6)
    if strength >= 3 and below.height > 16:  # noqa: PLR2004
        _colophon(canvas, below, strength=strength, generator=generator)
    return Sheet(pixels=canvas.finish(), windows=(Window(box=window),))


def draw_text_page(
    *, aspect: float, strength: int, design: int, generator: np.random.Generator
) -> Sheet:
    """Draw the head of a newspaper or of a chapter; the columns below are its windows.

    The arguments are those of `draw_cover`; `aspect` does not matter to a page.
    """
    del aspect
    height = round(1.42 * WIDTH)
    canvas = Canvas(WIDTH, height)
    head = Box(16, 12, WIDTH - 16, (1 - SET[strength - 1]) * height)
    columns = (4, 3, 5, 1, 2)[design % 5]
    if columns == 1:
        _chapter(canvas, head, generator)
    else:
        _HEADS[design % len(_HEADS)](canvas, head, generator)
    canvas.line([(16, head.bottom + 4), (WIDTH - 16, head.bottom + 4)], width=2)
    canvas.line([(16, head.bottom + 8), (WIDTH - 16, head.bottom + 8)], width=0.8)
    margin = 70.0 if columns == 1 else 18.0
    step = (WIDTH - 2 * margin + 12) / columns
    windows = []
    for number in range(columns):
        left = margin + number * step
        windows.append(Window(box=Box(left, head.bottom + 16, left + step - 12, height - 18)))
        if number:
            canvas.line([(left - 6, head.bottom + 14), (left - 6, height - 18)], width=0.8)
    return Sheet(pixels=canvas.finish(), windows=tuple(windows))


def set_columns(sheet: Sheet, *, design: int, strength: int, variant: int, seed: int) -> Canvas:
    """Set the columns of a page of text.

    Args:
        sheet: The page with its head.
        design: The number of its design, as in `draw_text_page`; Fraktur is set in every fourth.
        strength: Does not matter.
        variant: 0 or 1: two texts that have nothing to do with each other.
        seed: Determines both.
    """
    del strength
    generator = np.random.default_rng([seed, variant])
    canvas = Canvas.over(sheet.pixels)
    line = 17.0 if len(sheet.windows) == 1 else 13.0
    for window in sheet.windows:
        face = "fraktur" if design % 4 == 2 else "roman"  # noqa: PLR2004
        words.set_text(canvas, box=window.box, line=line, generator=generator, face=face)
    return canvas


def _colophon(canvas: Canvas, box: Box, *, strength: int, generator: np.random.Generator) -> None:
    """Set the notice that stands on every page, at strength 5 with an emblem and two adverts."""
    canvas.line([(box.left, box.top), (box.right, box.top)], width=1.0)
    inside = box.shrink(2, 4)
    if strength >= 5 and inside.height > 60:  # noqa: PLR2004
        side = min(inside.height, 0.24 * inside.width)
        vignettes.draw(
            canvas, Box(inside.left, inside.top, inside.left + side, inside.top + side),
            design=int(generator.integers(6)), generator=generator,
        )  # fmt: skip
        ads = Box(inside.right - 1.4 * side, inside.top, inside.right, inside.bottom)
        vignettes.advert(canvas, ads, generator=generator)
        inside = Box(inside.left + side + 8, inside.top, ads.left - 8, inside.bottom)
    words.set_text(
        canvas, box=inside, line=float(np.clip(inside.height / 3, 11, 16)), generator=generator
    )


def _title(generator: np.random.Generator) -> tuple[str, str, str]:
    """Return the name of a newspaper, what is below it, and a line at its foot."""
    article, name = words.paper(generator)
    below = "An Illustrated Journal of News, Letters and the Arts"
    if article in ("Die", "Das"):
        below = "Wochenblatt für Kunst, Leben und Zeitgeschehen"
    elif article in ("Le", "La"):
        below = "Journal politique, littéraire et illustré"
    line = f"Published weekly by {words.firm(generator)}, {words.place(generator)}. Price sixpence."
    return f"{article} {name}", below, line


def _plain(canvas: Canvas, box: Box, generator: np.random.Generator) -> None:
    """A title in Fraktur between two boxes, an emblem over it where there is room."""
    name, below, line = _title(generator)
    top = box.top
    if box.height > 0.28 * box.width:
        emblem = Box(box.left, top, box.right, top + 0.42 * box.height)
        side = min(emblem.height, 0.3 * box.width)
        x = emblem.middle[0]
        spot = Box(x - side / 2, top, x + side / 2, top + side)
        vignettes.draw(canvas, spot, design=int(generator.choice([1, 3, 5])), generator=generator)
        for ear in (
            Box(box.left, top, spot.left - 10, top + side),
            Box(spot.right + 10, top, box.right, top + side),
        ):
            vignettes.advert(canvas, ear, generator=generator)
        top = emblem.top + side + 4
    _title_block(
        canvas, Box(box.left, top, box.right, box.bottom), (name, below, line), face="fraktur"
    )


def _title_block(canvas: Canvas, box: Box, texts: tuple[str, str, str], *, face: str) -> None:
    high = box.height
    canvas.write_in(
        texts[0].upper() if face == "slab" else texts[0],
        box=Box(box.left, box.top, box.right, box.top + 0.62 * high),
        face=face,
    )
    small = Box(box.left, box.top + 0.62 * high, box.right, box.top + 0.8 * high)
    canvas.write_in(texts[1], box=small.shrink(0.1 * box.width, 0.02 * high), face="italic")
    canvas.line([(box.left, small.bottom), (box.right, small.bottom)], width=1.0)
    last = Box(box.left, small.bottom + 1, box.right, box.bottom - 2)
    canvas.write_in(texts[2], box=last.shrink(4, 0.1 * last.height), face="roman")
    canvas.line([(box.left, box.bottom), (box.right, box.bottom)], width=2.0)


def _reversed(canvas: Canvas, box: Box, generator: np.random.Generator) -> None:
    """White letters on a black bar, tables of text beside and below."""
    name, below, line = _title(generator)
    bar = Box(
        box.left + 0.16 * box.width,
        box.top,
        box.right - 0.16 * box.width,
        box.top + 0.42 * box.height,
    )
    for ear in (
        Box(box.left, box.top, bar.left - 6, bar.bottom),
        Box(bar.right + 6, box.top, box.right, bar.bottom),
    ):
        vignettes.advert(canvas, ear, generator=generator)
    canvas.rectangle(bar)
    canvas.rectangle(bar.shrink(4), width=1.0, tone=240)
    canvas.write_in(name.upper(), box=bar.shrink(12, 6), face="slab", tone=246)
    small = Box(box.left, bar.bottom, box.right, bar.bottom + 0.16 * box.height)
    canvas.write_in(
        below.upper(), box=small.shrink(0.05 * box.width, 0.03 * box.height), face="bold"
    )
    canvas.line([(box.left, small.bottom), (box.right, small.bottom)], width=1.4)
    rest = Box(box.left, small.bottom + 2, box.right, box.bottom - 14)
    columns = 4
    for number in range(columns):
        step = rest.width / columns
        part = Box(
            rest.left + number * step + 4,
            rest.top + 2,
            rest.left + (number + 1) * step - 4,
            rest.bottom,
        )
        if part.height > 12:  # noqa: PLR2004
            words.set_text(canvas, box=part, line=11, generator=generator)
        if number:
            canvas.line([(part.left - 4, rest.top), (part.left - 4, rest.bottom)], width=0.8)
    canvas.write_in(
        line, box=Box(box.left, box.bottom - 13, box.right, box.bottom - 1), face="italic"
    )
    canvas.line([(box.left, box.bottom), (box.right, box.bottom)], width=1.4)


def _engraved(canvas: Canvas, box: Box, generator: np.random.Generator) -> None:
    """A wide engraved view with the title in a scroll over it."""
    name, below, line = _title(generator)
    view = Box(box.left, box.top, box.right, box.top + 0.74 * box.height)
    vignettes.draw(canvas, view, design=int(generator.choice([0, 2, 4])), generator=generator)
    scroll = Box(
        view.left + 0.12 * view.width, view.top + 0.3 * view.height,
        view.right - 0.12 * view.width, view.top + 0.76 * view.height,
    )  # fmt: skip
    sag = 0.12 * scroll.height
    along = np.linspace(0, 1, 40)
    wave = sag * np.sin(2 * np.pi * along)
    x = scroll.left + along * scroll.width
    ribbon = np.concatenate(
        [np.column_stack([x, scroll.top + wave]), np.column_stack([x, scroll.bottom + wave])[::-1]]
    )
    canvas.fill(ribbon, tone=246)
    canvas.line(np.concatenate([ribbon, ribbon[:1]]), width=1.8)
    canvas.write_in(
        name, box=scroll.shrink(0.05 * scroll.width, 0.24 * scroll.height), face="slab-italic"
    )
    low = Box(box.left, view.bottom + 2, box.right, box.bottom - 2)
    canvas.write_in(
        below.upper(), box=Box(low.left + 40, low.top, low.right - 40, low.middle[1]), face="bold"
    )
    canvas.write_in(
        line, box=Box(low.left, low.middle[1], low.right, low.bottom).shrink(20, 1), face="roman"
    )
    canvas.line([(box.left, box.bottom), (box.right, box.bottom)], width=1.6)


def _flanked(canvas: Canvas, box: Box, generator: np.random.Generator) -> None:
    """The title between two small pictures."""
    side = min(box.height, 0.24 * box.width)
    for number, left in enumerate((box.left, box.right - side)):
        spot = Box(left, box.middle[1] - side / 2, left + side, box.middle[1] + side / 2)
        vignettes.draw(
            canvas, spot, design=int(generator.integers(6)) + number, generator=generator
        )
        canvas.rectangle(spot, width=1.6)
    middle = Box(box.left + side + 10, box.top, box.right - side - 10, box.bottom)
    article, name = words.paper(generator)
    _, below, line = _title(generator)
    first, *rest = name.split(" ")
    high = middle.height
    canvas.write_in(
        f"{article} {first}",
        box=Box(middle.left, middle.top, middle.right, middle.top + 0.34 * high),
        face="bold",
    )
    canvas.write_in(
        " ".join(rest) or first,
        box=Box(middle.left, middle.top + 0.34 * high, middle.right, middle.top + 0.7 * high),
        face="slab",
    )
    canvas.write_in(
        below,
        box=Box(middle.left, middle.top + 0.7 * high, middle.right, middle.top + 0.84 * high),
        face="italic",
    )
    canvas.write_in(
        line,
        box=Box(middle.left, middle.top + 0.86 * high, middle.right, middle.bottom - 2),
        face="roman",
    )
    canvas.line([(box.left, box.bottom), (box.right, box.bottom)], width=1.6)


def _chapter(canvas: Canvas, box: Box, generator: np.random.Generator) -> None:
    """The head of a book's page: a running title, an ornament, the chapter's title."""
    canvas.write(
        f"THE {words.word(generator).upper()} OF {words.place(generator).upper()}",
        x=box.middle[0],
        y=box.top + 16,
        size=17,
        anchor="ms",
    )
    canvas.line([(box.left + 54, box.top + 22), (box.right - 54, box.top + 22)], width=1.0)
    band = Box(box.left + 54, box.top + 30, box.right - 54, box.top + max(70, 0.55 * box.height))
    if band.bottom < box.bottom - 10:
        vignettes.draw(canvas, band, design=int(generator.choice([0, 2, 4])), generator=generator)
    else:
        rosette(canvas, box.middle, 0.2 * box.height, petals=8)
    title = Box(box.left + 90, band.bottom + 8, box.right - 90, box.bottom - 6)
    if title.height > 16:  # noqa: PLR2004
        canvas.write_in(
            f"CHAPTER {words.word(generator).upper()}",
            box=title.shrink(0, 0.25 * title.height),
            face="roman",
        )


_HEADS: Final[tuple[Head, ...]] = (_plain, _reversed, _engraved, _flanked)
