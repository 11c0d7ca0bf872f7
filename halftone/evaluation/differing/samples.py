"""Print retouched pictures, and collect what the network sees of them beside the pictures."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from halftone.evaluation.calibration_samples import read_picture
from halftone.evaluation.differing.retouching import WAYS, Retouched, retouch
from halftone.evaluation.judging.samples import map_pairs, read_features, read_true_pairs
from halftone.evaluation.judging.variants import print_anew
from halftone.matching.fingerprint import local_features
from halftone.matching.looks.difference_map import CELL
from halftone.matching.looks.seen import SIDE, describe, place
from halftone.matching.verification import compare_framed, verify
from halftone.vision.differing import STEPS, UNKNOWN, SeenPrinting
from halftone.vision.reprinting import reprint

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from halftone.matching.features import LocalFeatures
    from halftone.matching.tiles import Tiles
    from halftone.vision.differing import Cells, Seen

Floats = NDArray[np.float32]

FAITHFUL: Final = "faithful"
_SIDE: Final = 800  # of a picture before it is printed, in pixels
_SIDES: Final = (400, 1000)  # of a scan
_PRINTINGS: Final = 3  # of a picture
_FAITHFUL: Final = 0.6  # of the first of them
_PRINTED: Final = 0.4  # of the pictures that they are compared with
_HALF: Final = 0.5
_CHANGED: Final = 0.5  # of a cell
_TOUCHED: Final = 0.04  # of a cell: what is changed less, was not
_VISIBLE: Final = 6.0  # grey values: less cannot be seen
_REAL: Final = 0.3
"""The weight of a pair of an archive, of which nobody has said where it was retouched."""


def see_retouched(paths: Sequence[Path], *, pictures: int, seed: int) -> Iterator[SeenPrinting]:
    """Retouch and print pictures three times each, a fifth of them faithfully."""
    order = np.random.default_rng(seed).permutation(len(paths))

    def make(number: int) -> list[SeenPrinting]:
        generator = np.random.default_rng([seed, number])
        row = int(order[number % len(order)])
        picture, other = (
            _read(paths[each]) for each in (row, int(order[generator.integers(len(order))]))
        )
        clean = local_features(Image.fromarray(picture))
        printed = [
            _print(
                picture,
                other,
                clean=clean,
                group=str(row),
                faithful=at == 0 and bool(generator.random() < _FAITHFUL),
                generator=generator,
            )
            for at in range(_PRINTINGS)
        ]
        return [each for each in printed if each is not None]

    for each in map_pairs(make, range(pictures)):
        yield from each


def see_archive(folder: Path) -> Iterator[SeenPrinting]:
    """Compare the true pairs of a labelled archive, taken to be faithful for the most part."""
    archive, pairs = read_true_pairs(folder)
    features = read_features(archive.paths, rows={row for pair in pairs for row in pair})

    def make(pair: tuple[int, int]) -> SeenPrinting | None:
        found = compare_framed(features[pair[0]], features[pair[1]])
        if found is None:
            return None
        tiles = found[0].tiles
        return SeenPrinting(
            variants=_vary(tiles, count=3),
            changed=np.where(_cells(tiles.mask) < _HALF, UNKNOWN, 0).astype(np.int8),
            weight=_REAL,
            kind="archive",
            group=min(archive.ids[row] for row in pair),
        )

    return map_pairs(make, pairs)


def _print(
    picture: NDArray[np.uint8],
    other: NDArray[np.uint8],
    *,
    clean: LocalFeatures,
    group: str,
    faithful: bool,
    generator: np.random.Generator,
) -> SeenPrinting | None:
    way = FAITHFUL if faithful else str(generator.choice(WAYS))
    made = None if faithful else retouch(picture, other, way=way, generator=generator)
    second = reprint(
        Image.fromarray(picture if made is None else made.picture),
        seed=int(generator.integers(2**31)),
        side=_SIDE if generator.random() < _HALF else int(generator.integers(*_SIDES)),
    )
    first, laid = clean, np.eye(3)
    if generator.random() < _PRINTED:
        before = reprint(
            Image.fromarray(picture),
            seed=int(generator.integers(2**31)),
            side=int(generator.integers(*_SIDES)),
            max_crop=0.0,
        )
        first = local_features(before)
        found = verify(clean, first, mirrored=False).overlaps
        if not found:
            return None
        laid = found[0].homography
    compared = compare_framed(first, local_features(second))
    if compared is None:
        return None
    tiles = compared[0].tiles
    changed = np.where(_cells(tiles.mask) < _HALF, UNKNOWN, 0).astype(np.int8)
    if made is not None:
        changed = _label(made, tiles, compared[1] @ laid)
    return SeenPrinting(
        variants=_vary(tiles, count=2), changed=changed, weight=1.0, kind=way, group=group
    )


def _label(made: Retouched, tiles: Tiles, to_frame: NDArray[np.float64]) -> Cells:
    """Say of each cell whether it was changed, but where in part or too faintly to be seen."""
    height, width = tiles.mask.shape
    mask, seen = (
        cv2.warpPerspective(each.astype(np.float32), to_frame, (width, height))
        for each in (made.mask, made.seen * made.mask)
    )
    share = _cells(mask)
    visible = _cells(seen) >= _VISIBLE * share
    changed = np.where(share > _TOUCHED, UNKNOWN, 0)
    changed = np.where((share > _CHANGED) & visible, 1, changed)
    return np.where(_cells(tiles.mask) < _HALF, UNKNOWN, changed).astype(np.int8)


def _cells(values: NDArray[np.generic]) -> Floats:
    """Return the mean of a frame's values, [H, W], in each cell of what is seen, [N, N]."""
    top, left, height, width = place(values.shape)
    whole = np.zeros((SIDE, SIDE), dtype=np.float32)
    shown = np.asarray(values[: 2 * height, : 2 * width], dtype=np.float32)
    whole[top : top + height, left : left + width] = cv2.resize(
        shown, (width, height), interpolation=cv2.INTER_AREA
    )
    count = SIDE // CELL
    return np.asarray(whole.reshape(count, CELL, count, CELL).mean(axis=(1, 3)))


def _vary(tiles: Tiles, *, count: int) -> tuple[Seen, ...]:
    generator = np.random.default_rng(zlib.crc32(tiles.pictures[0].tobytes()))
    shown = [_keep(*tiles.pictures, tiles)]
    for _ in range(count):
        first, second = (print_anew(each, generator=generator) for each in tiles.pictures)
        shown.append(_keep(first, second, tiles))
    return tuple(shown)


def _keep(first: Floats, second: Floats, tiles: Tiles) -> Seen:
    seen = np.rint(describe(first, second, tiles.mask) * STEPS)
    return seen.clip(-127, 127).astype(np.int8)


def _read(path: Path) -> NDArray[np.uint8]:
    picture = read_picture(path).convert("L")
    scale = _SIDE / max(picture.size)
    size = max(16, round(picture.width * scale)), max(16, round(picture.height * scale))
    return np.asarray(picture.resize(size, Image.Resampling.LANCZOS))
