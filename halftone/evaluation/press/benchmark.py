"""Run the press benchmark: print pictures anew in known ways, and search for them.

    pictures   = read_collection(folder)
    plan       = plan_of(pictures, …)            which are printed, which are not in the gallery
    benchmark  = run(plan, versions=…, …)        every transformation and strength, every system
    benchmark.figures(…)                         see `press_figures`

A seed decides everything: a source's printing depends on the seed, the picture's bytes and the
transformation, and on no other source.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from halftone.core import errors
from halftone.evaluation.press import gallery as press_gallery
from halftone.evaluation.press.figures import Outcome, figures, threshold_at
from halftone.evaluation.press.systems import (
    WAYS,
    Descriptor,
    Pdq,
    PerceptualHash,
    PressQuery,
    Verified,
    hash_input,
)
from halftone.evaluation.press.transforms import TRANSFORMATIONS, Printed, move, seed_of, transform
from halftone.matching.fingerprint import fingerprint
from halftone.matching.offline import Gallery
from halftone.matching.probability import Calibration
from halftone.vision import threads

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from PIL import Image

    from halftone.evaluation.press.gallery import PictureSet
    from halftone.evaluation.press.systems import Ranking, System
    from halftone.imaging.orientations import Orientation
    from halftone.matching.overlaps import Overlap
    from halftone.vision.descriptor_model import DescriptorModel

WITHOUT_MATCH: Final = 0.3
"""The share of the queries whose picture is not in the gallery."""
DISTRACTORS: Final = 10
"""The fewest pictures in the gallery for each one that is searched for."""
_COMPANIONS: Final = 3
_SHOWN: Final = 5
_THREADS: Final = min(8, os.cpu_count() or 1)
_FEWEST: Final = 2


@dataclass(frozen=True, kw_only=True)
class Version:
    """A loaded model version and the hash of its weights."""

    name: str
    model: DescriptorModel
    weights: str


@dataclass(frozen=True, kw_only=True)
class PressPlan:
    """The pictures that a benchmark prints, in which ways, and the gallery that it searches.

    Attributes:
        pictures: All pictures.
        positives: Rows that are printed and whose pictures are in the gallery.
        others: Rows that are printed and whose pictures are not in the gallery.
        gallery: Rows of the gallery.
        conditions: Transformations and strengths, in their order.
        seed: Determines all random choices.
    """

    pictures: PictureSet
    positives: tuple[int, ...]
    others: tuple[int, ...]
    gallery: tuple[int, ...]
    conditions: tuple[tuple[str, int], ...]
    seed: int

    @property
    def queries(self) -> int:
        """Return the number of queries."""
        return len(self.conditions) * (len(self.positives) + len(self.others))

    def print_picture(self, row: int, *, transformation: str, strength: int) -> Printed:
        """Print the picture at `row` anew; every run gives the same printing.

        Args:
            row: The picture.
            transformation: The name of the transformation.
            strength: The number of the strength, from 1.
        """
        digest = self.pictures.digests[row]
        seed = seed_of(self.seed, digest, transformation)
        # Only pictures that are not in the gallery may stand beside the printed one.
        away = [other for other in self.others if other != row]
        generator = np.random.default_rng(seed)
        count = min(_COMPANIONS, len(away))
        beside = generator.permutation(len(away))[:count]
        return transform(
            self.pictures.picture(row),
            transformation=TRANSFORMATIONS[transformation],
            strength=strength,
            seed=seed,
            companions=[self.pictures.picture(away[place]) for place in beside],
        )


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """The outcomes of a plan that was run.

    Attributes:
        plan: The plan that was run.
        outcomes: Outcomes by system, in the order of the conditions and then of the sources.
        thresholds: For each system, the score from which it calls two pictures the same.
    """

    plan: PressPlan
    outcomes: Mapping[str, Sequence[Outcome]]
    thresholds: Mapping[str, float] = field(default_factory=dict)

    def of(
        self, system: str, *, transformation: str | None = None, strength: int | None = None
    ) -> list[Outcome]:
        """Return the outcomes of one system.

        Args:
            system: The name of the system.
            transformation: Only outcomes of this transformation; None for all.
            strength: Only outcomes of this strength; None for all.
        """
        return [
            one
            for one in self.outcomes[system]
            if transformation in (None, one.transformation) and strength in (None, one.strength)
        ]

    def figures(
        self, system: str, *, transformation: str | None = None, strength: int | None = None
    ) -> dict[str, Any]:
        """Return the figures of one system; see `press.figures.figures`.

        Args:
            system: As in `of`.
            transformation: As in `of`.
            strength: As in `of`.
        """
        chosen = self.of(system, transformation=transformation, strength=strength)
        return figures(chosen, threshold=self.thresholds[system], seed=self.plan.seed)


def conditions_of(
    only: Sequence[str] = (), *, strengths: Sequence[int] = ()
) -> tuple[tuple[str, int], ...]:
    """Return pairs of a transformation's name and the number of a strength.

    Args:
        only: Only transformations with these names; empty for all.
        strengths: Only strengths with these numbers; empty for all.

    Raises:
        errors.InvalidArgument: There is no such transformation, or no condition is left.
    """
    unknown = sorted(set(only) - set(TRANSFORMATIONS))
    if unknown:
        raise errors.InvalidArgument(
            f"There is no transformation {unknown[0]!r}; there are {', '.join(TRANSFORMATIONS)}.",
            field="only",
        )
    conditions = tuple(
        (name, strength)
        for name, entry in TRANSFORMATIONS.items()
        if not only or name in only
        for strength in range(1, len(entry.levels) + 1)
        if not strengths or strength in strengths
    )
    if not conditions:
        raise errors.InvalidArgument(
            "None of these transformations has such a strength.", field="strengths"
        )
    return conditions


def plan_of(
    pictures: PictureSet,
    *,
    sources: int,
    conditions: Sequence[tuple[str, int]],
    seed: int = 0,
) -> PressPlan:
    """Draw the pictures to print, each of another group. Three in ten have no match in the gallery.

    If a picture has no match, the other printings of it are not in the gallery either.

    Args:
        pictures: All pictures.
        sources: The number of pictures to print. Fewer are drawn if the gallery would not have ten
            other pictures for each one that is searched for.
        conditions: The transformations and strengths, from `conditions_of`.
        seed: Determines all random choices.

    Raises:
        errors.InvalidArgument: There are too few pictures.
    """
    generator = np.random.default_rng(seed_of(seed, "sources"))
    order = generator.permutation(np.flatnonzero(pictures.sources))
    _, first = np.unique(pictures.groups[order], return_index=True)
    alone = order[np.sort(first)]  # one of each group
    total = len(pictures.paths)
    count = min(sources, len(alone))
    while count >= _FEWEST:
        away = max(1, round(count * WITHOUT_MATCH))
        others, positives = alone[:away], alone[away:count]
        gallery = np.flatnonzero(~np.isin(pictures.groups, pictures.groups[others]))
        if len(gallery) >= (DISTRACTORS + 1) * len(positives):
            return PressPlan(
                pictures=pictures,
                positives=tuple(int(row) for row in positives),
                others=tuple(int(row) for row in others),
                gallery=tuple(int(row) for row in gallery),
                conditions=tuple(conditions),
                seed=seed,
            )
        count -= 1
    raise errors.InvalidArgument(
        f"{pictures.name} has {total:,} pictures: too few for {DISTRACTORS} others beside one "
        "that is searched for. Add pictures with --distractors.",
        field="press",
    )


def run(
    plan: PressPlan,
    *,
    versions: Sequence[Version],
    cache: Path | None = None,
    note: Callable[[str, int], Callable[[int], None]] = lambda _text, _total: lambda _: None,
) -> Benchmark:
    """Print, search and judge everything that a plan names.

    Args:
        plan: The pictures, conditions and gallery.
        versions: At least one model version.
        cache: The folder in which the pictures' fingerprints and descriptors are kept; None keeps
            none.
        note: Called at the beginning of a stage with its name and length; returns a function that
            takes the progress.
    """
    with threads.one_each():
        pictures, rows = plan.pictures, list(plan.gallery)
        total = len(pictures.paths)
        found = press_gallery.fingerprints(
            pictures, cache=cache, progress=note("features and hashes of the pictures", total)
        )
        prints = [found[row] for row in rows]
        systems: list[System] = [PerceptualHash(_hash_inputs(plan)), Pdq(prints)]
        for version in versions:
            every = press_gallery.descriptors(
                version.model,
                pictures=pictures,
                weights=version.weights,
                cache=cache,
                progress=note(f"{version.name} embeds the pictures", total),
            )
            own = version.model.spec.calibration
            calibration = Calibration.default() if own is None else Calibration.from_dict(dict(own))
            gallery = Gallery(every[rows], prints, calibration=calibration, threads=1)
            systems.append(Descriptor(version.name, gallery=every[rows]))
            systems.append(Verified(version.name, gallery=gallery))
        outcomes = _outcomes(
            plan, systems=systems, versions=versions, progress=note("queries", plan.queries)
        )
        thresholds = {
            system.name: threshold_at(outcomes[system.name])
            if system.threshold is None
            else system.threshold
            for system in systems
        }
        return Benchmark(plan=plan, outcomes=outcomes, thresholds=thresholds)


def corner_error(overlap: Overlap, *, printed: Printed, size: tuple[int, int]) -> float:
    """Return how far a verified overlap is from the truth.

    Args:
        overlap: The overlap of the printed picture with its source.
        printed: The printed picture, which knows the true place.
        size: Width and height of the source, in pixels.

    Returns:
        Mean distance of the region's corners in the source from where the overlap puts them, as a
        share of the source's longer side.
    """
    truth = move(printed.region, matrix=printed.to_source)
    said = move(printed.region, matrix=np.asarray(overlap.homography, dtype=np.float64))
    return float(np.linalg.norm(truth - said, axis=1).mean() / max(size))


def _outcomes(
    plan: PressPlan,
    *,
    systems: Sequence[System],
    versions: Sequence[Version],
    progress: Callable[[int], None],
) -> dict[str, list[Outcome]]:
    place = {row: number for number, row in enumerate(plan.gallery)}
    groups = plan.pictures.groups
    sources = (*plan.positives, *plan.others)

    def answer(task: tuple[str, int, int]) -> list[Outcome]:
        name, strength, row = task
        printed = plan.print_picture(row, transformation=name, strength=strength)
        same = [place[int(one)] for one in np.flatnonzero(groups == groups[row]) if one in place]
        query = PressQuery(
            image=printed.image,
            fingerprint=fingerprint(printed.image),
            views={version.name: _views(version.model, printed.image) for version in versions},
            truth=place.get(row),
            without=[one for one in same if one != place.get(row)],
        )
        return [
            _outcome(system.search(query), plan=plan, printed=printed, task=task, query=query)
            for system in systems
        ]

    tasks = [(name, strength, row) for name, strength in plan.conditions for row in sources]
    outcomes: dict[str, list[Outcome]] = {system.name: [] for system in systems}
    with ThreadPoolExecutor(_THREADS) as pool:
        for answers in pool.map(answer, tasks):
            for system, found in zip(systems, answers, strict=True):
                outcomes[system.name].append(found)
            progress(1)
    return outcomes


def _outcome(
    ranking: Ranking,
    *,
    plan: PressPlan,
    printed: Printed,
    task: tuple[str, int, int],
    query: PressQuery,
) -> Outcome:
    name, strength, row = task
    truth = query.truth
    right = ranking.rows == (-1 if truth is None else truth)
    at = int(np.flatnonzero(right)[0]) if right.any() else -1
    inliers = ranking.inliers
    error = float("nan")
    if ranking.overlap is not None:
        # The fingerprint's pixels are those of the picture in its full size.
        size = press_gallery.full_size(plan.pictures.paths[row])
        seen = plan.pictures.picture(row).size
        scale = np.diag([size[0] / seen[0], size[1] / seen[1], 1.0])
        aligned = Printed(
            image=printed.image, to_source=scale @ printed.to_source, region=printed.region
        )
        error = corner_error(ranking.overlap, printed=aligned, size=size)
    return Outcome(
        transformation=name,
        strength=strength,
        source=row,
        positive=truth is not None,
        rank=at + 1,
        score=float(ranking.scores[at]) if at >= 0 else -np.inf,
        false_scores=ranking.scores[~right],
        rows=tuple(plan.gallery[one] for one in ranking.rows[:_SHOWN]),
        scores=tuple(float(score) for score in ranking.scores[:_SHOWN]),
        inliers=() if inliers is None else tuple(int(one) for one in inliers[:_SHOWN]),
        own_inliers=-1 if inliers is None or at < 0 else int(inliers[at]),
        corner_error=error,
    )


def _views(model: DescriptorModel, image: Image.Image) -> dict[Orientation, NDArray[np.float32]]:
    """Compute a picture's descriptors in all orientations."""
    pixels = model.spec.preprocessing(image)
    # Turning the square by quarters turns the picture by quarters.
    turned = model.embed(np.stack([way.apply(pixels) for way in WAYS]))
    return dict(zip(WAYS, turned, strict=True))


def _hash_inputs(plan: PressPlan) -> list[NDArray[np.float32]]:
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(lambda row: hash_input(plan.pictures.picture(row)), plan.gallery))
