"""Run the furniture benchmark: lay pictures into furniture, print pairs of sheets, compare them.

    pictures   = press.gallery.read_collection(folder)
    plan       = plan_of(pictures, conditions=conditions_of(…), …)
    outcomes   = run(plan, versions=…)           for each version, an outcome for each pair

A seed decides everything: a pair depends on the seed, the kind, the number of the pair, and the
pictures' bytes.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from halftone.core import errors
from halftone.evaluation.furniture.conditions import print_sheet
from halftone.evaluation.furniture.figures import Outcome
from halftone.evaluation.furniture.kinds import CASES, KINDS, STRENGTHS
from halftone.evaluation.furniture.sheets import MOST_PICTURES, make_pair
from halftone.evaluation.pairs import compare_pictures
from halftone.evaluation.press.transforms import seed_of
from halftone.imaging.orientations import orientations
from halftone.matching.fingerprint import archive_fingerprint, fingerprint
from halftone.matching.probability import Calibration
from halftone.vision import threads

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from PIL import Image

    from halftone.evaluation.press.benchmark import Version
    from halftone.evaluation.press.gallery import PictureSet

_WAYS: Final = orientations(mirrored=True, rotated=True)
_THREADS: Final = min(8, os.cpu_count() or 1)


@dataclass(frozen=True, order=True)
class Condition:
    """A kind of furniture, a case and a strength."""

    kind: str
    case: str
    strength: int


@dataclass(frozen=True, kw_only=True)
class FurniturePlan:
    """The pairs that a benchmark makes.

    Attributes:
        pictures: All pictures.
        rows: One picture of each group; no two of them are the same picture.
        conditions: The conditions, in their order.
        sources: The number of pairs of each condition.
        seed: Determines all random choices.
    """

    pictures: PictureSet
    rows: tuple[int, ...]
    conditions: tuple[Condition, ...]
    sources: int
    seed: int

    @property
    def pairs(self) -> int:
        """Return the number of pairs."""
        return len(self.conditions) * self.sources

    def rows_of(self, condition: Condition, *, number: int) -> tuple[int, ...]:
        """Return the pictures of a pair, the first half for its first sheet."""
        several = "shared" in KINDS[condition.kind].cases
        count = 2 * MOST_PICTURES if several else 2
        generator = np.random.default_rng(self._seed_of(condition, number=number))
        drawn = generator.permutation(len(self.rows))[:count]
        return tuple(self.rows[place] for place in drawn)

    def print_pair(self, condition: Condition, *, number: int) -> tuple[Image.Image, Image.Image]:
        """Print the two sheets of a pair; every run gives the same scans, in mode L.

        Args:
            condition: The condition.
            number: The number of the pair, from 0.
        """
        rows = self.rows_of(condition, number=number)
        digests = [self.pictures.digests[row] for row in rows]
        seed = seed_of(self._seed_of(condition, number=number), *digests)
        pair = make_pair(
            condition.kind,
            case=condition.case,
            strength=condition.strength,
            number=number,
            seed=seed,
            pictures=[self.pictures.picture(row) for row in rows],
        )
        screened = KINDS[condition.kind].screened
        return (
            print_sheet(pair.first, seed=seed_of(seed, "first"), screened=screened),
            print_sheet(pair.second, seed=seed_of(seed, "second"), screened=screened),
        )

    def _seed_of(self, condition: Condition, *, number: int) -> int:
        # Cases and strengths share pictures and furniture, so that only they differ.
        return seed_of(self.seed, condition.kind, number)


def conditions_of(
    only: Sequence[str] = (), *, strengths: Sequence[int] = ()
) -> tuple[Condition, ...]:
    """Return the conditions with these names and strengths.

    Args:
        only: Names of kinds and of cases. Where kinds are named, only those; where cases are named,
            only those.
        strengths: Only these strengths; empty for all.

    Raises:
        errors.InvalidArgument: There is no such kind, case or strength, or no condition is left.
    """
    unknown = sorted(set(only) - set(KINDS) - set(CASES))
    if unknown:
        raise errors.InvalidArgument(
            f"There is no furniture and no case {unknown[0]!r}; there are {', '.join(KINDS)}, and "
            f"the cases {', '.join(CASES)}.",
            field="only",
        )
    kinds = [name for name in KINDS if name in only] or list(KINDS)
    cases = [name for name in CASES if name in only] or list(CASES)
    conditions = tuple(
        Condition(kind, case, strength)
        for kind in kinds
        for case in cases
        if case in KINDS[kind].cases
        for strength in STRENGTHS
        if not strengths or strength in strengths
    )
    if not conditions:
        raise errors.InvalidArgument(
            f"None of this furniture has such a case, or a strength is not among "
            f"{STRENGTHS[0]} to {STRENGTHS[-1]}.",
            field="only",
        )
    return conditions


def plan_of(
    pictures: PictureSet, *, sources: int, conditions: Sequence[Condition], seed: int = 0
) -> FurniturePlan:
    """Plan the pairs of a benchmark.

    Args:
        pictures: All pictures.
        sources: The number of pairs of each condition.
        conditions: The conditions, from `conditions_of`.
        seed: Determines all random choices.

    Raises:
        errors.InvalidArgument: There are too few pictures that are not the same.
    """
    _, first = np.unique(pictures.groups, return_index=True)
    several = any("shared" in KINDS[condition.kind].cases for condition in conditions)
    needed = 2 * MOST_PICTURES if several else 2
    if len(first) < needed:
        raise errors.InvalidArgument(
            f"{pictures.name} has {len(first):,} different pictures; this needs {needed}.",
            field="furniture",
        )
    return FurniturePlan(
        pictures=pictures,
        rows=tuple(int(row) for row in np.sort(first)),
        conditions=tuple(conditions),
        sources=sources,
        seed=seed,
    )


def run(
    plan: FurniturePlan,
    *,
    versions: Sequence[Version],
    progress: Callable[[int], None] = lambda _: None,
) -> dict[str, list[Outcome]]:
    """Print and compare all pairs of a plan.

    Args:
        plan: The pairs.
        versions: At least one model version.
        progress: Called with 1 after each pair.

    Returns:
        By the name of a version its outcomes, in the order of the conditions and of the pairs.
    """
    calibrations = {}
    for version in versions:
        own = version.model.spec.calibration
        calibrations[version.name] = (
            Calibration.default() if own is None else Calibration.from_dict(dict(own))
        )

    def answer(task: tuple[Condition, int]) -> list[Outcome]:
        condition, number = task
        query, candidate = plan.print_pair(condition, number=number)
        ours, theirs = fingerprint(query), archive_fingerprint(candidate)
        answers = []
        for version in versions:
            prepare = version.model.spec.preprocessing
            pixels = prepare(query)
            # Turning the square by quarters turns the picture by quarters.
            turned = [way.apply(pixels) for way in _WAYS]
            *views, descriptor = version.model.embed(np.stack([*turned, prepare(candidate)]))
            found = compare_pictures(
                ours,
                theirs,
                calibration=calibrations[version.name],
                views=dict(zip(_WAYS, views, strict=True)),
                descriptor=descriptor,
            )
            verification = found.evidence.verification
            overlaps = verification.overlaps if verification else ()
            answers.append(
                Outcome(
                    kind=condition.kind,
                    case=condition.case,
                    strength=condition.strength,
                    number=number,
                    probability=found.probability,
                    relation=found.relation.value,
                    inliers=overlaps[0].inliers if overlaps else 0,
                    seconds=found.seconds,
                )
            )
        return answers

    tasks = [(condition, number) for condition in plan.conditions for number in range(plan.sources)]
    outcomes: dict[str, list[Outcome]] = {version.name: [] for version in versions}
    with threads.one_each(), ThreadPoolExecutor(_THREADS) as pool:
        for answers in pool.map(answer, tasks):
            for version, outcome in zip(versions, answers, strict=True):
                outcomes[version.name].append(outcome)
            progress(1)
    return outcomes
