"""Measure the difference map: retouches that it finds, and false ones in faithful reprints.

    python -m halftone.evaluation.retouches FOLDER [--pictures 100] [--press 6]

Pictures are printed twice. In the second printing something was pasted in, removed or painted out
before, on a known share of the area, or nothing was changed. A difference, which is a box, is false
if less than a third of it lies on the retouch; a retouch is found if the others cover a third of
it together. Parts that are plain already are not retouched, and
printings that do not register are counted apart.

With `--press`, so many of the pictures are also printed faithfully in each condition of the press
benchmark, and only false differences are counted.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np
from PIL import Image

from halftone.archive.manifests import list_pictures
from halftone.evaluation.calibration_samples import read_picture
from halftone.evaluation.press.benchmark import conditions_of
from halftone.evaluation.press.transforms import TRANSFORMATIONS, seed_of, transform
from halftone.evaluation.resampling import wilson_interval
from halftone.matching.fingerprint import local_features
from halftone.matching.verification import verify
from halftone.vision.reprinting import reprint

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from halftone.matching.overlaps import Overlap

    Bytes = NDArray[np.uint8]
    Bools = NDArray[np.bool_]

KINDS: Final = ("paste", "remove", "paint")
SHARES: Final = (0.01, 0.03, 0.1)
"""Shares of the picture's area that are retouched."""
_SIDE: Final = 800
_COVERED: Final = 1 / 3
_COMPANIONS: Final = 3
_PLAIN: Final = 12.0  # grey values: what is plainer already cannot be removed or painted out
_TRIES: Final = 20


@dataclass(frozen=True, kw_only=True)
class Retouch:
    """A picture of which a part was changed.

    Attributes:
        image: The changed picture, mode L.
        mask: bool [H, W], what was changed.
    """

    image: Image.Image
    mask: Bools


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What the difference map says of one printing.

    Attributes:
        kind: One of `KINDS`, or "faithful".
        share: The share of the area that was changed.
        registered: Whether the printing registers with the picture.
        found: Whether the retouch was found.
        false: The number of differences elsewhere.
        certainties: Of the differences that lie on the retouch, and of the others.
    """

    kind: str
    share: float
    registered: bool
    found: bool
    false: int
    certainties: tuple[tuple[float, ...], tuple[float, ...]]


def retouch(
    picture: Image.Image, other: Image.Image, *, kind: str, share: float, seed: int
) -> Retouch | None:
    """Change a part of a picture; None if it has no part with enough detail.

    Args:
        picture: The picture, mode L.
        other: The picture that parts are pasted from.
        kind: "paste" lays a part of the other picture in, with a soft edge; "remove" continues what
            is around over it; "paint" covers it with one grey.
        share: The share of the area that is changed.
        seed: The same seed changes the same part in the same way.
    """
    generator = np.random.default_rng(seed)
    grey = np.asarray(picture.convert("L"), dtype=np.uint8)
    height, width = grey.shape
    for _ in range(_TRIES):
        mask = _draw_spot(height, width, share=share, generator=generator)
        if grey[mask].std() >= _PLAIN:
            break
    else:
        return None
    soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), max(1.0, 0.006 * width))
    if kind == "paste":
        laid = np.asarray(other.convert("L").resize((width, height)), dtype=np.float32)
        if abs(float(laid[mask].mean()) - float(grey[mask].mean())) + laid[mask].std() < _PLAIN:
            return None
    elif kind == "remove":
        laid = cv2.inpaint(grey, mask.astype(np.uint8), 5, cv2.INPAINT_TELEA).astype(np.float32)
    else:
        tone = float(generator.choice([np.percentile(grey, 5), grey.mean(), 235.0]))
        laid = np.full(grey.shape, tone, dtype=np.float32)
    changed = grey * (1 - soft) + laid * soft
    return Retouch(image=Image.fromarray(changed.clip(0, 255).astype(np.uint8)), mask=mask)


def run(paths: Sequence[Path], *, seed: int = 0) -> Iterator[Outcome]:
    """Retouch, print and compare each picture in every way, and once faithfully."""
    ways = [("faithful", 0.0), *((kind, share) for kind in KINDS for share in SHARES)]
    for number, path in enumerate(paths):
        picture = read_picture(path)
        scale = _SIDE / max(picture.size)
        size = (round(picture.width * scale), round(picture.height * scale))
        picture = picture.resize(size, Image.Resampling.LANCZOS)
        other = read_picture(paths[(number + 1) % len(paths)])
        for at, (kind, share) in enumerate(ways):
            made = None
            if kind != "faithful":
                own = 100 * number + at
                made = retouch(picture, other, kind=kind, share=share, seed=own)
                if made is None:
                    continue
            # The first is the archive's scan; it is not cropped, so its pixels are the picture's.
            draw = np.random.default_rng([seed, number, at])
            printed = reprint(
                picture if made is None else made.image, seed=int(draw.integers(2**31)), side=_SIDE
            )
            yield _compare(picture, printed, made, kind=kind, share=share)


def run_press(paths: Sequence[Path], *, seed: int = 0) -> Iterator[Outcome]:
    """Print each picture faithfully in each condition of the press benchmark, and compare."""
    pictures = [read_picture(path) for path in paths]
    for number, picture in enumerate(pictures):
        for name, strength in conditions_of():
            printed = transform(
                picture,
                transformation=TRANSFORMATIONS[name],
                strength=strength,
                seed=seed_of(seed, number, name),
                companions=[each for each in pictures if each is not picture][:_COMPANIONS],
            )
            yield _compare(picture, printed.image, None, kind=name, share=0.0)


def _compare(
    picture: Image.Image, printed: Image.Image, made: Retouch | None, *, kind: str, share: float
) -> Outcome:
    found = verify(local_features(picture), local_features(printed)).overlaps
    if not found:
        return Outcome(
            kind=kind, share=share, registered=False, found=False, false=0, certainties=((), ())
        )
    mask = np.zeros((picture.height, picture.width), dtype=bool) if made is None else made.mask
    right, wrong, covered = _sort(found[0], mask)
    return Outcome(
        kind=kind,
        share=share,
        registered=True,
        found=bool(mask.any()) and covered >= _COVERED,
        false=len(wrong),
        certainties=(tuple(right), tuple(wrong)),
    )


def _sort(overlap: Overlap, mask: Bools) -> tuple[list[float], list[float], float]:
    """Return the certainties of differences that lie on the retouch, and of those that do not.

    The third is the share of the retouch that the former cover.
    """
    right: list[float] = []
    wrong: list[float] = []
    covered = np.zeros(mask.shape, dtype=bool)
    for each in overlap.differences:
        drawn = np.zeros(mask.shape, dtype=np.uint8)
        cv2.fillConvexPoly(drawn, np.rint(each.part.query_polygon).astype(np.int32), (1,))
        area = drawn.astype(bool)
        if float((area & mask).sum()) >= _COVERED * max(float(area.sum()), 1.0):
            right.append(each.certainty)
            covered |= area
        else:
            wrong.append(each.certainty)
    return right, wrong, float((covered & mask).sum() / max(mask.sum(), 1))


def _draw_spot(height: int, width: int, *, share: float, generator: np.random.Generator) -> Bools:
    """Draw a spot of a share of the area: an ellipse or a rectangle that lies inside."""
    ratio = float(np.exp(generator.uniform(-0.5, 0.5)))
    side = np.sqrt(share * height * width)
    wide, high = min(side * ratio, 0.9 * width), min(side / ratio, 0.9 * height)
    x, y = (
        generator.uniform(wide / 2, width - wide / 2),
        generator.uniform(high / 2, height - high / 2),
    )
    mask = np.zeros((height, width), dtype=np.uint8)
    if generator.random() < 0.5:  # noqa: PLR2004 - either
        # An ellipse fills pi / 4 of its box.
        axes = (round(wide / np.sqrt(np.pi)), round(high / np.sqrt(np.pi)))
        cv2.ellipse(mask, (round(x), round(y)), axes, 0, 0, 360, (1,), -1)
    else:
        corners = [
            round(x - wide / 2),
            round(y - high / 2),
            round(x + wide / 2),
            round(y + high / 2),
        ]
        cv2.rectangle(mask, (corners[0], corners[1]), (corners[2], corners[3]), (1,), -1)
    return mask.astype(bool)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print the shares that are found, and the false ones."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pictures", type=int, default=100)
    parser.add_argument("--press", type=int, default=0, help="pictures for the press benchmark")
    parser.add_argument("--seed", type=int, default=0)
    given: Any = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    paths = list_pictures(given.folder)
    order = np.random.default_rng(given.seed).permutation(len(paths))[: given.pictures]
    chosen = [paths[int(at)] for at in order]
    outcomes: dict[tuple[str, float], list[Outcome]] = defaultdict(list)
    for outcome in run(chosen, seed=given.seed):
        outcomes[outcome.kind, outcome.share].append(outcome)
    for (kind, share), each in sorted(outcomes.items()):
        print(_describe(kind, share, each))
    if given.press:
        press: dict[str, list[Outcome]] = defaultdict(list)
        for outcome in run_press(chosen[: given.press], seed=given.seed):
            press[outcome.kind].append(outcome)
        for name, each in press.items():
            print(_describe(name, 0.0, each))
        print(_describe("all of these", 0.0, [one for each in press.values() for one in each]))


def _describe(kind: str, share: float, outcomes: Sequence[Outcome]) -> str:
    there = [each for each in outcomes if each.registered]
    count = max(len(there), 1)
    found, false = sum(each.found for each in there), sum(each.false > 0 for each in there)
    told = ""
    if share and there:
        low, high = wilson_interval(found, len(there))
        told = f"found {found / count:.3f} ({low:.3f} to {high:.3f})  "
    lost = len(outcomes) - len(there)
    return (
        f"{kind:16} {share:4.0%}  {len(there):4} printings, {lost} more did not register  {told}"
        f"false in {false / count:.3f}"
    )


if __name__ == "__main__":
    main()
