"""Transform pictures as presses do: pure functions of picture, strength and seed.

They share neither code nor parameters with `halftone.vision.simulation` and
`halftone.vision.reprinting`, which make training pairs. A transformation is a list of strengths,
each a chain of steps; a step returns the new picture and where its pixels lie in the one before, so
that every result knows where its source is, and a verified overlap can be checked against it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from halftone.evaluation.press import steps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL import Image

    from halftone.evaluation.press.steps import Step

Matrix = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Level:
    """A strength of a transformation: its label and its steps.

    Attributes:
        label: A description with its unit, for people.
        steps: The steps, in the order of their application.
    """

    label: str
    steps: tuple[Step, ...]


@dataclass(frozen=True, kw_only=True)
class Transformation:
    """A way to print a picture anew, in several strengths; see `TRANSFORMATIONS`.

    Attributes:
        name: The name as it is typed.
        title: The name for people.
        levels: The strengths; strength 1 is the first.
        ordered: Whether each strength departs further from the picture than the one before;
            otherwise they are cases side by side.
    """

    name: str
    title: str
    levels: tuple[Level, ...]
    ordered: bool = True


@dataclass(frozen=True, kw_only=True, eq=False)
class Printed:
    """A transformed picture.

    Attributes:
        image: The picture in mode L.
        to_source: float64 [3, 3], maps pixels of `image` to pixels of the source picture.
        region: float64 [K, 2], the convex polygon in `image` that shows the source picture.
    """

    image: Image.Image
    to_source: Matrix
    region: NDArray[np.float64]


def transform(
    picture: Image.Image,
    *,
    transformation: Transformation,
    strength: int,
    seed: int,
    companions: Sequence[Image.Image] = (),
) -> Printed:
    """Print a picture anew.

    Args:
        picture: An upright picture of any mode.
        transformation: The transformation to apply.
        strength: The number of the strength, from 1.
        seed: Equal arguments give equal pictures. Strengths share what is drawn (where a crop
            lies, which way it turns), so that only the strength differs between them.
        companions: Pictures that may stand beside it on a page.
    """
    image = picture.convert("L")
    to_source = np.eye(3)
    region = _frame(image)
    for number, step in enumerate(transformation.levels[strength - 1].steps):
        draw = steps.Draw(np.random.default_rng([seed, number]), tuple(companions))
        image, back = step(image, draw)
        to_source = to_source @ back
        moved = move(region, matrix=np.linalg.inv(back).astype(np.float64))
        region = _clip(moved, frame=_frame(image))
    return Printed(image=image, to_source=to_source, region=region)


def seed_of(*parts: object) -> int:
    """Return a seed that is the same in every run for parts with the same text."""
    text = "\0".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def move(points: NDArray[np.float64], *, matrix: Matrix) -> NDArray[np.float64]:
    """Move points [K, 2] by a homography [3, 3]."""
    moved = np.column_stack([points, np.ones(len(points))]) @ matrix.T
    result: NDArray[np.float64] = moved[:, :2] / moved[:, 2:]
    return result


def _frame(image: Image.Image) -> NDArray[np.float64]:
    width, height = image.size
    return np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float64)


def _clip(polygon: NDArray[np.float64], *, frame: NDArray[np.float64]) -> NDArray[np.float64]:
    _, shared = cv2.intersectConvexConvex(polygon.astype(np.float32), frame.astype(np.float32))
    return polygon[:0] if shared is None else shared.reshape(-1, 2).astype(np.float64)


def _levels(*entries: tuple[str, Step | tuple[Step, ...]]) -> tuple[Level, ...]:
    return tuple(
        Level(label=label, steps=found if isinstance(found, tuple) else (found,))
        for label, found in entries
    )


_ALL: Final = (
    Transformation(
        name="halftone",
        title="Halftone screen, printed 4 in on the longer side, scanned at 300 dpi",
        levels=_levels(
            *((f"{lpi} lpi", steps.halftone(lpi=lpi)) for lpi in (150, 120, 100, 85, 65))
        ),
    ),
    Transformation(
        name="small-print",
        title="Halftone screen of 65 lpi, printed ever smaller, scanned at 300 dpi",
        levels=_levels(
            *(
                (f"{inches:g} in", steps.halftone(lpi=65, inches=inches))
                for inches in (5, 3, 2.5, 2, 1.5)
            )
        ),
    ),
    Transformation(
        name="bilevel",
        title="Black and white only, printed 4 in on the longer side",
        levels=_levels(
            ("error diffusion, 200 dpi", steps.diffuse(dpi=200)),
            ("error diffusion, 100 dpi", steps.diffuse(dpi=100)),
            ("local threshold", steps.local_threshold()),
            ("threshold (Otsu's)", steps.threshold(offset=0.0)),
            ("threshold, too dark or too light", steps.threshold(offset=0.5)),
        ),
    ),
    Transformation(
        name="crop",
        title="Crop, share of the area that remains",
        levels=_levels(
            *((f"{share:.0%}", steps.crop(share=share)) for share in (0.8, 0.6, 0.4, 0.25, 0.1))
        ),
    ),
    Transformation(
        name="mirror",
        title="Mirrored, alone and with something else",
        levels=_levels(
            ("alone", steps.mirror()),
            ("crop 80%", (steps.mirror(), steps.crop(share=0.8))),
            ("turned 4°", (steps.mirror(), steps.rotate(degrees=4))),
            ("85 lpi", (steps.mirror(), steps.halftone(lpi=85))),
            (
                "crop 40%, 85 lpi",
                (steps.mirror(), steps.crop(share=0.4), steps.halftone(lpi=85)),
            ),
        ),
        ordered=False,
    ),
    Transformation(
        name="rotation",
        title="Turned, the corners filled with paper",
        levels=_levels(
            *((f"{degrees}°", steps.rotate(degrees=degrees)) for degrees in (2, 5, 8, 11, 15))
        ),
    ),
    Transformation(
        name="quarter",
        title="Turned by quarters, alone and with something else",
        levels=_levels(
            ("90°", steps.quarter(turns=1)),
            ("180°", steps.quarter(turns=2)),
            ("270°", steps.quarter(turns=3)),
            ("90°, mirrored", (steps.mirror(), steps.quarter(turns=1))),
            ("270° and 4°", (steps.quarter(turns=3), steps.rotate(degrees=4))),
        ),
        ordered=False,
    ),
    Transformation(
        name="caption",
        title="Caption strip, share of the picture's height",
        levels=_levels(
            *(
                (f"{share:.0%}", steps.caption(share=share))
                for share in (0.06, 0.12, 0.2, 0.3, 0.45)
            )
        ),
    ),
    Transformation(
        name="collage",
        title="A page with text and other pictures, share of the page",
        levels=_levels(
            *((f"{share:.0%}", steps.page(share=share)) for share in (0.6, 0.4, 0.25, 0.15, 0.08))
        ),
    ),
    Transformation(
        name="tone",
        title="Gamma (either way) and contrast",
        levels=_levels(
            *(
                (f"gamma {gamma:g}, {contrast:.0%}", steps.tone(gamma=gamma, contrast=contrast))
                for gamma, contrast in ((1.3, 0.9), (1.7, 0.7), (2.2, 0.5), (2.9, 0.35), (3.8, 0.2))
            )
        ),
    ),
    Transformation(
        name="negative",
        title="Black and white exchanged; there is no stronger or weaker",
        levels=_levels(("negative", steps.negative())),
        ordered=False,
    ),
    Transformation(
        name="blur",
        title="Gaussian blur, sigma as a share of the longer side",
        levels=_levels(
            *(
                (f"{share:.1%}", steps.blur(share=share))
                for share in (0.002, 0.004, 0.007, 0.01, 0.015)
            )
        ),
    ),
    Transformation(
        name="jpeg",
        title="JPEG, quality",
        levels=_levels(*((f"{q}", steps.jpeg(quality=q)) for q in (60, 40, 22, 10, 4))),
    ),
    Transformation(
        name="composed",
        title="Several at once",
        levels=_levels(
            (
                "gamma 1.3, crop 80%, JPEG 60",
                (
                    steps.tone(gamma=1.3, contrast=0.9),
                    steps.crop(share=0.8),
                    steps.jpeg(quality=60),
                ),
            ),
            (
                "crop 80%, 120 lpi, 1°, JPEG 60",
                (
                    steps.crop(share=0.8),
                    steps.halftone(lpi=120),
                    steps.rotate(degrees=1),
                    steps.jpeg(quality=60),
                ),
            ),
            (
                "gamma 1.7, crop 60%, 100 lpi, caption 12%, 2°",
                (
                    steps.tone(gamma=1.7, contrast=0.7),
                    steps.crop(share=0.6),
                    steps.halftone(lpi=100),
                    steps.caption(share=0.12),
                    steps.rotate(degrees=2),
                ),
            ),
            (
                "mirror, gamma 1.7, crop 40%, 85 lpi at 3 in, 3°, JPEG 40",
                (
                    steps.mirror(),
                    steps.tone(gamma=1.7, contrast=0.7),
                    steps.crop(share=0.4),
                    steps.halftone(lpi=85, inches=3),
                    steps.rotate(degrees=3),
                    steps.jpeg(quality=40),
                ),
            ),
            (
                "gamma 2.2, crop 40%, 65 lpi at 3 in, page 40%, 2°",
                (
                    steps.tone(gamma=2.2, contrast=0.5),
                    steps.crop(share=0.4),
                    steps.halftone(lpi=65, inches=3),
                    steps.page(share=0.4),
                    steps.rotate(degrees=2),
                ),
            ),
        ),
    ),
)
TRANSFORMATIONS: Final = {entry.name: entry for entry in _ALL}
