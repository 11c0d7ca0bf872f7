"""Says which pictures of an archive are the same: by labelled groups, or by `groups.json`."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from halftone.core.spelling import compose_all

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

# The kinds of a pair.
FALSE: Final = 0
MATCH: Final = 1
IGNORED: Final = 2


@dataclass(frozen=True, kw_only=True)
class Truth:
    """The truth about N images: which pairs match, and which count neither way.

    Attributes:
        count: N, the number of images.
        matches: int64 [P, 2], pairs that show the same picture, the smaller row first.
        ignored: int64 [I, 2], pairs that are neither a match nor a mistake, the smaller row first.
        groups: int64 [N], a number shared by the images of one group; -1 outside every group.
            Confidence intervals resample groups.
    """

    count: int
    matches: Ints
    ignored: Ints
    groups: Ints

    @classmethod
    def of_groups(cls, groups: Sequence[str]) -> Truth:
        """Make the truth of labelled groups: all members of a group match; "" is no group."""
        names, numbers = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
        labels = numbers.reshape(-1).astype(np.int64) - int("" in names)  # "" sorts first
        order = np.argsort(labels, kind="stable")
        bounds = np.flatnonzero(np.diff(labels[order])) + 1
        pairs = [np.empty((0, 2), dtype=np.int64)]
        for members in np.split(order, bounds):
            if len(members) > 1 and labels[members[0]] >= 0:
                rows, columns = np.triu_indices(len(members), k=1)
                pairs.append(np.stack([members[rows], members[columns]], axis=1))
        nothing = np.empty((0, 2), dtype=np.int64)
        return cls(count=len(labels), matches=np.concatenate(pairs), ignored=nothing, groups=labels)

    @functools.cached_property
    def queries(self) -> Ints:
        """Return the rows of the images that have a match, ascending."""
        return np.unique(self.matches).astype(np.int64)

    @functools.cached_property
    def _partners(self) -> tuple[tuple[Ints, Ints], tuple[Ints, Ints]]:
        """Return matches and ignored pairs as adjacency lists: bounds [N + 1] and partners."""
        return (
            _adjacency(self.matches, count=self.count),
            _adjacency(self.ignored, count=self.count),
        )

    def kinds(self, start: int, stop: int) -> NDArray[np.int8]:
        """Return the kind of each pair of images `start` to `stop` with all images, int8 [B, N].

        The kinds are FALSE, MATCH and IGNORED.
        """
        found = np.zeros((stop - start, self.count), dtype=np.int8)
        for kind, (bounds, partners) in zip((MATCH, IGNORED), self._partners, strict=True):
            sizes = np.diff(bounds[start : stop + 1])
            rows = np.repeat(np.arange(stop - start), sizes)
            found[rows, partners[bounds[start] : bounds[stop]]] = kind
        own = np.arange(start, stop)
        found[own - start, own] = IGNORED
        return found

    def are_matches(self, rows: Ints, columns: Ints) -> Bools:
        """Return whether pairs match, from two arrays of rows [K]."""
        low, high = np.minimum(rows, columns), np.maximum(rows, columns)
        known = self.matches[:, 0] * self.count + self.matches[:, 1]
        return np.isin(low * self.count + high, known)


def read_truth(
    folder: Path,
    *,
    image_ids: Sequence[str],
    journals: Mapping[str, str],
    file: str = "groups.json",
) -> Truth:
    """Read an archive's reprints from `groups.json`.

    In an ordinary group all members match each other. In a composite group only the listed links
    match. Two members in one publication are never a match and never a mistake.

    Args:
        folder: The archive's folder.
        image_ids: Ids of the archive's images, in the order of the scores.
        journals: The publication of each image.
        file: The name of the file in the folder.

    Raises:
        ValueError: A group names an unknown image.
    """
    groups = compose_all(json.loads((folder / file).read_bytes()))
    known = set(image_ids)
    for group in groups:
        missing = [member for member in group["members"] if member not in known]
        if missing:
            raise ValueError(
                f"{folder / file}: group {group['group']} names unknown images: "
                f"{', '.join(missing)}"
            )
    return truth_of(groups, image_ids=image_ids, journals=journals)


def truth_of(
    listed_groups: Sequence[Mapping[str, Any]],
    *,
    image_ids: Sequence[str],
    journals: Mapping[str, str],
) -> Truth:
    """Make the truth of groups in the form of `groups.json`; unknown members are left out.

    Args:
        listed_groups: The groups.
        image_ids: Ids of the images, in the order of the scores.
        journals: The publication of each image. Two images in one publication count neither way.
    """
    index = {image_id: number for number, image_id in enumerate(image_ids)}
    groups = np.full(len(index), -1, dtype=np.int64)
    matches, ignored = set(), set()
    for number, group in enumerate(listed_groups):
        members = [member for member in group["members"] if member in index]
        groups[[index[member] for member in members]] = number
        linked = {frozenset((link["a"], link["b"])) for link in group["links"]}
        for position, a in enumerate(members):
            for b in members[position + 1 :]:
                pair = (min(index[a], index[b]), max(index[a], index[b]))
                if journals[a] == journals[b]:
                    ignored.add(pair)
                elif not group["composite"] or frozenset((a, b)) in linked:
                    matches.add(pair)
    return Truth(count=len(index), matches=_pairs(matches), ignored=_pairs(ignored), groups=groups)


def _adjacency(pairs: Ints, *, count: int) -> tuple[Ints, Ints]:
    both = np.concatenate([pairs, pairs[:, ::-1]])
    order = np.argsort(both[:, 0], kind="stable")
    bounds = np.searchsorted(both[order, 0], np.arange(count + 1))
    return bounds.astype(np.int64), both[order, 1]


def _pairs(found: set[tuple[int, int]]) -> Ints:
    return np.array(sorted(found), dtype=np.int64).reshape(-1, 2)
