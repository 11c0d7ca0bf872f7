"""Compares two model versions on the archive and decides whether the new one finds less.

There are two measures. The first searches by sampled images in both collections and takes the mean
share of the first ten hits that they have in common. The second needs images that are known to show
the same picture, by their labels or because the caller says so. Both versions are judged on these
images alone, by their stored vectors, with the definitions of `halftone.evaluation.metrics`.
"""

from __future__ import annotations

import asyncio
import hashlib
import heapq
import math
from typing import TYPE_CHECKING, Final

import numpy as np

from halftone.archive import records
from halftone.core import errors
from halftone.core.batches import batched
from halftone.evaluation import metrics
from halftone.services.search.store.port import Filter, Ids, Query
from halftone.v1 import models_pb2

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from halftone.services.search.promotion.background import Background
    from halftone.services.search.store.port import Collection, Stored

GROUP: Final = "group"
"""The label whose values group images that show the same picture."""
MAX_LABELLED: Final = 1_000
"""The most labelled images that are measured. Whole groups are drawn if there are more."""
MAX_FAILED: Final = 0.01
"""The largest share of images that a version may fail to embed."""

_SAMPLED: Final = 200
_TOP: Final = 10
_MIN_QUERIES: Final = 20
_TOLERATED: Final = 0.01
_ONE_SIDED_95: Final = 1.645
_MIN_AGREEMENT: Final = 0.1
_FOLDS: Final = 10


class ComparisonSample:
    """A sample of images to search by, and one of labelled images.

    Neither depends on the order of the records.
    """

    def __init__(self, *, seed: str) -> None:
        """Create an empty sample. The same seed draws the same images from the same archive."""
        self._seed = seed.encode()
        self._lowest: list[tuple[int, uuid.UUID]] = []
        self._groups: dict[str, set[uuid.UUID]] = {}

    def look(self, page: Sequence[Stored]) -> None:
        """Consider a page of records for the sample. A record may come twice."""
        for stored in page:
            entry = (-self._rank(stored.id.bytes), stored.id)
            if len(self._lowest) < _SAMPLED:
                if entry not in self._lowest:
                    heapq.heappush(self._lowest, entry)
            elif entry > self._lowest[0] and entry not in self._lowest:
                heapq.heapreplace(self._lowest, entry)
            for group in stored.payload.get("labels", {}).get(GROUP, ())[:1]:
                self._groups.setdefault(group, set()).add(stored.id)

    def _rank(self, key: bytes) -> int:
        return int.from_bytes(hashlib.blake2b(key + self._seed, digest_size=8).digest(), "big")

    def queries(self) -> list[uuid.UUID]:
        """Return the images to search by, at most 200."""
        return sorted(point_id for _, point_id in self._lowest)

    def groups(self) -> list[list[uuid.UUID]]:
        """Return groups of labelled images, at most 1,000 images together."""
        return self.draw([sorted(members) for members in self._groups.values()])

    def draw(self, groups: Sequence[Sequence[uuid.UUID]]) -> list[list[uuid.UUID]]:
        """Draw whole groups of two or more images, at most 1,000 images together."""
        ordered = sorted(
            (list(group) for group in groups if len(group) > 1),
            key=lambda group: self._rank(group[0].bytes),
        )
        chosen, count = [], 0
        for group in ordered:
            if count + len(group) <= MAX_LABELLED:
                chosen.append(group)
                count += len(group)
        return chosen


async def compare(
    sample: ComparisonSample,
    *,
    given: Callable[[], Sequence[Sequence[str]]],
    old: Collection,
    new: Collection,
    work: Background,
    failed: int,
    total: int,
) -> models_pb2.Comparison:
    """Compare two versions by their collections while searches go on.

    Args:
        sample: The images to search by, and labelled images.
        given: Returns the groups of image names that the caller gave; the images of a group show
            the same picture. If there are any, they are judged instead of the labelled images.
            Called in a thread.
        old: The collection of the active version.
        new: The collection of the version to judge.
        work: Runs the calls beside searches, and ends the comparison if asked to.
        failed: The number of images that the new version could not embed.
        total: The number of images.

    Returns:
        The figures of both versions. `refusal` says why the new version is worse. It is empty if
        the version is accepted.
    """

    def draw() -> list[list[uuid.UUID]]:
        named = [[records.parse_name(name).point_id for name in group] for group in given()]
        return sample.draw(named) or sample.groups()

    sampled, share = await measure_agreement(sample.queries(), old=old, new=new, work=work)
    work.check()
    comparison = models_pb2.Comparison(sampled_queries=sampled, top10_agreement=share)
    groups, (before, after) = await read_vectors(
        await asyncio.to_thread(draw), collections=(old, new), work=work
    )
    await asyncio.to_thread(
        judge, comparison, groups=groups, old=before, new=after, failed=failed, total=total
    )
    return comparison


async def measure_agreement(
    sample: Sequence[uuid.UUID],
    *,
    old: Collection,
    new: Collection,
    work: Background,
) -> tuple[int, float]:
    """Search by images in both collections and compare the first ten hits.

    Images that are not in both collections are left out, and images without any other image to
    find.

    Args:
        sample: The images to search by.
        old: The collection of the active version.
        new: The collection of the version to judge.
        work: Runs the calls beside searches, and ends the comparison if asked to.

    Returns:
        The number of images that were searched by, and the mean share of hits in common, 0 to 1.
    """

    def overlap(point_id: uuid.UUID) -> float | None:
        lists = []
        for collection in (old, new):
            stored = collection.retrieve([point_id], vectors=True).get(point_id)
            if stored is None or stored.vector is None:
                return None
            rest = Filter(must_not=(Ids((point_id,)),))
            (hits,) = collection.query([Query(vector=stored.vector, limit=_TOP, filter=rest)])
            lists.append({hit.id for hit in hits})
        most = max(map(len, lists))
        return len(lists[0] & lists[1]) / most if most else None

    shares = []
    for point_id in sample:
        work.check()
        async with work.pace.turn():
            share = await work.read("compare", overlap, point_id)
        if share is not None:
            shares.append(share)
    return len(shares), sum(shares) / len(shares) if shares else 0.0


async def read_vectors(
    groups: Sequence[Sequence[uuid.UUID]],
    *,
    collections: Sequence[Collection],
    work: Background,
) -> tuple[list[str], list[NDArray[np.float32]]]:
    """Read the vectors of grouped images. Images that a collection lacks are left out.

    Args:
        groups: The images of each group.
        collections: The collections to read.
        work: Runs the calls beside searches.

    Returns:
        The group of each image, N names, and for each collection its vectors, float32 [N, D], in
        the same order.
    """
    ids = [(str(number), each) for number, group in enumerate(groups) for each in group]
    stored: list[Mapping[uuid.UUID, Stored]] = []
    for collection in collections:
        there: dict[uuid.UUID, Stored] = {}
        for part in batched(ids, 64):
            wanted = [each for _, each in part]
            async with work.pace.turn():
                there |= await work.read("retrieve", collection.retrieve, wanted, vectors=True)
        stored.append(there)

    def gather() -> tuple[list[str], list[NDArray[np.float32]]]:
        both = [(group, each) for group, each in ids if all(each in there for there in stored)]
        return [group for group, _ in both], [
            np.array([_unit(there[each]) for _, each in both], dtype=np.float32) for there in stored
        ]

    return await asyncio.to_thread(gather)


def _unit(stored: Stored) -> NDArray[np.float32]:
    assert stored.vector is not None  # noqa: S101 - asked for
    norm = max(float(np.linalg.norm(stored.vector)), 1e-12)
    vector: NDArray[np.float32] = (stored.vector / norm).astype(np.float32)
    return vector


def judge(
    comparison: models_pb2.Comparison,
    *,
    groups: Sequence[str],
    old: NDArray[np.float32],
    new: NDArray[np.float32],
    failed: int,
    total: int,
) -> None:
    """Add the figures on labelled images to a comparison, and the reason for a refusal.

    The version is refused when

    - more than 1 % of the images have no vector of it;
    - there are labelled images (20 queries or more) and recall@1, mAP or µAP falls by more than
      0.01 and by more than chance explains: 1.645 standard errors, which is 95 % one-sided, of the
      paired differences of the queries (for µAP, of the leave-one-fold-of-groups-out differences);
    - there are fewer than 20 such queries, and less than a tenth of the first ten hits stay. Good
      versions disagree about pictures that have no reprint, so that a low agreement is usually no
      proof. An agreement as low as this is taken as proof.

    Args:
        comparison: The comparison, with the agreement of the first ten hits.
        groups: The group of each labelled image, N names.
        old: The vectors of the active version, float32 [N, D], L2-normalised.
        new: The vectors of the version to judge, float32 [N, D'], L2-normalised.
        failed: The number of images that the new version could not embed.
        total: The number of images.
    """
    reasons = []
    if failed > MAX_FAILED * total:
        reasons.append(f"{failed} of {total} images could not be embedded")
    truth = metrics.Truth.of_groups(groups)
    if len(truth.queries):
        judged = [metrics.judge(metrics.Cosines(each), truth=truth) for each in (old, new)]
        before, after = (metrics.figures(each) for each in judged)
        for message, figures in (
            (comparison.from_figures, before),
            (comparison.to_figures, after),
        ):
            message.queries = figures["queries"]
            message.recall_at_1 = figures["recall_at_1"]
            message.mean_average_precision = figures["map"]
            message.micro_average_precision = figures["micro_ap"]
    if len(truth.queries) >= _MIN_QUERIES:
        first, mean = (
            _standard_error(getattr(judged[0], key) - getattr(judged[1], key))
            for key in ("found_first", "average_precision")
        )
        for label, key, noise in (("recall@1", "recall_at_1", first), ("mAP", "map", mean)):
            if _falls(before[key] - after[key], noise=noise):
                reasons.append(f"{label} falls from {before[key]:.3f} to {after[key]:.3f}")
        loss = before["micro_ap"] - after["micro_ap"]
        if loss > _TOLERATED and _falls(loss, noise=_noise_of_micro_ap(groups, old=old, new=new)):
            reasons.append(f"µAP falls from {before['micro_ap']:.3f} to {after['micro_ap']:.3f}")
    elif comparison.sampled_queries and comparison.top10_agreement < _MIN_AGREEMENT:
        reasons.append(
            f"only {comparison.top10_agreement:.0%} of the first ten hits stay, and there are too "
            "few labelled images to tell whether the others are better"
        )
    comparison.refusal = "; ".join(reasons)


def _falls(loss: float, *, noise: float) -> bool:
    return loss > _TOLERATED and loss > _ONE_SIDED_95 * noise


def _standard_error(differences: NDArray[np.floating]) -> float:
    if len(differences) < 2:  # noqa: PLR2004 - of one there is none
        return math.inf
    return float(np.std(differences, ddof=1) / math.sqrt(len(differences)))


def _noise_of_micro_ap(
    groups: Sequence[str], *, old: NDArray[np.float32], new: NDArray[np.float32]
) -> float:
    """Return the standard error of the difference in µAP: jackknife over folds of groups."""
    names = sorted(set(groups))
    if len(names) < _FOLDS:
        return math.inf
    fold = {name: number % _FOLDS for number, name in enumerate(names)}
    numbers = np.array([fold[name] for name in groups])
    differences = []
    for left_out in range(_FOLDS):
        kept = numbers != left_out
        truth = metrics.Truth.of_groups([name for name in groups if fold[name] != left_out])
        values = [
            metrics.average_precision(metrics.judge(metrics.Cosines(each[kept]), truth=truth).curve)
            for each in (old, new)
        ]
        differences.append(values[0] - values[1])
    spread = np.asarray(differences) - np.mean(differences)
    return float(math.sqrt((_FOLDS - 1) / _FOLDS * float((spread**2).sum())))


def refusal_error(
    comparison: models_pb2.Comparison, *, model_version: str
) -> errors.FailedPrecondition:
    """Return the error of a promotion whose version was refused."""
    return errors.FailedPrecondition(
        f"{model_version} is worse than the version that answers: {comparison.refusal}. Promote it "
        "with `force` all the same.",
        subject=model_version,
        reason="VERSION_WORSE",
    )
