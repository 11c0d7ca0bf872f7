"""Collect pairs with their evidence, on which probabilities are fitted and judged.

The pairs are the ones that searches compare: every candidate of every query that was compared by
local features, so that chance matches occur as often as a search meets them. For an archive without
labels, printings of its pictures are simulated, and a part of the queries has no match in the
gallery.

Pictures that share furniture (frames, mastheads, boards) are among the false pairs: drawn ones, and
those of archives whose pictures all differ.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from PIL import Image
from threadpoolctl import threadpool_limits

from halftone.core import errors
from halftone.core.settings import read_max_pixels
from halftone.evaluation.calibration import CalibrationSample, fit
from halftone.evaluation.corrections import correct
from halftone.evaluation.pairs import compare_pictures
from halftone.imaging import images
from halftone.imaging.orientations import UPRIGHT, orientations
from halftone.matching.fingerprint import archive_fingerprint, fingerprint
from halftone.matching.offline import Gallery
from halftone.matching.probability import FEATURES, evidence_features
from halftone.vision.furnishing import KINDS, furnish_pair
from halftone.vision.reprinting import reprint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from halftone.evaluation.truth import Truth
    from halftone.matching.fingerprint import Fingerprint
    from halftone.matching.probability import Calibration, Evidence
    from halftone.vision.descriptor_model import DescriptorModel

    Floats = NDArray[np.float64]

_WITHOUT_MATCH: Final = 0.3
_AREAS: Final = (1.0, 1.0, 1.0, 0.8, 0.6, 0.4, 0.25, 0.15)
"""Shares of a picture that simulated queries keep."""
_LARGEST_GALLERY: Final = 1_200
"""The most pictures of a training run that are searched. Reading 1,200 takes a core 90 seconds."""
_MOST_QUERIES: Final = 400
_FEWEST_PICTURES: Final = 200
_SIDE: Final = 640  # of a simulated scan, in pixels
_PICTURES_PER_PAIR: Final = 12
_HARD_ARCHIVE: Final = 0.5
"""The weight of a pair of an archive whose pictures share furniture. Each picture of a book finds
the others, so it has far more such pairs than an archive of many journals."""
_SHEET_CROP: Final = 0.03  # of a side: sheets of an archive are whole
_THREADS: Final = 2


def fit_held_out(
    model: DescriptorModel, *, paths: Sequence[Path], seed: int
) -> tuple[Calibration | None, dict[str, Any]]:
    """Fit a calibration on simulated printings of pictures that a model was not trained on.

    Args:
        model: The model as it is published.
        paths: The pictures' files.
        seed: Seed of the choice of pictures, the printings and the folds.

    Returns:
        The calibration and the figures of `fit`, with what they were measured on under `on`; or
        None and the reason under `why`.
    """
    order = np.random.default_rng(seed).permutation(len(paths))[:_LARGEST_GALLERY]
    chosen = [paths[int(at)] for at in order]
    if len(chosen) < _FEWEST_PICTURES:
        why = (
            f"{len(chosen)} pictures were held out; to fit probabilities takes "
            f"{_FEWEST_PICTURES}. Those of the parent hold, or the ones that do without "
            "descriptors; `halftone models calibrate` fits them on a labelled archive."
        )
        return None, {"why": why}
    queries = min(_MOST_QUERIES, len(chosen) // 2)
    try:
        sample = sample_simulated(model, paths=chosen, queries=queries, seed=seed)
        sample += sample_furniture(model, paths=chosen, pairs=queries, seed=seed)
        calibration, judged = fit(sample, seed=seed)
    except (errors.HalftoneError, OSError) as error:
        # A version without probabilities is worth more than none.
        return None, {"why": str(error)}
    judged["on"] = (
        f"{queries:,} simulated printings, which search among {len(chosen):,} pictures that were "
        f"held out of training, and {queries:,} pairs of them in drawn furniture"
    )
    return calibration, judged


def sample_archive(
    *,
    descriptors: NDArray[np.float32],
    views: NDArray[np.float32],
    paths: Sequence[Path],
    ids: Sequence[str],
    truth: Truth,
    corrections: Mapping[frozenset[str], bool] = MappingProxyType({}),
    hard: bool = False,
    progress: Callable[[int], None] = lambda _: None,
) -> CalibrationSample:
    """Let every picture of a labelled archive search the others; return the candidates.

    Pairs that count neither way in `truth` are left out.

    Args:
        descriptors: float32 [N, D], one row for each picture.
        views: float32 [8, N, D], in the order of `orientations`.
        paths: The N pictures' files.
        ids: Ids of the N pictures, as `corrections` names them.
        truth: Which of the N pictures match.
        corrections: Pairs whose label is wrong; see `halftone.evaluation.corrections`.
        hard: Whether the archive was chosen because its pictures share furniture.
        progress: Called with a number of pictures that were read or searched; the numbers add up to
            2 N.
    """
    gallery = Gallery(descriptors, _fingerprints(paths, progress=progress), threads=_THREADS)
    ways = orientations(mirrored=True, rotated=True)
    # A picture outside every group is a group of its own.
    alone = truth.groups.max() + 1 + np.arange(len(paths))
    groups = np.where(truth.groups >= 0, truth.groups, alone)

    def queries() -> Iterator[tuple[dict[Any, NDArray[np.float32]], Fingerprint, list[int]]]:
        for row, path in enumerate(paths):
            views_of = {way: views[at, row] for at, way in enumerate(ways)}
            ignored = np.flatnonzero(truth.kinds(row, row + 1)[0] == 2)  # noqa: PLR2004 - IGNORED
            yield views_of, fingerprint(read_picture(path)), ignored.tolist()

    pairs: list[tuple[Evidence, bool, int]] = []
    for row, found in enumerate(gallery.search_all(queries())):
        compared = [each for each in found if each.evidence.verification is not None]
        indices = np.array([each.index for each in compared], dtype=np.int64)
        matches = truth.are_matches(np.full(len(indices), row), indices)
        for each, match in zip(compared, matches, strict=True):
            same = correct(ids[row], ids[each.index], label=bool(match), by=corrections)
            pairs.append((each.evidence, same, int(groups[row])))
        progress(1)
    weights = np.full(len(pairs), _HARD_ARCHIVE if hard else 1.0)
    return _make_sample(pairs, hard=hard, weights=weights)


def sample_simulated(
    model: DescriptorModel,
    *,
    paths: Sequence[Path],
    queries: int,
    corrections: Mapping[frozenset[str], bool] = MappingProxyType({}),
    seed: int = 0,
    progress: Callable[[int], None] = lambda _: None,
) -> CalibrationSample:
    """Let simulated printings search for their pictures; three in ten have no match.

    Args:
        model: The model that describes pictures.
        paths: Files of different pictures. Some may show the same picture all the same, so their
            number should not be much larger than the number of candidates of all queries.
        queries: The number of printings.
        corrections: Pairs of files that show the same picture; see `read_corrections`.
        seed: The same seed gives the same printings.
        progress: Called with a number of pictures that were read or searched.
    """
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(paths))
    queries = min(queries, len(paths) // 2)
    sources = order[:queries]
    absent = set(sources[: round(_WITHOUT_MATCH * queries)].tolist())
    kept = [int(row) for row in order if int(row) not in absent]
    place = {row: at for at, row in enumerate(kept)}
    shown = [paths[row] for row in kept]
    descriptors = np.concatenate(
        [
            model.embed_images([read_picture(path) for path in shown[start : start + 64]])
            for start in range(0, len(shown), 64)
        ]
    )
    gallery = Gallery(descriptors, _fingerprints(shown, progress=progress), threads=_THREADS)
    ways = orientations(mirrored=True, rotated=True)

    def printings() -> Iterator[tuple[dict[Any, NDArray[np.float32]], Fingerprint, list[int]]]:
        for row in sources.tolist():
            picture = print_part(read_picture(paths[row]), generator=generator)
            pixels = np.asarray(picture)
            turned = [Image.fromarray(way.apply(pixels)) for way in ways]
            yield dict(zip(ways, model.embed_images(turned), strict=True)), fingerprint(picture), []

    pairs: list[tuple[Evidence, bool, int]] = []
    for source, found in zip(sources.tolist(), gallery.search_all(printings()), strict=True):
        name = paths[source].stem
        pairs += [
            (
                each.evidence,
                correct(
                    name,
                    shown[each.index].stem,
                    label=place.get(source) == each.index,
                    by=corrections,
                ),
                source,
            )
            for each in found
            if each.evidence.verification is not None
        ]
        progress(1)
    return _make_sample(pairs)


def sample_furniture(
    model: DescriptorModel,
    *,
    paths: Sequence[Path],
    pairs: int,
    seed: int = 0,
    progress: Callable[[int], None] = lambda _: None,
) -> CalibrationSample:
    """Print pictures in drawn furniture, and compare pairs of the sheets.

    Pairs of one kind of furniture are a group, so that a kind is judged by a fit on other kinds,
    which have other pictures.

    Args:
        model: The model that describes pictures.
        paths: Files of different pictures.
        pairs: The number of pairs; kinds and cases take turns.
        seed: The same seed gives the same pairs.
        progress: Called with a number of pairs that were compared.
    """
    plan = [(kind, case) for kind, cases in sorted(KINDS.items()) for case in cases]
    order = np.random.default_rng(seed).permutation(len(paths))
    kinds = sorted(KINDS)
    shelves = {kind: order[at :: len(kinds)] for at, kind in enumerate(kinds)}

    def compare(number: int) -> tuple[Evidence, bool, int]:
        kind, case = plan[number % len(plan)]
        generator = np.random.default_rng([seed, number])
        chosen = generator.permutation(shelves[kind])[:_PICTURES_PER_PAIR]
        pair = furnish_pair(
            [read_picture(paths[int(row)]) for row in chosen],
            kind=kind,
            case=case,
            seed=int(generator.integers(2**31)),
        )
        sheets = [
            reprint(sheet, seed=int(generator.integers(2**31)), max_crop=_SHEET_CROP, side=_SIDE)
            for sheet in (pair.first, pair.second)
        ]
        first, second = model.embed_images(sheets)
        found = compare_pictures(
            fingerprint(sheets[0]),
            archive_fingerprint(sheets[1]),
            views={UPRIGHT: first},
            descriptor=second,
        )
        progress(1)
        return found.evidence, pair.same, kinds.index(kind)

    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(_THREADS) as pool:
        found = list(pool.map(compare, range(pairs)))
    return _make_sample(found, hard=True)


def print_part(picture: Image.Image, *, generator: np.random.Generator) -> Image.Image:
    """Print a part of a picture anew, perhaps mirrored or turned."""
    area = float(generator.choice(_AREAS))
    width, height = (max(16, round(side * area**0.5)) for side in picture.size)
    left = int(generator.integers(max(picture.width - width, 0) + 1))
    top = int(generator.integers(max(picture.height - height, 0) + 1))
    part = picture.crop((left, top, left + width, top + height))
    printed = reprint(
        part,
        seed=int(generator.integers(2**31)),
        mirror=bool(generator.random() < 0.1),  # noqa: PLR2004 - one in ten
        side=_SIDE,
    )
    turn = int(generator.choice([0, 0, 0, 0, 0, 0, 0, 1, 2, 3]))
    return Image.fromarray(np.ascontiguousarray(np.rot90(np.asarray(printed), k=turn)))


def _fingerprints(paths: Sequence[Path], *, progress: Callable[[int], None]) -> list[Fingerprint]:
    def make(path: Path) -> Fingerprint:
        return archive_fingerprint(read_picture(path))

    readable = []
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(_THREADS) as pool:
        for each in pool.map(make, paths):
            readable.append(each)
            progress(1)
    return readable


def read_picture(path: Path) -> Image.Image:
    """Read a picture as large as features and sheets need it.

    Raises:
        errors.ImageRejected: The file cannot be used; see `images.decode`.
    """
    return images.decode(
        path.read_bytes(), max_pixels=read_max_pixels(), target=1024, luminance=True
    )


def _make_sample(
    pairs: Sequence[tuple[Evidence, bool, int]],
    *,
    hard: bool = False,
    weights: Floats | None = None,
) -> CalibrationSample:
    """Make a sample of pairs: the evidence, whether they match, and their group."""

    def stack(rows: Iterable[Evidence]) -> Floats:
        return np.array([evidence_features(row) for row in rows]).reshape(-1, len(FEATURES))

    return CalibrationSample(
        features=stack(evidence for evidence, _, _ in pairs),
        unverified=stack(replace(evidence, verification=None) for evidence, _, _ in pairs),
        labels=np.array([match for _, match, _ in pairs], dtype=np.bool_),
        groups=np.array([group for _, _, group in pairs], dtype=np.int64),
        hard=np.full(len(pairs), hard, dtype=np.bool_),
        weights=np.ones(len(pairs)) if weights is None else weights,
    )
