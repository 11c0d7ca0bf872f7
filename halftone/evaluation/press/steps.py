"""Define the steps that the press benchmark's transformations are made of.

Each function here returns a step for one set of parameters; a step takes a picture (mode L) and its
draws, and returns the new picture and float64 [3, 3], from the new pixels to the old ones.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
from PIL import Image

from halftone.evaluation.press import screens

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from halftone.evaluation.press.screens import Grey

_SMALLEST = 24  # pixels of a side
_PAGE = 1400  # pixels of a page's longer side
_PAGE_RATIO = 1.4
_INSIDE = 0.85  # of a page, the most that a picture takes along a side, squared


class Draw(NamedTuple):
    """The randomness and the companions that a step may use."""

    generator: np.random.Generator
    companions: tuple[Image.Image, ...]


if TYPE_CHECKING:
    Matrix = NDArray[np.float64]
    Step = Callable[[Image.Image, Draw], tuple[Image.Image, Matrix]]


def halftone(*, lpi: float, inches: float = 4.0) -> Step:
    """Print at a length of `inches` through a screen of `lpi` lines per inch; scan at 300 dpi.

    One picture in four gets a line screen.
    """

    def step(image: Image.Image, draw: Draw) -> tuple[Image.Image, Matrix]:
        sized, back = _limit_size(image, longest=round(inches * screens.SCAN_DPI))
        angle = float(draw.generator.choice([22.0, 38.0, 52.0, 67.0]))
        lines = draw.generator.random() < 0.25  # noqa: PLR2004 - one in four
        printed = screens.print_through_screen(
            _pixels(sized),
            period=screens.SCAN_DPI / lpi,
            angle=angle + float(draw.generator.uniform(-3, 3)),
            kind="lines" if lines else "dots",
            generator=draw.generator,
        )
        return Image.fromarray(printed), back

    return step


def diffuse(*, dpi: int, inches: float = 4.0) -> Step:
    """Reduce to black and white by error diffusion (Floyd and Steinberg), at `dpi`."""

    def step(image: Image.Image, draw: Draw) -> tuple[Image.Image, Matrix]:
        del draw
        sized, back = _limit_size(image, longest=round(inches * dpi))
        return sized.convert("1", dither=Image.Dither.FLOYDSTEINBERG).convert("L"), back

    return step


def local_threshold() -> Step:
    """Reduce to black and white by the mean of a square, a twelfth of the longer side wide."""

    def step(image: Image.Image, draw: Draw) -> tuple[Image.Image, Matrix]:
        del draw
        window = max(3, round(max(image.size) / 12)) | 1
        black = cv2.adaptiveThreshold(
            _pixels(image), 255, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY, window, 6
        )
        return Image.fromarray(black.astype(np.uint8)), np.eye(3)

    return step


def threshold(*, offset: float) -> Step:
    """Reduce to black and white by Otsu's threshold.

    Args:
        offset: The error of the threshold, as a share of the way to the 2nd or the 98th percentile.
    """

    def step(image: Image.Image, draw: Draw) -> tuple[Image.Image, Matrix]:
        pixels = _pixels(image)
        limit, _ = cv2.threshold(pixels, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
        end = float(np.percentile(pixels, 98 if draw.generator.random() < _HALF else 2))
        limit += offset * (end - limit)
        black = np.where(pixels > limit, np.uint8(255), np.uint8(0))
        return Image.fromarray(black), np.eye(3)

    return step


def crop(*, share: float) -> Step:
    """Cut out a part with `share` of the area, its sides up to a fifth longer or shorter."""

    def step(image: Image.Image, draw: Draw) -> tuple[Image.Image, Matrix]:
        side = float(np.sqrt(share))
        # The stretch is at most what keeps the longer side inside.
        stretch = min(float(np.exp(abs(draw.generator.uniform(-0.18, 0.18)))), 1 / side)
        wide, high = side * stretch, side / stretch
        if draw.generator.random() < _HALF:
            wide, high = high, wide
        width = max(_SMALLEST, round(image.width * wide))
        height = max(_SMALLEST, round(image.height * high))
        x, y = draw.generator.random(2)
        left = round(max(0, image.width - width) * x)
        top = round(max(0, image.height - height) * y)
        box = (left, top, min(image.width, left + width), min(image.height, top + height))
        return image.crop(box), _shift(left, top)

    return step


def mirror() -> Step:
    """Exchange left and right."""

    def step(image: Image.Image, draw: Draw) -> tuple[Image.Image, Matrix]:
        del draw
        back = np.array([[-1.0, 0, image.width], [0, 1, 0], [0, 0, 1]])
        return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), back

    return step


def quarter(*, turns: int) -> Step:
    """Turn clockwise by `turns` quarters."""

    def step(image: Image.Image, draw: Draw) -> tuple[Image.Image, Matrix]:
        del draw
        back = np.eye(3)
        for _ in range(turns):
            # The new point (x, y) was at (y, height - x).
            back = back @ np.array([[0.0, 1, 0], [-1, 0, image.height], [0, 0, 1]])
            image = image.transpose(Image.Transpose.ROTATE_270)
        return image, back

    return step


def rotate(*, degrees: float) -> Step:
    """Turn by `degrees`, one way or the other, and put all of it on a sheet of paper."""

    def step(image: Image.Image, draw: Draw) -> tuple[Image.Image, Matrix]:
        way = 1.0 if draw.generator.random() < _HALF else -1.0
        turn = np.deg2rad(degrees * way)
        cos, sin = float(np.cos(turn)), float(np.sin(turn))
        width = int(np.ceil(image.width * abs(cos) + image.height * abs(sin)))
        height = int(np.ceil(image.width * abs(sin) + image.height * abs(cos)))
        turning = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
        forth = _shift(width / 2, height / 2) @ turning
        forth = forth @ _shift(-image.width / 2, -image.height / 2)
        turned = cv2.warpPerspective(
            _pixels(image),
            forth,
            (width, height),
            flags=cv2.INTER_CUBIC,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=float(draw.generator.integers(200, 248)),
        )
        return Image.fromarray(turned.astype(np.uint8)), np.linalg.inv(forth)

    return step


def caption(*, share: float) -> Step:
    """Add a strip of text below, as high as `share` of the picture, on a sheet with margins."""

    def step(image: Image.Image, draw: Draw) -> tuple[Image.Image, Matrix]:
        margin = max(2, round(0.02 * max(image.size)))
        strip = max(12, round(share * image.height))
        size = (image.height + strip + 2 * margin, image.width + 2 * margin)
        sheet = screens.paper(size, generator=draw.generator).astype(np.uint8)
        sheet[margin : margin + image.height, margin : margin + image.width] = _pixels(image)
        # A low strip gets a heading line, a high one a paragraph.
        height = max(9, min(strip, round(0.045 * max(image.size))))
        top = margin + image.height + margin // 2
        screens.write_lines(
            sheet,
            box=(2 * margin, top, size[1] - 2 * margin, top + strip),
            height=height,
            generator=draw.generator,
        )
        return Image.fromarray(sheet), _shift(-margin, -margin)

    return step


def page(*, share: float) -> Step:
    """Put the picture on a page of text, with `share` of its area, beside up to three others."""

    def step(image: Image.Image, draw: Draw) -> tuple[Image.Image, Matrix]:
        steepness = image.height / image.width
        ratio = float(
            np.clip(_PAGE_RATIO, share * steepness / _INSIDE, _INSIDE * steepness / share)
        )
        high, wide = (_PAGE, round(_PAGE / ratio)) if ratio > 1 else (round(_PAGE * ratio), _PAGE)
        width = round(float(np.sqrt(share * high * wide / steepness)))
        height = round(width * steepness)
        sheet = screens.paper((high, wide), generator=draw.generator).astype(np.uint8)
        x, y = draw.generator.uniform(0.03, 0.97, 2)
        left, top = round((wide - width) * x), round((high - height) * y)
        boxes = [(left, top, left + width, top + height)]
        placed, _ = _resize(image, (width, height))
        sheet[top : top + height, left : left + width] = _pixels(placed)
        _add_companions(sheet, boxes=boxes, draw=draw)
        _set_text(sheet, boxes=boxes, generator=draw.generator)
        back = np.diag([image.width / width, image.height / height, 1.0]) @ _shift(-left, -top)
        return Image.fromarray(sheet), back

    return step


def tone(*, gamma: float, contrast: float) -> Step:
    """Raise tones to `gamma` or its inverse, then squeeze them into `contrast` of the range.

    Tones end near black in a darkened picture, else near white, as on under- and overexposed
    plates.
    """

    def step(image: Image.Image, draw: Draw) -> tuple[Image.Image, Matrix]:
        darker = draw.generator.random() < _HALF
        values = (np.arange(256) / 255) ** (gamma if darker else 1 / gamma)
        rest = (1 - contrast) * (0.2 if darker else 0.8)
        table = ((rest + contrast * values) * 255).round()
        return image.point([int(value) for value in table]), np.eye(3)

    return step


def negative() -> Step:
    """Exchange black and white."""

    def step(image: Image.Image, draw: Draw) -> tuple[Image.Image, Matrix]:
        del draw
        return image.point([255 - level for level in range(256)]), np.eye(3)

    return step


def blur(*, share: float) -> Step:
    """Blur by a Gaussian whose sigma is `share` of the longer side."""

    def step(image: Image.Image, draw: Draw) -> tuple[Image.Image, Matrix]:
        del draw
        blurred = cv2.GaussianBlur(_pixels(image), (0, 0), share * max(image.size))
        return Image.fromarray(blurred.astype(np.uint8)), np.eye(3)

    return step


def jpeg(*, quality: int) -> Step:
    """Write the picture as JPEG and read it again."""

    def step(image: Image.Image, draw: Draw) -> tuple[Image.Image, Matrix]:
        del draw
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality)
        with Image.open(buffer) as read:
            return read.convert("L"), np.eye(3)

    return step


def _add_companions(sheet: Grey, *, boxes: list[tuple[int, int, int, int]], draw: Draw) -> None:
    """Paste up to three companions where there is room, and add their boxes to `boxes`."""
    high, wide = sheet.shape
    for companion in draw.companions[:3]:
        for _ in range(30):
            side = float(draw.generator.uniform(0.2, 0.45)) * max(wide, high)
            scale = side / max(companion.size)
            width, height = round(companion.width * scale), round(companion.height * scale)
            if min(width, height) < _SMALLEST or width >= wide - 8 or height >= high - 8:
                continue
            left = int(draw.generator.integers(4, wide - width - 4))
            top = int(draw.generator.integers(4, high - height - 4))
            box = (left, top, left + width, top + height)
            if not any(_touch(box, other) for other in boxes):
                small, _ = _resize(companion.convert("L"), (width, height))
                sheet[top : top + height, left : left + width] = _pixels(small)
                boxes.append(box)
                break


def _set_text(
    sheet: Grey, *, boxes: Sequence[tuple[int, int, int, int]], generator: np.random.Generator
) -> None:
    """Set three columns of text around the boxes."""
    high, wide = sheet.shape
    line, columns = 18, 3
    gap = 16
    column = (wide - gap) // columns
    for number in range(columns):
        left = gap + number * column
        for top in range(gap, high - gap - line, line):
            box = (left, top, left + column - gap, top + line)
            if not any(_touch(box, other) for other in boxes):
                screens.write_lines(sheet, box=box, height=line, generator=generator)


def _touch(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> bool:
    return a[0] < b[2] + 6 and b[0] < a[2] + 6 and a[1] < b[3] + 6 and b[1] < a[3] + 6


def _limit_size(image: Image.Image, *, longest: int) -> tuple[Image.Image, Matrix]:
    scale = longest / max(image.size)
    size = (
        max(_SMALLEST, round(image.width * scale)),
        max(_SMALLEST, round(image.height * scale)),
    )
    return _resize(image, size)


def _resize(image: Image.Image, size: tuple[int, int]) -> tuple[Image.Image, Matrix]:
    back = np.diag([image.width / size[0], image.height / size[1], 1.0])
    return image.resize(size, Image.Resampling.LANCZOS), back


def _shift(x: float, y: float) -> Matrix:
    return np.array([[1.0, 0, x], [0, 1, y], [0, 0, 1]])


def _pixels(image: Image.Image) -> Grey:
    return np.array(image, dtype=np.uint8)


_HALF = 0.5
