"""Many vectors that lie as an archive's do, with records that can be filtered.

White noise in 512 dimensions has no neighbours, which flatters and punishes an index at random. So
new vectors are made between the embeddings of real pictures, with noise of the size that separates
two printings of one picture.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from halftone.archive.records import Name
from halftone.services.search.archive import payload as payloads
from halftone.services.search.store.port import Point
from halftone.v1 import search_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NOISE = 0.35
"""Length of the noise beside a vector of length one: a cosine of 0.94 between two printings."""
FIRST_DAY, DAYS = 670_000, 30_000
SELECTIVITIES = (0.2, 0.04, 0.01, 0.001)
_JOURNALS = {"j50": 0.5, "j20": 0.2, "j4": 0.04, "j1": 0.01, "j01": 0.001}
_SHARES = {"20": 0.2, "4": 0.04, "1": 0.01, "01": 0.001}
# To a selectivity: a journal and the part of all days that, combined, have it.
_COMBINED = {0.2: ("j50", 0.4), 0.04: ("j20", 0.2), 0.01: ("j4", 0.25), 0.001: ("j1", 0.1)}


def normalised(vectors: np.ndarray) -> np.ndarray:
    """Rows of length one, float32."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)


def between(base: np.ndarray, *, count: int, seed: int) -> np.ndarray:
    """`count` vectors between random pairs of rows of `base` [M, D], float32 [count, D]."""
    chance = np.random.default_rng(seed)
    made = np.empty((count, base.shape[1]), dtype=np.float32)
    for start in range(0, count, 20_000):
        rows = min(20_000, count - start)
        first, second = chance.integers(len(base), size=(2, rows))
        share = chance.uniform(0.5, 1.0, size=(rows, 1)).astype(np.float32)
        noise = chance.standard_normal((rows, base.shape[1]), dtype=np.float32)
        noise *= NOISE / np.sqrt(base.shape[1])
        made[start : start + rows] = normalised(
            share * base[first] + (1 - share) * base[second] + noise
        )
    return made


@dataclass(frozen=True, kw_only=True)
class Archive:
    """Generated records: their vectors and the fields that filters ask for.

    A third of the journals follows the pictures, as houses had styles: then a filter selects
    vectors that lie together, which is the hard case for a graph.
    """

    vectors: np.ndarray
    journals: np.ndarray
    days: np.ndarray
    shares: dict[str, np.ndarray]
    first: int = 0
    """The number of the first record, of which its name is made."""

    @classmethod
    def make(cls, base: np.ndarray, *, count: int, seed: int = 0, first: int = 0) -> Archive:
        """`count` records around the rows of `base`."""
        chance = np.random.default_rng(seed + 1)
        vectors = between(base, count=count, seed=seed)
        names = np.array([*_JOURNALS, *(f"other-{number}" for number in range(40))])
        rest = (1 - sum(_JOURNALS.values())) / 40
        weights = np.array([*_JOURNALS.values(), *[rest] * 40])
        free = chance.uniform(size=count)
        direction = normalised(chance.standard_normal((1, base.shape[1])))[0]
        rank = np.argsort(np.argsort(vectors @ direction)) / count
        followed = chance.uniform(size=count) < 1 / 3
        drawn = np.where(followed, rank, free)
        at = np.minimum(np.searchsorted(np.cumsum(weights), drawn), len(names) - 1)
        return cls(
            vectors=vectors,
            journals=names[at],
            days=FIRST_DAY + chance.integers(DAYS, size=count),
            shares={
                kind: chance.choice(
                    [*_SHARES, "rest"],
                    p=[*_SHARES.values(), 1 - sum(_SHARES.values())],
                    size=count,
                )
                for kind in ("language", "label", "word")
            },
            first=first,
        )

    @classmethod
    def joined(cls, archives: Sequence[Archive]) -> Archive:
        """Several as one, of which the first begins where they do."""
        return cls(
            vectors=np.concatenate([each.vectors for each in archives]),
            journals=np.concatenate([each.journals for each in archives]),
            days=np.concatenate([each.days for each in archives]),
            shares={
                kind: np.concatenate([each.shares[kind] for each in archives])
                for kind in archives[0].shares
            },
            first=archives[0].first,
        )

    def points(self, *, start: int, stop: int) -> Iterator[Point]:
        """The records as points."""
        for at in range(start, stop):
            number = self.first + at
            name = Name("bench", f"{number:08d}")
            image = search_pb2.Image(
                name=str(name),
                journal=str(self.journals[at]),
                date=dt.date.fromordinal(int(self.days[at])).isoformat(),
                caption=f"Picture no{number} w{self.shares['word'][at]}, as it was printed",
                language=str(self.shares["language"][at]),
                labels={"medium": search_pb2.Labels(values=[str(self.shares["label"][at])])},
            )
            picture = {
                "sha256": f"{number:064x}",
                "width": 1000,
                "height": 800,
                "create_time": 1_700_000_000_000_000,
                "update_time": 1_700_000_000_000_000,
            }
            yield Point(
                id=name.point_id,
                vector=self.vectors[at],
                payload={**payloads.to_payload(image, name=name), **picture},
            )

    def filters(self) -> Iterator[tuple[str, float, search_pb2.Filter, np.ndarray]]:
        """Shape, nominal selectivity, filter, and the records it selects, bool [N]."""
        for share, suffix in zip(SELECTIVITIES, _SHARES, strict=True):
            journal = f"j{suffix}"
            low = FIRST_DAY + DAYS // 3
            high = low + round(DAYS * share) - 1
            yield (
                "journal",
                share,
                search_pb2.Filter(journals=[journal]),
                self.journals == journal,
            )
            yield "date", share, search_pb2.Filter(date=days(low, high)), self._within(low, high)
            journal, part = _COMBINED[share]
            high = low + round(DAYS * part) - 1
            yield (
                "journal + date",
                share,
                search_pb2.Filter(journals=[journal], date=days(low, high)),
                (self.journals == journal) & self._within(low, high),
            )
            labels = {"medium": search_pb2.Labels(values=[suffix])}
            for kind, condition in (
                ("language", search_pb2.Filter(languages=[suffix])),
                ("label", search_pb2.Filter(labels=labels)),
                ("word", search_pb2.Filter(caption_text=f"W{suffix}")),
            ):
                yield kind, share, condition, self.shares[kind] == suffix

    def _within(self, low: int, high: int) -> np.ndarray:
        found: np.ndarray = (self.days >= low) & (self.days <= high)
        return found


def days(low: int, high: int) -> search_pb2.DateRange:
    """From one day to another, both as ordinals."""
    first, last = (dt.date.fromordinal(day).isoformat() for day in (low, high))
    return search_pb2.DateRange(start=first, end=last)


def journal_and_date() -> search_pb2.Filter:
    """A filter that four percent of the images pass."""
    low = FIRST_DAY + DAYS // 3
    return search_pb2.Filter(journals=["j20"], date=days(low, low + DAYS // 5 - 1))
