"""Pairs the features of two pictures that look alike, and takes the pairs' vote.

Mirroring a picture puts the bins of its descriptors in another order, and mirroring it again puts
them back. So a descriptor has a half that mirroring keeps and a half of which it changes the sign.
The products of the first halves plus those of the second are the cosines of the two pictures as
they are; their difference is the cosines with one picture mirrored. Two comparisons cost one.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from halftone.matching.features import COUNT, DIMENSION, MIRRORED_BINS
from halftone.matching.words import unit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from halftone.matching.features import Floats, LocalFeatures

    Rows = NDArray[np.intp]

_RATIO: Final = 0.85
_OCTAVES: Final = 0.6  # by which scales may differ within a vote
_ANGLE: Final = np.deg2rad(20)
_SAMPLE: Final = COUNT // 2
_FEWEST_VOTES: Final = 6
_HALF: Final = DIMENSION // 2  # the bins of two rows, which change places with the other two


def _negative_halves() -> Rows:
    """Return where the numbers of `split` come from in a negative, but for signs.

    Mirrored and in negative, a patch has its columns reversed and its directions turned over.
    """
    half = np.arange(_HALF).reshape(2, 4, 8)[:, ::-1][:, :, (-np.arange(8)) % 8].ravel()
    return np.concatenate([half, half + _HALF])


_NEGATIVE: Final = _negative_halves()


class Likeness(NamedTuple):
    """The cosines of all pairs of features of a query, [N], and a candidate, [M].

    Attributes:
        plain: float32 [N, M], of the query as it is.
        mirrored: float32 [N, M], of the query mirrored.
    """

    plain: Floats
    mirrored: Floats


@functools.lru_cache(maxsize=16)  # a query is compared with fifty candidates
def split(features: LocalFeatures) -> Floats:
    """Return the descriptors of N features as unit vectors of two halves: float32 [N, 128].

    The first 64 numbers are kept by mirroring, and the others change their sign.
    """
    rows = unit(features.descriptors) * np.float32(np.sqrt(0.5))
    here, there = rows[:, :_HALF], np.take(rows, MIRRORED_BINS[:_HALF], axis=1)
    halves = np.empty_like(rows)
    np.add(here, there, out=halves[:, :_HALF])
    np.subtract(here, there, out=halves[:, _HALF:])
    return halves


def compare(query: Floats, candidate: Floats) -> Likeness:
    """Compare descriptors that `split` returned, float32 [N, 128] and [M, 128].

    As for `words.cosines`, BLAS must be limited to one thread if several threads call it.
    """
    # One block of memory: three would be given back to the system and fetched again each time,
    # which takes longer than the products.
    shape = (3, len(query), len(candidate))
    kept, turned, mirrored = np.empty(shape, dtype=np.float32)
    np.matmul(query[:, :_HALF], candidate[:, :_HALF].T, out=kept)
    np.matmul(query[:, _HALF:], candidate[:, _HALF:].T, out=turned)
    np.subtract(kept, turned, out=mirrored)
    return Likeness(plain=np.add(kept, turned, out=kept), mirrored=mirrored)


def pair(likeness: Floats) -> tuple[Rows, Rows]:
    """Pair features that are each other's nearest, and clearly nearer than the second nearest.

    Args:
        likeness: Cosines of features, float32 [N, M]. Some are overwritten.

    Returns:
        The rows and the columns of the pairs.
    """
    nearest = likeness.argmax(axis=1)
    best = likeness[np.arange(len(likeness)), nearest]
    # argmax along columns takes ten times as long.
    rows = np.flatnonzero(best >= likeness.max(axis=0)[nearest])
    columns, best = nearest[rows], best[rows]
    likeness[rows, columns] = -1
    second = np.minimum(likeness.max(axis=1)[rows], likeness.max(axis=0)[columns])
    # Squared distances of unit vectors are 2 - 2 cos.
    clear = (1 - best) < _RATIO**2 * (1 - second)
    return rows[clear], columns[clear]


def vote(turn: Floats, octaves: Floats) -> Rows:
    """Return the largest set of pairs that turn and enlarge a picture by about as much.

    Args:
        turn: By how much each pair turns it, in radians, float32 [K], K above 0.
        octaves: By how much each pair enlarges it, as a binary logarithm, float32 [K].
    """
    angles = np.angle(np.exp(1j * (turn[:, None] - turn[None])))
    near = np.abs(octaves[:, None] - octaves[None]) < _OCTAVES
    near &= np.abs(angles) < _ANGLE
    return np.flatnonzero(near[near.sum(axis=1).argmax()])


def may_be_negative(first: LocalFeatures, second: LocalFeatures) -> bool:
    """Return whether it is worth comparing `first` in negative with `second`.

    Few pictures are negatives, and comparing all as negatives, too, would double the time. So half
    of the features of each picture vote. docs/matching.md says what this misses.
    """
    ours, theirs = _sample(first), _sample(second)
    points, others = first.points[ours], second.points[theirs]
    if min(len(points), len(others)) < _FEWEST_VOTES:
        return False
    # These are a negative's halves, but for the sign of the second: that of its mirror image.
    likeness = compare(split(first)[ours][:, _NEGATIVE], split(second)[theirs])
    for way, sense in ((likeness.mirrored, 1), (likeness.plain, -1)):
        rows, columns = pair(way)
        if len(rows) < _FEWEST_VOTES:
            continue
        # The angles of a negative all differ by half a turn, which no vote notices.
        turn = np.deg2rad(others[columns, 3] - sense * points[rows, 3])
        sizes = np.log2(np.maximum(others[columns, 2], 1e-6) / np.maximum(points[rows, 2], 1e-6))
        if len(vote(turn, sizes)) >= _FEWEST_VOTES:
            return True
    return False


def _sample(features: LocalFeatures) -> slice:
    """Return half of the features: of a picture the strongest, of a page every second one."""
    # The pictures on a page have features of their own, which come last.
    return slice(None, None, 2) if len(features) > COUNT else slice(_SAMPLE)
