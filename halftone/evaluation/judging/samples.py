"""Collect what the judge sees of pairs: drawn furniture, printings, archives, books of boards.

A pair's variants are what it would look like from another press and another scanner.
"""

from __future__ import annotations

import zlib
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from halftone.evaluation.calibration_samples import print_part, read_picture
from halftone.evaluation.corrections import correct
from halftone.evaluation.judging.repeats import find_repeat, lay_upon
from halftone.evaluation.judging.variants import Floats, print_anew, retouch_one
from halftone.evaluation.labelled import read_different, read_labelled
from halftone.evaluation.truth import MATCH
from halftone.matching.fingerprint import local_features
from halftone.matching.looks.judge import CHANNELS
from halftone.matching.looks.seen import describe
from halftone.matching.verification import compare_at, compare_tiles
from halftone.vision.furnishing import KINDS, furnish_pair
from halftone.vision.judging import STEPS, SeenPair
from halftone.vision.reprinting import reprint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from halftone.evaluation.corrections import Corrections
    from halftone.evaluation.labelled import LabelledArchive
    from halftone.matching.features import LocalFeatures
    from halftone.matching.tiles import Tiles
    from halftone.vision.judging import Seen

Task = TypeVar("Task")
Result = TypeVar("Result")

_OVERLAPS: Final = 3  # of a pair
_SIDE: Final = 640  # of a simulated scan, in pixels
_SHEET_CROP: Final = 0.03  # of a side: sheets of an archive are whole
_FEW_PICTURES, _MANY_PICTURES = 4, 12  # that a sheet of one picture, and of several, is made of
_SEVERAL: Final = ("emblem", "plate")
_REPEATING: Final = ("chart", "frame", "head", "map", "plate", "text")
_DETAILS: Final = ("initial", "stage")
_HALF: Final = 0.5
_TRUE: Final = 1.5
_THREADS: Final = 2


def see(
    first: LocalFeatures,
    second: LocalFeatures,
    *,
    same: bool,
    group: str,
    weight: float = 1.0,
    variants: int = 1,
) -> SeenPair | None:
    """Compare two pictures; return what the network sees of them, or None if nothing registers."""
    tiles = [each.tiles for each in compare_tiles(first, second)][:_OVERLAPS]
    return _show(tiles, same=same, group=group, weight=weight, variants=variants)


def _show(
    tiles: Sequence[Tiles], *, same: bool, group: str, weight: float, variants: int = 1
) -> SeenPair | None:
    if not tiles:
        return None
    generator = np.random.default_rng(zlib.crc32(tiles[0].pictures[0].tobytes()))
    shown = [np.stack([_keep(*each.pictures, each) for each in tiles])]
    shown += [
        np.stack([_keep(*_vary(each, same=same, generator=generator), each) for each in tiles])
        for _ in range(variants)
    ]
    return SeenPair(variants=tuple(shown), same=same, weight=weight, group=group)


def _vary(tiles: Tiles, *, same: bool, generator: np.random.Generator) -> tuple[Floats, Floats]:
    first, second = tiles.pictures
    if same:
        first, second = retouch_one(first, second, generator=generator)
    return (
        print_anew(first, generator=generator),
        print_anew(second, generator=generator),
    )


def _keep(first: Floats, second: Floats, tiles: Tiles) -> Seen:
    seen = np.rint(describe(first, second, tiles.mask)[:CHANNELS] * STEPS)
    return seen.clip(-127, 127).astype(np.int8)


def see_furniture(paths: Sequence[Path], *, pairs: int, seed: int) -> Iterator[SeenPair]:
    """Draw pairs of sheets in furniture, print and compare them; kinds and cases take turns."""
    plan = [(kind, case) for kind, cases in sorted(KINDS.items()) for case in cases]
    shelves = _shelve(len(paths), seed=seed)

    def make(number: int) -> SeenPair | None:
        kind, case = plan[number % len(plan)]
        generator = np.random.default_rng([seed, number])
        count = _MANY_PICTURES if kind in _SEVERAL else _FEW_PICTURES
        chosen = generator.permutation(shelves[kind])[:count]
        pair = furnish_pair(
            [read_picture(paths[int(row)]) for row in chosen],
            kind=kind,
            case=case,
            seed=int(generator.integers(2**31)),
        )
        first, second = (
            local_features(
                reprint(
                    sheet, seed=int(generator.integers(2**31)), max_crop=_SHEET_CROP, side=_SIDE
                )
            )
            for sheet in (pair.first, pair.second)
        )
        # Figures in other poses, or a letter on one ground, are nearly a retouched picture.
        doubtful = kind in _DETAILS and not pair.same
        return see(first, second, same=pair.same, group=kind, weight=_HALF if doubtful else 1.0)

    return map_pairs(make, range(pairs))


def _shelve(count: int, *, seed: int) -> dict[str, NDArray[np.intp]]:
    """Part pictures among kinds: kinds that are left out show pictures that are left out."""
    order, kinds = np.random.default_rng(seed).permutation(count), sorted(KINDS)
    return {kind: order[at :: len(kinds)] for at, kind in enumerate(kinds)}


def see_repeats(paths: Sequence[Path], *, pairs: int, seed: int) -> Iterator[SeenPair]:
    """Lay different sheets upon each other where they repeat; half of them are boards."""
    shelves = _shelve(len(paths), seed=seed)

    def make(number: int) -> SeenPair | None:
        generator = np.random.default_rng([seed, number])
        kind = "board" if number % 2 else str(generator.choice(_REPEATING))
        chosen = generator.permutation(shelves[kind])[:_MANY_PICTURES]
        pair = furnish_pair(
            [read_picture(paths[int(row)]) for row in chosen],
            kind=kind,
            case="different",
            seed=int(generator.integers(2**31)),
        )
        sheets = pair.first, pair.second
        printings = [
            reprint(sheet, seed=int(generator.integers(2**31)), max_crop=_SHEET_CROP, side=_SIDE)
            for sheet in sheets
        ]
        features = [local_features(each) for each in (*sheets, *printings)]
        shift = find_repeat(*sheets, generator=generator)
        homography = lay_upon((features[0], features[1]), (features[2], features[3]), shift)
        if homography is None:
            return None
        found = compare_at(features[2], features[3], homography)
        return _show([] if found is None else [found.tiles], same=False, group=kind, weight=_HALF)

    return map_pairs(make, range(pairs))


def see_printings(paths: Sequence[Path], *, count: int, seed: int) -> Iterator[SeenPair]:
    """Compare simulated printings of parts of pictures with the pictures, or with printings."""
    order = np.random.default_rng(seed).permutation(len(paths))[:count]

    def make(row: int) -> SeenPair | None:
        generator = np.random.default_rng([seed, row])
        picture = read_picture(paths[row])
        part = print_part(picture, generator=generator)
        if generator.random() < _HALF:
            picture = reprint(picture, seed=int(generator.integers(2**31)), side=_SIDE)
        return see(
            local_features(part), local_features(picture), same=True, group=f"{row}", variants=2
        )

    return map_pairs(make, [int(row) for row in order])


def see_archive(folder: Path) -> Iterator[SeenPair]:
    """Compare the true pairs of a labelled archive."""
    archive, pairs = read_true_pairs(folder)
    features = read_features(archive.paths, rows={row for pair in pairs for row in pair})

    def make(pair: tuple[int, int]) -> SeenPair | None:
        first, second = pair
        group = min(archive.ids[first], archive.ids[second])
        return see(
            features[first], features[second], same=True, group=group, weight=_TRUE, variants=3
        )

    return map_pairs(make, pairs)


def see_different(folder: Path, *, corrections: Corrections) -> Iterator[SeenPair]:
    """Compare the pictures of each publication of a folder whose pictures all differ."""
    archive = read_different(folder)
    features = read_features(archive.paths, rows=range(len(archive.ids)))
    pairs = [
        (a, b)
        for a, b in combinations(range(len(archive.ids)), 2)
        if archive.journals[a] == archive.journals[b]
    ]

    def make(pair: tuple[int, int]) -> SeenPair | None:
        first, second = pair
        same = correct(archive.ids[first], archive.ids[second], label=False, by=corrections)
        return see(
            features[first],
            features[second],
            same=same,
            group=archive.journals[first],
            weight=_HALF,
        )

    return map_pairs(make, pairs)


def read_true_pairs(folder: Path) -> tuple[LabelledArchive, list[tuple[int, int]]]:
    """Read a labelled archive and its true pairs, as numbers of its pictures."""
    archive = read_labelled(folder)
    kinds = archive.truth().kinds(0, len(archive.ids))
    pairs = [(int(a), int(b)) for a, b in zip(*np.nonzero(kinds == MATCH), strict=True) if a < b]
    return archive, pairs


def read_features(paths: Sequence[Path], *, rows: Iterable[int]) -> dict[int, LocalFeatures]:
    """Find the local features of some pictures of an archive, by their numbers."""
    wanted = sorted(rows)
    found = map_pairs(lambda row: local_features(read_picture(paths[row])), wanted)
    return dict(zip(wanted, found, strict=True))


def map_pairs(make: Callable[[Task], Result | None], tasks: Iterable[Task]) -> Iterator[Result]:
    """Make something of each task through two threads, in order; None is left out."""
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(_THREADS) as pool:
        for each in pool.map(make, tasks):
            if each is not None:
                yield each
