"""Draw printed forms with a photograph, and browser windows that show a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from halftone.evaluation.furniture import vignettes, words
from halftone.evaluation.furniture.canvas import Box, Canvas, Field, Sheet, Window, ring

if TYPE_CHECKING:
    from collections.abc import Sequence

FORMED: Final = (0.62, 0.5, 0.39, 0.29, 0.2)
"""The picture's share of a form, by strength."""
BROWSED: Final = (0.76, 0.63, 0.5, 0.39, 0.29)
"""The picture's share of a screen, by strength."""
_FORM: Final = (700, 860)
_SCREEN: Final = (1000, 720)
_QUESTIONS: Final = (
    "Name", "Date", "Place", "Subject", "Photographer", "Agency", "Negative No.", "Received",
    "Used in", "Remarks", "Signature", "Shelf", "Copyright", "Width", "Height", "Price",
    "Returned", "Occupation",
)  # fmt: skip


def draw_form(
    *, aspect: float, strength: int, design: int, generator: np.random.Generator
) -> Sheet:
    """Draw a card or a sheet with questions, their answers by hand, and a mounted photograph.

    Args:
        aspect: About the picture's width over its height.
        strength: From 1 to 5; the form grows with it.
        design: The number of the design.
        generator: Source of randomness for the details.
    """
    upright = aspect < 1.1  # noqa: PLR2004 - about square
    width, height = _FORM if upright else (_FORM[1], _FORM[0])
    canvas = Canvas(width, height, tone=238 if design % 2 else 224)
    area = FORMED[strength - 1] * width * height
    beside = upright and strength >= 3  # noqa: PLR2004 - answers stand beside a small photograph
    wide = min(width - 44.0, np.sqrt(area * aspect))
    high = min(height - 150.0, area / wide)
    head = Box(18, 14, width - 18, 14 + (0.4 * (height - high - 90) if not beside else 110))
    _heading(canvas, head, design=design, generator=generator)
    top = head.bottom + 14
    window = Box(22, top, 22 + wide, top + high)
    if design % 3 == 1:
        window = Box(width - 22 - wide, top, width - 22, top + high)
    corner = 16
    for x, y, right, down in (
        (window.left, window.top, 1, 1), (window.right, window.top, -1, 1),
        (window.left, window.bottom, 1, -1), (window.right, window.bottom, -1, -1),
    ):  # fmt: skip
        canvas.line(
            [
                (x - 4 * right, y + corner * down),
                (x - 4 * right, y - 4 * down),
                (x + corner * right, y - 4 * down),
            ],
            width=1.6,
        )
    fields: list[Field] = []
    left, far = 22.0, width - 22.0
    gap = (
        Box(window.right + 14, top, far, window.bottom)
        if window.left < width / 3
        else Box(left, top, window.left - 14, window.bottom)
    )
    order = [_QUESTIONS[number] for number in generator.permutation(len(_QUESTIONS))]
    if gap.width > 130:  # noqa: PLR2004
        rows = max(2, int(gap.height / 46))
        fields += _rows(canvas, gap, questions=order[:rows], columns=1)
        order = order[rows:] + order[:rows]
    low = Box(left, window.bottom + 14, far, height - 16)
    rows = int(low.height / 44)
    if rows >= 1:
        columns = 3 if design % 2 else 2
        asked = (order * 4)[: rows * columns]
        fields += _rows(canvas, low, questions=asked, columns=columns)
    canvas.rectangle(Box(9, 9, width - 9, height - 9), width=1.4)
    if design % 2:
        canvas.circle((width / 2, 3), 9, tone=60)
    return Sheet(pixels=canvas.finish(), windows=(Window(box=window),), fields=tuple(fields))


def _heading(canvas: Canvas, box: Box, *, design: int, generator: np.random.Generator) -> None:
    title = (
        f"{words.firm(generator).upper()} PRESS ARCHIVE",
        f"KÖNIGLICHES BILDARCHIV {words.place(generator).upper()}",
        f"MAIRIE DE {words.place(generator).upper()} — SERVICE PHOTOGRAPHIQUE",
        f"DEPARTMENT OF THE INTERIOR · {words.place(generator).upper()} OFFICE",
    )[design % 4]
    side = min(box.height, 110)
    if side > 44:  # noqa: PLR2004 - room for the arms
        vignettes.draw(
            canvas,
            Box(box.left, box.top, box.left + side, box.top + side),
            design=3,
            generator=generator,
        )
        box = Box(box.left + side + 12, box.top, box.right, box.bottom)
    high = box.height
    canvas.write_in(
        title,
        box=Box(box.left, box.top, box.right, box.top + min(0.5 * high, 40)),
        face="slab",
        align="l",
    )
    small = Box(box.left, box.top + min(0.55 * high, 46), box.right, box.top + min(0.85 * high, 70))
    canvas.write_in(
        f"Form {int(generator.integers(10, 99))} B — to be filled in with ink and returned",
        box=small,
        face="italic",
        align="l",
    )
    rest = Box(box.left, small.bottom + 6, box.right, box.bottom)
    if rest.height > 26:  # noqa: PLR2004
        words.set_text(canvas, box=rest, line=13, generator=generator)
    canvas.line([(box.left, box.bottom + 5), (box.right, box.bottom + 5)], width=1.4)


def _rows(canvas: Canvas, box: Box, *, questions: Sequence[str], columns: int) -> list[Field]:
    """Rule boxes with a question each; return the places of the answers."""
    rows = -(-len(questions) // columns)
    high, wide = box.height / max(rows, 1), box.width / columns
    fields = []
    for number, question in enumerate(questions):
        x, y = box.left + (number % columns) * wide, box.top + (number // columns) * high
        cell = Box(x, y, x + wide, y + high)
        canvas.rectangle(cell, width=1.0)
        canvas.write(f"{number + 1}. {question}", x=x + 5, y=y + 13, size=12, face="roman")
        canvas.line(
            [(x + 8, cell.bottom - 0.18 * high), (cell.right - 8, cell.bottom - 0.18 * high)],
            width=0.7,
            tone=110,
        )
        fields.append(
            Field(
                box=Box(x + 8, y + 14, cell.right - 8, cell.bottom - 0.06 * high),
                face="hand",
                tone=60,
            )
        )
    return fields


def draw_browser(
    *, aspect: float, strength: int, design: int, generator: np.random.Generator
) -> Sheet:
    """Draw a screen with a browser whose page shows a picture.

    The arguments are those of `draw_form`.
    """
    width, height = _SCREEN
    if aspect < 0.9:  # noqa: PLR2004 - a high picture is seen in a high window
        width, height = 760, 860
    dark = design % 3 == 1
    back, ink, soft = (44, 225, 84) if dark else (250, 50, 222)
    canvas = Canvas(width, height, tone=back)
    top = _bars(canvas, design=design, dark=dark, rows=2 + (strength > 2), generator=generator)  # noqa: PLR2004
    foot = 0.0
    if strength >= 4:  # noqa: PLR2004 - the desktop's bar
        foot = 34.0
        _task_bar(canvas, Box(0, height - foot, width, height), dark=dark)
    page = Box(0, top, width - 13, height - foot)
    canvas.rectangle(Box(page.right, top, width, page.bottom), tone=soft)
    canvas.rectangle(
        Box(page.right + 2, top + 30, width - 2, top + 30 + 0.3 * page.height), tone=150
    )
    area = BROWSED[strength - 1] * width * height
    wide = min(page.width - 16, np.sqrt(area * aspect))
    high = min(page.height - 14, area / wide)
    spare = page.height - high - 12
    head = min(spare, 60.0)
    if head > 22:  # noqa: PLR2004
        _site_head(
            canvas, Box(0, top, page.right, top + head), design=design, ink=ink, generator=generator
        )
    else:
        head = 6.0
    left = 10.0
    aside = page.width - wide - 30
    fields = []
    if aside > 60:  # noqa: PLR2004 - a menu at one side
        menu = Box(12, top + head + 8, 12 + aside, page.bottom - 8)
        if design % 2:
            menu = Box(page.right - aside - 8, menu.top, page.right - 8, menu.bottom)
        else:
            left = menu.right + 12
        _menu(canvas, menu, ink=ink, soft=soft, generator=generator)
    window = Box(left, top + head + 6, left + wide, top + head + 6 + high)
    lines = int((page.bottom - window.bottom - 10) // 20)
    if lines >= 1:
        below = Box(left, window.bottom + 6, left + wide, window.bottom + 6 + 20 * lines)
        fields.append(Field(box=below, face="sans", lines=lines, tone=ink))
    return Sheet(pixels=canvas.finish(), windows=(Window(box=window),), fields=tuple(fields))


def _bars(
    canvas: Canvas, *, design: int, dark: bool, rows: int, generator: np.random.Generator
) -> float:
    """Draw tabs, the address with its buttons and, in a third row, bookmarks; return their end."""
    wide = canvas.width
    frame, ink, light = (28, 225, 62) if dark else (205, 60, 246)
    canvas.rectangle(Box(0, 0, wide, 34), tone=frame)
    for number, side in enumerate(
        (18, 40, 62) if design % 2 else (wide - 20, wide - 48, wide - 76)
    ):
        if design % 2:
            canvas.circle((side, 17), 7, tone=(110, 160, 130)[number])
        else:
            canvas.line([(side - 5, 12), (side + 5, 22)], width=1.4, tone=ink)
            canvas.line(
                [(side - 5, 22), (side + 5, 12)]
                if number == 0
                else [(side - 5, 17), (side + 5, 17)],
                width=1.4,
                tone=ink,
            )
    left = 84.0 if design % 2 else 10.0
    for number in range(3):
        tab = Box(left + 168 * number, 6, left + 160 + 168 * number, 34)
        canvas.rectangle(tab, tone=light if number == 0 else frame)
        canvas.circle((tab.left + 14, 20), 6, tone=120)
        canvas.write(
            words.sentence(generator, words=2)[:18],
            x=tab.left + 26,
            y=25,
            size=13,
            face="sans",
            tone=ink,
        )
        canvas.write("x", x=tab.right - 14, y=25, size=14, face="sans", tone=ink)
    canvas.rectangle(Box(0, 34, wide, 74), tone=light)
    for number, sign in enumerate("←→↻⌂"):
        canvas.write(sign, x=24 + 34 * number, y=60, size=20, face="sans", tone=ink, anchor="ms")
    address = Box(160, 41, wide - 110, 67)
    canvas.fill(
        np.concatenate(
            [
                ring((173, 54), 13)[16:49],
                ring((address.right - 13, 54), 13)[48:],
                ring((address.right - 13, 54), 13)[:17],
            ]
        ),
        tone=frame if dark else 228,
    )
    site = f"https://www.{words.place(generator).lower()}-archive.org/collections/{words.word(generator)}"
    canvas.write(site, x=182, y=59, size=14, face="sans", tone=ink)
    for number, sign in enumerate("☆≡⋮"):
        canvas.write(
            sign, x=wide - 84 + 30 * number, y=60, size=18, face="sans", tone=ink, anchor="ms"
        )
    if rows < 3:  # noqa: PLR2004
        return 74.0
    canvas.rectangle(Box(0, 74, wide, 100), tone=light)
    x = 14.0
    while x < wide - 90:
        canvas.rectangle(Box(x, 81, x + 12, 93), tone=130)
        name = words.word(generator).capitalize()
        canvas.write(name, x=x + 17, y=92, size=12, face="sans", tone=ink)
        x += 40 + 8.0 * len(name)
    canvas.line([(0, 100), (wide, 100)], width=1.0, tone=150)
    return 101.0


def _task_bar(canvas: Canvas, box: Box, *, dark: bool) -> None:
    canvas.rectangle(box, tone=20 if dark else 60)
    for number in range(7):
        x = box.left + 14 + 40 * number
        icon = Box(x, box.top + 6, x + 22, box.bottom - 6)
        if number % 3 == 0:
            canvas.circle(icon.middle, 10, tone=200)
            canvas.circle(icon.middle, 5, tone=90)
        else:
            canvas.rectangle(icon, tone=(150, 215)[number % 2])
            canvas.hatch(icon.shrink(4), step=4, angle=0, tone=50)
    canvas.write(
        "14:07", x=box.right - 14, y=box.top + 15, size=13, face="sans", tone=235, anchor="rs"
    )
    canvas.write(
        "03/11/2021", x=box.right - 14, y=box.top + 29, size=11, face="sans", tone=235, anchor="rs"
    )


def _site_head(
    canvas: Canvas, box: Box, *, design: int, ink: int, generator: np.random.Generator
) -> None:
    side = box.height - 10
    logo = Box(box.left + 12, box.top + 5, box.left + 12 + side, box.top + 5 + side)
    vignettes.draw(canvas, logo, design=(1, 5, 3)[design % 3], generator=generator)
    name = f"{words.place(generator)} Digital Archive"
    canvas.write(
        name,
        x=logo.right + 10,
        y=box.middle[1] + 7,
        size=min(24, 0.5 * side),
        face="sans-bold",
        tone=ink,
    )
    x = box.right - 14
    for _ in range(4):
        entry = words.word(generator).capitalize()
        canvas.write(entry, x=x, y=box.middle[1] + 5, size=13, face="sans", tone=ink, anchor="rs")
        x -= 28 + 8.0 * len(entry)
    canvas.line([(box.left, box.bottom), (box.right, box.bottom)], width=1.0, tone=150)


def _menu(canvas: Canvas, box: Box, *, ink: int, soft: int, generator: np.random.Generator) -> None:
    y = box.top
    while y < box.bottom - 60:
        canvas.rectangle(Box(box.left, y, box.right, y + 24), tone=soft)
        canvas.write(
            words.word(generator).capitalize(),
            x=box.left + 8,
            y=y + 17,
            size=13,
            face="sans-bold",
            tone=ink,
        )
        y += 32
        for _ in range(int(generator.integers(3, 8))):
            if y > box.bottom - 16:
                return
            canvas.rectangle(Box(box.left + 6, y + 2, box.left + 15, y + 11), width=1.0, tone=ink)
            text = words.sentence(generator, words=int(generator.integers(1, 4)))
            canvas.write(
                text[: max(4, int((box.width - 24) / 7))],
                x=box.left + 21,
                y=y + 12,
                size=12,
                face="sans",
                tone=ink,
            )
            y += 21
        y += 12
