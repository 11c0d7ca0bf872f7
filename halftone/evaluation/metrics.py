"""Measures how well scores find the same picture again. Needs NumPy alone.

`Truth` covers two kinds of archives. With labelled groups, every other member of an image's group
is a match. With an archive's `groups.json` (`read_truth`), a match is the same picture in another
publication, copies within a publication count neither way, and within a composite group only the
listed links match.

Scores are rounded to 1e-6, so that the noise of a float32 product decides no rank. Ties are broken
pessimistically: candidates that do not match rank before those that do, as in SSCD (Pizzi et al.
2022). A constant descriptor therefore scores nothing. scikit-learn agrees wherever equal scores
stand or fall together (µAP, precision, recall), but breaks ties within a ranking by the order of
the input.

Scores are made and counted in blocks of rows: 20,000 images need 40 MB at a time, not a matrix of
3.2 GB, and all counts are exact.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from halftone.evaluation.truth import FALSE, IGNORED, MATCH, Bools, Ints
from halftone.evaluation.truth import Truth as Truth
from halftone.evaluation.truth import read_truth as read_truth

if TYPE_CHECKING:
    from collections.abc import Iterator

Floats = NDArray[np.floating[Any]]

UNITS: Final = 1_000_000  # of a score of 1
_BLOCK_SCORES: Final = 4_000_000
_SHOWN: Final = 10  # candidates kept of each ranking


class Scorer(Protocol):
    """A source of scores between N images."""

    def __len__(self) -> int:
        """Return N."""

    def block(self, start: int, stop: int) -> tuple[Floats, Floats]:
        """Return two tables [B, N] for images `start` to `stop`.

        The first has the scores by which an image ranks the others, the second has the scores of
        pairs.
        """


class Matrix:
    """Scores from a symmetric matrix [N, N]."""

    def __init__(self, scores: Floats) -> None:
        self._scores = scores

    def __len__(self) -> int:
        return len(self._scores)

    def block(self, start: int, stop: int) -> tuple[Floats, Floats]:
        """Return blocks of the matrix; see `Scorer.block`."""
        rows = self._scores[start:stop]
        return rows, rows


class Cosines:
    """Scores from descriptors [N, D] of unit length: their cosines.

    Args:
        descriptors: float32 [N, D], of the pictures as they are.
        views: float32 [O, N, D], of the pictures in all orientations to which a query is turned,
            for searches that turn it. An image ranks the others by the best of its own
            orientations; the score of a pair is the better of its two directions.
    """

    def __init__(self, descriptors: Floats, *, views: Floats | None = None) -> None:
        self._descriptors = descriptors
        self._views = views

    def __len__(self) -> int:
        return len(self._descriptors)

    def block(self, start: int, stop: int) -> tuple[Floats, Floats]:
        """Return blocks of cosines; see `Scorer.block`."""
        gallery = self._descriptors
        if self._views is None:
            scores = gallery[start:stop] @ gallery.T
            return scores, scores
        forth = self._views[0, start:stop] @ gallery.T
        back = gallery[start:stop] @ self._views[0].T
        for view in self._views[1:]:
            np.maximum(forth, view[start:stop] @ gallery.T, out=forth)
            np.maximum(back, gallery[start:stop] @ view.T, out=back)
        return forth, np.maximum(forth, back, out=back)


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """Ranks and pair scores of images with a known truth. Scores are whole numbers of 1e-6.

    Attributes:
        truth: The truth that was judged by.
        found_first: float [Q], 1 if the first candidate is a match, else 0.
        average_precision: float [Q], of each query.
        ndcg: float [Q], the normalised discounted cumulative gain of the first five candidates.
        first_rank: int64 [Q], rank of the first match, from 1.
        candidates: int64 [Q, K], the first candidates of each ranking; -1 if there are fewer.
        candidate_scores: int64 [Q, K], the candidates' scores.
        true_scores: int64 [P], the scores of `truth.matches`.
        false_pairs: int64 [H, 2], the false pairs that score highest, the highest first.
        false_scores: int64 [H], the scores of `false_pairs`.
        false_counts: int64 [2 UNITS + 1], the number of false pairs of each score, from -1 to 1.
    """

    truth: Truth
    found_first: Floats
    average_precision: Floats
    ndcg: Floats
    first_rank: Ints
    candidates: Ints
    candidate_scores: Ints
    true_scores: Ints
    false_pairs: Ints
    false_scores: Ints
    false_counts: Ints

    @functools.cached_property
    def curve(self) -> Curve:
        """Precision and recall of all unordered pairs, one point for each score of a match."""
        thresholds, gained = np.unique(self.true_scores, return_counts=True)
        above = self.false_at_least(thresholds)
        hits = np.cumsum(gained[::-1])
        precision = hits / (hits + above[::-1])
        total = max(len(self.true_scores), 1)
        return Curve(
            precision=precision, recall=hits / total, threshold=thresholds[::-1] / float(UNITS)
        )

    def false_at_least(self, scores: Ints) -> Ints:
        """Return for each of `scores`, [K], how many false pairs score at least as high."""
        return self._false_sums[np.clip(scores, -UNITS, UNITS + 1) + UNITS]

    def confusion(self, threshold: float) -> list[list[int]]:
        """Count pairs, which are called the same from the score `threshold` on.

        Returns:
            [[true negative, false positive], [false negative, true positive]].
        """
        limit = round(threshold * UNITS)
        hits = int((self.true_scores >= limit).sum())
        wrong = int(self.false_at_least(np.array([limit]))[0])
        return [
            [int(self.false_counts.sum()) - wrong, wrong],
            [len(self.true_scores) - hits, hits],
        ]

    @functools.cached_property
    def _false_sums(self) -> Ints:
        sums = np.zeros(len(self.false_counts) + 1, dtype=np.int64)
        sums[:-1] = np.cumsum(self.false_counts[::-1])[::-1]
        return sums


@dataclass(frozen=True)
class Curve:
    """Precision and recall at falling thresholds: float [K] each."""

    precision: Floats
    recall: Floats
    threshold: Floats


def precision_recall(scores: Floats, *, positive: Bools) -> Curve:
    """Return the precision and recall of pairs.

    There is one point for each distinct score, because pairs with equal scores are accepted or
    refused together.

    Args:
        scores: The score of each pair, [P].
        positive: Whether each pair matches, [P].
    """
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum(positive[order])
    last = np.append(ranked[1:] != ranked[:-1], True)  # the last pair of each run of equal scores
    hits, ranks, thresholds = hits[last], np.flatnonzero(last) + 1, ranked[last]
    total = max(int(positive.sum()), 1)
    return Curve(precision=hits / ranks, recall=hits / total, threshold=thresholds)


def average_precision(curve: Curve) -> float:
    """Return the area under the curve as a step function; equal scores share the last precision."""
    gained = np.diff(curve.recall, prepend=0.0)
    return float((gained * curve.precision).sum())


def best_f1(curve: Curve) -> tuple[float, float]:
    """Return the best F1 on the curve and the threshold that gives it; (0, 1) if it is empty."""
    if not len(curve.recall):
        return 0.0, 1.0
    total = np.maximum(curve.precision + curve.recall, 1e-12)
    f1 = 2 * curve.precision * curve.recall / total
    best = int(np.argmax(f1))
    return float(f1[best]), float(curve.threshold[best])


def recall_at_precision(curve: Curve, *, precision: float) -> float:
    """Return the highest recall at which precision is at least `precision`; 0 if it never is."""
    reached = curve.recall[curve.precision >= precision]
    return float(reached.max()) if len(reached) else 0.0


def judge(scorer: Scorer, *, truth: Truth) -> Judgement:
    """Rank every query's candidates and count all pairs, block by block.

    Raises:
        ValueError: A score is not finite or beyond 1, or the truth has another number of images.
    """
    if len(scorer) != truth.count:
        raise ValueError(f"{len(scorer)} images to judge, but the truth has {truth.count}")
    queries = truth.queries
    is_query = np.zeros(truth.count, dtype=bool)
    is_query[queries] = True
    shown = min(_SHOWN, max(truth.count - 1, 1))
    ranks = []
    candidates = np.full((len(queries), shown), -1, dtype=np.int64)
    candidate_scores = np.zeros((len(queries), shown), dtype=np.int64)
    # A match has a score in both directions; that of the upper triangle is kept.
    true_scores = np.zeros(len(truth.matches), dtype=np.int64)
    rows_of_matches = np.argsort(truth.matches[:, 0], kind="stable")
    first_of_match = truth.matches[rows_of_matches, 0]
    counts = np.zeros(2 * UNITS + 1, dtype=np.int64)
    hard = _Hardest(limit=int(np.clip(4 * len(truth.matches), 20_000, 200_000)))
    number = 0
    for start, stop in _blocks(truth.count):
        ranking, pairs = scorer.block(start, stop)
        units = _units(ranking)
        pair_units = units if pairs is ranking else _units(pairs)
        kinds = truth.kinds(start, stop)
        for row in np.flatnonzero(is_query[start:stop]):
            places, best = _rank(units[row], kinds=kinds[row], shown=shown)
            ranks.append(places)
            candidates[number, : len(best)] = best
            candidate_scores[number, : len(best)] = units[row][best]
            number += 1
        here = slice(*np.searchsorted(first_of_match, (start, stop)))
        chosen = rows_of_matches[here]
        a, b = truth.matches[chosen].T
        true_scores[chosen] = pair_units[a - start, b]
        # Each pair counts once: only the part right of the diagonal of the block's own square is
        # used.
        right = kinds[:, start:] == FALSE
        right[:, : stop - start] &= np.triu(np.ones((stop - start, stop - start), dtype=bool), 1)
        rows, columns = np.nonzero(right)
        columns += start
        values = pair_units[rows, columns]
        counts += np.bincount(values + UNITS, minlength=len(counts))
        hard.add(values, rows=rows + start, columns=columns)
    false_scores, false_pairs = hard.rank_pairs()
    return Judgement(
        truth=truth,
        found_first=np.array([float(places[0] == 1) for places in ranks]),
        average_precision=np.array([_average_precision(places) for places in ranks]),
        ndcg=np.array([_ndcg(places) for places in ranks]),
        first_rank=np.array([places[0] for places in ranks], dtype=np.int64),
        candidates=candidates,
        candidate_scores=candidate_scores,
        true_scores=true_scores,
        false_pairs=false_pairs,
        false_scores=false_scores,
        false_counts=counts,
    )


def figures(judgement: Judgement, *, threshold: float | None = None) -> dict[str, Any]:
    """Return the figures of a judgement, without intervals.

    The figures are queries, pairs, recall_at_1, map, ndcg_at_5, micro_ap, best_f1,
    best_f1_threshold, recall_at_p90; with a `threshold` also threshold, precision, recall, f1 and
    the four counts of pairs (`confusion`: [[true negative, false positive], [false negative, true
    positive]]). The means over queries are None if there is no query.
    """
    curve = judgement.curve
    f1, best_threshold = best_f1(curve)
    result: dict[str, Any] = {
        "queries": len(judgement.truth.queries),
        "pairs": len(judgement.true_scores),
        "recall_at_1": _mean(judgement.found_first),
        "map": _mean(judgement.average_precision),
        "ndcg_at_5": _mean(judgement.ndcg),
        "micro_ap": average_precision(curve),
        "best_f1": f1,
        "best_f1_threshold": best_threshold,
        "recall_at_p90": recall_at_precision(curve, precision=0.9),
    }
    if threshold is not None:
        confusion = judgement.confusion(threshold)
        (_, wrong), (missed, hits) = confusion
        result |= {
            "threshold": float(threshold),
            "precision": hits / max(hits + wrong, 1),
            "recall": hits / max(hits + missed, 1),
            "f1": 2 * hits / max(2 * hits + wrong + missed, 1),
            "confusion": confusion,
        }
    return result


def threshold_of(judgement: Judgement) -> float:
    """Return the score from which two images count as the same: best F1 over all pairs.

    The threshold is half way between the lowest accepted pair and the highest refused one, so
    separable pairs get the middle of their gap.
    """
    _, lowest = best_f1(judgement.curve)
    accepted = round(lowest * UNITS)
    below = np.flatnonzero(judgement.false_counts[: accepted + UNITS])
    refused = judgement.true_scores[judgement.true_scores < accepted]
    highest = max(
        int(below[-1]) - UNITS if len(below) else -UNITS,
        int(refused.max()) if len(refused) else -UNITS,
    )
    return (accepted + highest) / 2 / UNITS


def evaluate_copies(scores: Floats) -> dict[str, float]:
    """Judge scores [N, N] in which the only match of row i is column i.

    Returns copy_recall_at_1 and copy_micro_ap.
    """
    own = np.diag(scores)
    others = scores.copy()
    np.fill_diagonal(others, -np.inf)
    curve = precision_recall(scores.ravel(), positive=np.eye(len(scores), dtype=bool).ravel())
    recall = float((own > others.max(axis=1)).mean())
    return {"copy_recall_at_1": recall, "copy_micro_ap": average_precision(curve)}


class _Hardest:
    """Collects the false pairs that score highest."""

    def __init__(self, *, limit: int) -> None:
        self._limit = limit
        self._floor = -UNITS
        self._scores = np.empty(0, dtype=np.int64)
        self._pairs = np.empty((0, 2), dtype=np.int64)

    def add(self, scores: Ints, *, rows: Ints, columns: Ints) -> None:
        """Add K pairs of images: their scores [K], and the rows and columns of the images, [K]."""
        high = np.flatnonzero(scores >= self._floor)
        scores = np.concatenate([self._scores, scores[high]])
        pairs = np.concatenate([self._pairs, np.stack([rows[high], columns[high]], axis=1)])
        if len(scores) > self._limit:
            kept = np.argpartition(-scores, self._limit)[: self._limit]
            scores, pairs = scores[kept], pairs[kept]
            self._floor = int(scores.min())
        self._scores, self._pairs = scores, pairs

    def rank_pairs(self) -> tuple[Ints, Ints]:
        """Return scores [H] and pairs [H, 2], the highest first; ties in the images' order."""
        order = np.lexsort((self._pairs[:, 1], self._pairs[:, 0], -self._scores))
        return self._scores[order], self._pairs[order]


def _blocks(count: int) -> Iterator[tuple[int, int]]:
    size = max(1, _BLOCK_SCORES // max(count, 1))
    for start in range(0, count, size):
        yield start, min(start + size, count)


def _units(scores: Floats) -> Ints:
    if not np.isfinite(scores).all():
        raise ValueError("a score is not a finite number")
    found: Ints = np.rint(scores * float(UNITS)).astype(np.int64)
    if len(found) and np.abs(found).max() > UNITS * 1.001:
        raise ValueError("scores are expected between -1 and 1; are the descriptors unit length?")
    return found.clip(-UNITS, UNITS)


def _rank(units: Ints, *, kinds: NDArray[np.int8], shown: int) -> tuple[Ints, Ints]:
    """Return the ranks of a query's matches, ascending, and its first candidates, [N] each."""
    matches = np.sort(units[kinds == MATCH])[::-1]
    false = np.sort(units[kinds == FALSE])
    before = len(false) - np.searchsorted(false, matches, side="left")
    # Among equal scores, candidates that do not match come first.
    key = np.where(kinds == IGNORED, -4 * UNITS, 2 * units + (kinds == FALSE))
    best = np.argpartition(-key, shown - 1)[:shown] if shown < len(key) else np.arange(len(key))
    best = best[kinds[best] != IGNORED]
    return before + np.arange(1, len(matches) + 1), best[np.argsort(-key[best], kind="stable")]


def _average_precision(ranks: Ints) -> float:
    return float((np.arange(1, len(ranks) + 1) / ranks).mean())


def _ndcg(ranks: Ints, *, depth: int = 5) -> float:
    """Return the normalised discounted cumulative gain of the first candidates; a match gains 1."""
    gain = 1 / np.log2(np.arange(1, depth + 1) + 1)
    return float(gain[ranks[ranks <= depth] - 1].sum() / gain[: min(depth, len(ranks))].sum())


def _mean(values: Floats) -> float | None:
    return float(values.mean()) if len(values) else None
