"""Reads training pictures once, scales them to a square, and keeps them in memory as bytes."""

from __future__ import annotations

import functools
import itertools
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from halftone.archive.data_sets import Finding, SceneGroup, read_listing
from halftone.core import errors
from halftone.evaluation.truth import Truth
from halftone.vision.preprocessing import prepare_file

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from halftone.archive.data_sets import Entry, Listing
    from halftone.vision.preprocessing import Preprocessing


@dataclass(frozen=True, kw_only=True)
class SceneDataset:
    """Pictures, and which of them show the same scene.

    A family is a set of pictures that no split may separate: a group, several groups that share an
    image, or a single picture. In an ordinary family all pictures show the same scene. In a
    composite family (two pictures on one plate, an image in two groups) only the linked pairs do.
    All other pairs within it count as neither alike nor different.

    Attributes:
        ids: N image ids, distinct.
        entries: The source of each picture.
        pixels: uint8 [N, S, S].
        families: int64 [N], the family of each picture, 0 to F - 1.
        names: The name of each family, F; empty for a single picture.
        composite: bool [F], whether each family is composite.
        links: int64 [P, 2], pairs of rows within composite families that show the same scene.
        findings: Oddities of the data that a person should know.
    """

    ids: tuple[str, ...]
    entries: tuple[Entry, ...]
    pixels: Tensor
    families: NDArray[np.int64]
    names: tuple[str, ...]
    composite: NDArray[np.bool_]
    links: NDArray[np.int64]
    findings: tuple[Finding, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def sizes(self) -> NDArray[np.int64]:
        """The number of pictures of each family, int64 [F]."""
        return np.bincount(self.families, minlength=len(self.names))

    @property
    def classes(self) -> NDArray[np.int64]:
        """The families that show one scene and have at least two pictures."""
        return np.flatnonzero((self.sizes > 1) & ~self.composite)

    @property
    def groups(self) -> tuple[str, ...]:
        """The name of each picture's family."""
        return tuple(self.names[family] for family in self.families)

    def select(self, rows: Sequence[int] | NDArray[np.int64] | Tensor) -> SceneDataset:
        """Return the data set of the pictures at `rows`. Families are renumbered."""
        chosen = np.asarray(rows, dtype=np.int64)
        kept, families = np.unique(self.families[chosen], return_inverse=True)
        place = np.full(len(self), -1, dtype=np.int64)
        place[chosen] = np.arange(len(chosen))
        links = place[self.links]
        return SceneDataset(
            ids=tuple(self.ids[row] for row in chosen),
            entries=tuple(self.entries[row] for row in chosen),
            pixels=self.pixels[torch.from_numpy(chosen)],
            families=families.astype(np.int64).reshape(-1),
            names=tuple(self.names[family] for family in kept),
            composite=self.composite[kept],
            links=links[(links >= 0).all(axis=1)],
        )

    @functools.cached_property
    def truth(self) -> Truth:
        """The pairs of pictures that match.

        Unlinked pairs of composite families are left out. So are pairs within a journal, as in the
        protocol for archives, unless that would leave no match at all.
        """
        links = {(min(pair), max(pair)) for pair in self.links.tolist()}
        journals = [entry.journal for entry in self.entries]
        matches, within, ignored = [], [], []
        order = np.argsort(self.families, kind="stable")
        for members in np.split(order, np.cumsum(self.sizes)[:-1]):
            for a, b in itertools.combinations(sorted(members.tolist()), 2):
                if self.composite[self.families[a]] and (a, b) not in links:
                    ignored.append((a, b))
                elif journals[a] and journals[a] == journals[b]:
                    within.append((a, b))
                else:
                    matches.append((a, b))
        if matches:
            ignored += within
        else:
            matches = within
        return Truth(
            count=len(self),
            matches=np.array(matches, dtype=np.int64).reshape(-1, 2),
            ignored=np.array(ignored, dtype=np.int64).reshape(-1, 2),
            groups=self.families,
        )


def read_scenes(
    sources: Sequence[Path],
    *,
    preprocessing: Preprocessing,
    group_column: str = "group",
    roots: Sequence[Path] = (),
    threads: int = 4,
    progress: Callable[[float], None] = lambda _share: None,
) -> SceneDataset:
    """Read data sets and join pictures that belong together into families.

    Pictures that cannot be read are left out. If several files have the same bytes, the first one
    is kept, and belongs to the groups of all. These and other oddities are listed in `findings`.

    Args:
        sources: The data sets; see `read_listing`.
        preprocessing: The preprocessing of the pixels that are kept.
        group_column: The column of manifests that names the group.
        roots: Directories that contain all files; empty allows any place.
        threads: The number of threads that decode.
        progress: Called with the share that has been read.

    Raises:
        errors.InvalidArgument: A data set cannot be used, or none of its pictures can be read.
    """
    listing = read_listing(sources, group_column=group_column, roots=roots)
    findings = list(listing.findings)
    kept: list[Entry] = []
    pixels = []
    place: dict[int, int] = {}  # from the listing to the rows of the data set
    first: dict[str, int] = {}
    with ThreadPoolExecutor(threads) as pool:
        paths = [entry.path for entry in listing.entries]
        read = pool.map(lambda path: prepare_file(path, preprocessing=preprocessing), paths)
        for number, (digest, result) in enumerate(read):
            progress((number + 1) / len(paths))
            entry = listing.entries[number]
            if isinstance(result, str):
                findings.append(Finding("broken file", f"{entry.image_id}: {result}"))
            elif digest in first:
                place[number] = first[digest]
                same = kept[first[digest]].image_id
                findings.append(
                    Finding("same bytes", f"{entry.image_id} is {same}; used once, in all groups")
                )
            else:
                place[number] = first[digest] = len(kept)
                kept.append(entry)
                pixels.append(result)
    if not pixels:
        raise errors.InvalidArgument(
            f"There is no readable picture in {', '.join(map(str, sources))}.", field="data"
        )
    groups = _groups(listing, place=place, findings=findings)
    families = _families(groups, ids=[entry.image_id for entry in kept], findings=findings)
    names, composite, links = _describe(groups, families=families)
    return SceneDataset(
        ids=_distinct([entry.image_id for entry in kept]),
        entries=tuple(kept),
        pixels=torch.from_numpy(np.stack(pixels)),
        families=families,
        names=names,
        composite=composite,
        links=links,
        findings=tuple(findings),
    )


def _groups(
    listing: Listing, *, place: dict[int, int], findings: list[Finding]
) -> list[SceneGroup]:
    """Return the groups, with rows of the data set. Groups with one picture left are left out."""
    groups = []
    for group in listing.groups:
        members = tuple(dict.fromkeys(place[row] for row in group.members if row in place))
        if len(members) == 1:
            findings.append(Finding("group of one", f"{group.name} has one picture"))
        if len(members) > 1:
            links = None
            if group.links is not None:
                pairs = [(place[a], place[b]) for a, b in group.links if {a, b} <= place.keys()]
                links = tuple((a, b) for a, b in pairs if a != b)
            groups.append(SceneGroup(name=group.name, members=members, links=links))
    return groups


def _families(
    groups: Sequence[SceneGroup], *, ids: Sequence[str], findings: list[Finding]
) -> NDArray[np.int64]:
    """Join groups that share a picture. Returns the family of each picture, int64 [N]."""
    parent = list(range(len(ids)))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = row = parent[parent[row]]
        return row

    owner: dict[int, str] = {}
    for group in groups:
        for row in group.members:
            if row in owner:
                both = f"{owner[row]} and {group.name}"
                findings.append(
                    Finding("image in two groups", f"{ids[row]} is in {both}, kept together")
                )
            owner.setdefault(row, group.name)
            parent[root(row)] = root(group.members[0])
    _, families = np.unique([root(row) for row in range(len(ids))], return_inverse=True)
    return families.astype(np.int64).reshape(-1)


def _describe(
    groups: Sequence[SceneGroup], *, families: NDArray[np.int64]
) -> tuple[tuple[str, ...], NDArray[np.bool_], NDArray[np.int64]]:
    """Return the names of the families, whether each is composite, and the links within these."""
    names: list[list[str]] = [[] for _ in range(int(families.max()) + 1)]
    composite = np.zeros(len(names), dtype=bool)
    for group in groups:
        family = families[group.members[0]]
        names[family].append(group.name)
        composite[family] |= group.links is not None or len(names[family]) > 1
    links: list[tuple[int, int]] = []
    for group in groups:
        if composite[families[group.members[0]]]:
            all_pairs = itertools.combinations(group.members, 2)
            links += all_pairs if group.links is None else group.links
    pairs = np.array(links, dtype=np.int64).reshape(-1, 2)
    return _distinct([" + ".join(part) for part in names]), composite, pairs


def _distinct(ids: list[str]) -> tuple[str, ...]:
    """Append a number to names that occur again. Empty names stay empty."""
    seen: dict[str, int] = defaultdict(int)
    result = []
    for image_id in ids:
        seen[image_id] += 1
        first = seen[image_id] == 1 or not image_id
        result.append(image_id if first else f"{image_id} ({seen[image_id]})")
    return tuple(result)
