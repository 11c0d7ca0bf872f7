"""Draw what a camera sees around a picture: copy stands with charts and rulers, edges of books."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from halftone.evaluation.furniture import words
from halftone.evaluation.furniture.canvas import Box, Canvas, Field, Sheet, Window

LONGER: Final = 880
SHARES: Final = (0.72, 0.58, 0.45, 0.34, 0.24)
"""The picture's share of the scan, by strength."""
_STEPS: Final = 18
# Luminance of a colour chart's patches, row by row.
_PATCHES: Final = (
    83,
    158,
    122,
    107,
    129,
    170,
    133,
    91,
    115,
    71,
    171,
    164,
    62,
    119,
    84,
    187,
    104,
    116,
)


def draw(*, aspect: float, strength: int, design: int, generator: np.random.Generator) -> Sheet:
    """Draw a scan in which a picture lies beside charts and rulers, or on a book's page.

    Args:
        aspect: About the picture's width over its height.
        strength: From 1 to 5; what lies around grows with it.
        design: The number of the arrangement.
        generator: Source of randomness for the details.
    """
    if design % 3 == 2:  # noqa: PLR2004 - every third one
        return _book(aspect, strength=strength, generator=generator)
    return _copy_stand(aspect, strength=strength, design=design, generator=generator)


def _copy_stand(
    aspect: float, *, strength: int, design: int, generator: np.random.Generator
) -> Sheet:
    """A print on a dark or grey ground, a grey scale, a colour chart, a ruler and a label."""
    share = SHARES[strength - 1]
    ratio = float(np.clip(aspect, 0.75, 1.35))
    size = (LONGER, round(LONGER / ratio)) if ratio > 1 else (round(LONGER * ratio), LONGER)
    dark = design % 2 == 0
    canvas = Canvas(*size, tone=22 if dark else 128)
    _weave(canvas, generator=generator)
    area = share * canvas.width * canvas.height
    band = canvas.height * (1 - np.sqrt(share)) * 0.92
    high = min(canvas.height - band - 8, np.sqrt(area / ratio))
    wide = min(area / high, canvas.width - 12)
    column = canvas.width - wide - 8
    window = Box(6, 6, 6 + wide, 6 + high)
    if strength >= 3:  # noqa: PLR2004 - the print lies on a mount
        mount = Box(window.left, window.top, window.right, window.bottom)
        canvas.rectangle(mount, tone=214)
        window = window.shrink(0.045 * window.width, 0.045 * window.height)
        canvas.rectangle(window.shrink(-2), width=1.0, tone=120)
    low = Box(10, 6 + high + 8, canvas.width - 10, canvas.height - 8)
    right = Box(6 + wide + 8, 8, canvas.width - 8, 6 + high)
    ruled = 0.34 * low.height
    scale = Box(low.left, low.top, low.left + 0.74 * low.width, low.bottom - ruled - 4)
    _grey_scale(canvas, scale, dark=dark)
    label = Box(scale.right + 8, low.top, low.right, low.bottom - ruled - 4)
    _label(canvas, label, generator=generator)
    _ruler(
        canvas, Box(low.left, low.bottom - ruled, low.right, low.bottom), inches=bool(design % 4)
    )
    if column > 34:  # noqa: PLR2004 - room for the chart
        chart = Box(
            right.left, right.top, right.right, right.top + min(right.height, 2.1 * right.width)
        )
        _colour_chart(canvas, chart, generator=generator)
        rest = Box(right.left, chart.bottom + 8, right.right, right.bottom)
        if rest.height > 60:  # noqa: PLR2004
            _ruler(
                canvas,
                Box(rest.left, rest.top, rest.left + min(40.0, rest.width), rest.bottom),
                upright=True,
            )
    number = Field(
        box=Box(
            label.left + 5, label.bottom - 0.3 * label.height, label.right - 5, label.bottom - 2
        ),
        face="typewriter",
    )
    return Sheet(pixels=canvas.finish(), windows=(Window(box=window),), fields=(number,))


def _weave(canvas: Canvas, *, generator: np.random.Generator) -> None:
    """Give the ground the grain of cloth and the fall-off of two lamps."""
    grain = generator.standard_normal((canvas.height, canvas.width)).astype(np.float32)
    threads = cv2.blur(grain, (9, 1)) + cv2.blur(grain, (1, 9))
    x = np.linspace(-1, 1, canvas.width)[None, :]
    y = np.linspace(-1, 1, canvas.height)[:, None]
    lamps = 1.0 - 0.16 * (x**2 + 0.6 * y**2)
    canvas.multiply((1 + 0.28 * threads) * lamps)


def _grey_scale(canvas: Canvas, box: Box, *, dark: bool) -> None:
    canvas.rectangle(box, tone=18)
    canvas.write(
        "Gray Scale",
        x=box.left + 6,
        y=box.top + 0.2 * box.height,
        size=0.2 * box.height,
        face="slab-italic",
        tone=235,
    )
    canvas.write(
        f"{'C' if dark else 'K'}-{_STEPS}",
        x=box.right - 6,
        y=box.top + 0.2 * box.height,
        size=0.18 * box.height,
        face="sans",
        tone=235,
        anchor="rs",
    )
    step = (box.width - 8) / _STEPS
    for number in range(_STEPS):
        left = box.left + 4 + number * step
        tone = round(252 * (1 - number / (_STEPS - 1)) ** 1.5)
        patch = Box(left, box.top + 0.27 * box.height, left + step, box.top + 0.76 * box.height)
        canvas.rectangle(patch, tone=tone)
        name = "A" if number == 0 else "M" if number == 7 else "B" if number == 16 else str(number)  # noqa: PLR2004
        canvas.write(
            name,
            x=left + step / 2,
            y=box.bottom - 0.07 * box.height,
            size=0.15 * box.height,
            face="sans",
            tone=235,
            anchor="ms",
        )


def _colour_chart(canvas: Canvas, box: Box, *, generator: np.random.Generator) -> None:
    """A grid of patches in a black card, with a maker's line at its side."""
    canvas.rectangle(box, tone=16)
    columns, rows = 3, 6
    wide, high = box.width / (columns + 0.6), (box.height - 26) / rows
    order = generator.permutation(len(_PATCHES))
    for number in range(columns * rows):
        x = box.left + 0.15 * wide + (number % columns) * wide * 1.15
        y = box.top + 6 + (number // columns) * high
        canvas.rectangle(Box(x, y, x + wide, y + 0.84 * high), tone=_PATCHES[order[number]])
        canvas.write(
            str(number + 1),
            x=x + 3,
            y=y + 0.8 * high,
            size=min(11, 0.3 * high),
            face="sans",
            tone=240,
        )
    foot = Box(box.left + 4, box.bottom - 18, box.right - 4, box.bottom - 3)
    canvas.write_in("Colour Control Patches", box=foot, face="sans-bold", tone=240)


def _ruler(canvas: Canvas, box: Box, *, upright: bool = False, inches: bool = False) -> None:
    """A ruler with numbers; with inches at its other edge."""
    canvas.rectangle(box, tone=238)
    length = box.height if upright else box.width
    deep = box.width if upright else box.height

    def tick(at: float, share: float, *, far: bool = False, width: float = 0.9) -> None:
        near, end = (deep, deep * (1 - share)) if far else (0.0, deep * share)
        points = [(at, near), (at, end)]
        if upright:
            points = [(b, a) for a, b in points]
        canvas.line([(box.left + a, box.top + b) for a, b in points], width=width)

    unit = 38.0  # pixels of a centimetre
    for number in range(int(length / unit * 10)):
        at = 4 + number * unit / 10
        tick(at, 0.42 if number % 10 == 0 else 0.3 if number % 5 == 0 else 0.2)
        if number % 10 == 0 and number:
            x, y = (
                (box.left + 0.7 * deep, box.top + at)
                if upright
                else (box.left + at, box.top + 0.66 * deep)
            )
            canvas.write(
                str(number // 10), x=x, y=y, size=min(13, 0.3 * deep), face="sans", anchor="mm"
            )
    if inches:
        for number in range(int(length / unit / 2.54 * 16)):
            tick(
                4 + number * unit * 2.54 / 16,
                0.3 if number % 16 == 0 else 0.22 if number % 4 == 0 else 0.14,
                far=True,
            )


def _label(canvas: Canvas, box: Box, *, generator: np.random.Generator) -> None:
    if box.width < 30 or box.height < 24:  # noqa: PLR2004 - no room
        return
    canvas.rectangle(box, tone=240)
    canvas.rectangle(box.shrink(2), width=1.0)
    title = f"{words.place(generator).upper()} MUSEUM"
    third = box.height / 3
    canvas.write_in(
        title, box=Box(box.left + 5, box.top + 4, box.right - 5, box.top + third), face="slab"
    )
    canvas.write_in(
        "Photographic Department",
        box=Box(box.left + 5, box.top + third, box.right - 5, box.top + 1.9 * third),
        face="roman",
    )


def _book(aspect: float, *, strength: int, generator: np.random.Generator) -> Sheet:
    """A page of an open book with the edges of its other pages, on a dark ground."""
    share = SHARES[strength - 1]
    ratio = float(np.clip(aspect, 0.7, 1.1))
    size = (round(LONGER * ratio), LONGER)
    canvas = Canvas(*size, tone=34)
    _weave(canvas, generator=generator)
    edge = canvas.width * (0.05 + 0.05 * strength)
    page = Box(10, 14, canvas.width - edge - 12, canvas.height - 16)
    canvas.rectangle(page, tone=224)
    for number in np.arange(0, edge, 2.2):
        # Leaves lie ever lower, and none is quite straight.
        x = page.right + number
        sway = np.cumsum(generator.normal(0, 0.25, 40))
        y = np.linspace(page.top + 0.16 * number, page.bottom - 0.22 * number, 40)
        canvas.line(
            np.column_stack([x + sway - sway.mean(), y]),
            width=1.2,
            tone=int(generator.integers(70, 215)),
        )
    shade = np.ones((canvas.height, canvas.width))
    gutter = np.linspace(0, 1, round(page.width))
    shade[:, round(page.left) : round(page.left) + len(gutter)] = 1 - 0.55 * np.exp(-gutter / 0.06)
    canvas.multiply(shade)
    for _ in range(10 + 4 * strength):  # foxing
        x, y = generator.uniform(0.1, 0.95, 2) * (page.width, page.height)
        canvas.circle((page.left + x, page.top + y), float(generator.uniform(1, 4)), tone=185)
    area = share * canvas.width * canvas.height
    room = page.shrink(26, 44)
    wide = min(room.width, np.sqrt(area * aspect))
    high = min(room.height, area / wide)
    left = page.left + (page.width - wide) / 2 + 6
    top = page.top + 0.46 * (page.height - high)
    window = Box(left, top, left + wide, top + high)
    canvas.write(
        words.place(generator).upper(),
        x=window.middle[0],
        y=page.top + 28,
        size=17,
        anchor="ms",
        tone=50,
    )
    fields = []
    for box in (
        Box(page.left + 34, page.top + 36, page.right - 20, window.top - 6),
        Box(page.left + 34, window.bottom + 8, page.right - 20, page.bottom - 14),
    ):
        lines = int(box.height // 19)
        if lines >= 1:
            fields.append(
                Field(
                    box=Box(box.left, box.top, box.right, box.top + 19 * lines),
                    face="roman",
                    lines=lines,
                    tone=50,
                )
            )
    return Sheet(pixels=canvas.finish(), windows=(Window(box=window),), fields=tuple(fields))
