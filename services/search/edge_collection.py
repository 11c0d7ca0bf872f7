"""A collection in Qdrant Edge."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from typing import TYPE_CHECKING, Any

from halftone import errors
from services.search.edge_part import Part

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from services.search.store import Filter, Payload, Point, Query, ScoredPoint, Stored


class EdgeCollection:
    """The points of one model version, in one or more parts."""

    def __init__(
        self, directory: Path, *, model_version: str, dimension: int, min_free_bytes: int
    ) -> None:
        """Opens the collection, or makes it where there is none."""
        self._directory = directory
        self._min_free_bytes = min_free_bytes
        self.model_version = model_version
        marker = directory / "collection.json"
        if marker.exists():
            self.dimension = int(json.loads(marker.read_text())["dimension"])
            self._part = Part.load(directory / "shard")
        else:
            self.dimension = dimension
            # A directory without its marker was left behind by an end in the middle of this.
            shutil.rmtree(directory, ignore_errors=True)
            self._part = Part.create(directory / "shard", dimension=dimension)
            write_json(marker, {"model_version": model_version, "dimension": dimension})

    def upsert(self, points: Sequence[Point]) -> None:
        """Stores points in place of those with the same ids."""
        self._check_space()
        self._part.upsert(points)
        self._part.flush()

    def overwrite_payloads(self, payloads: Mapping[uuid.UUID, Payload]) -> None:
        """Replaces the payloads of points that exist."""
        self._check_space()
        self._part.overwrite_payloads(payloads)
        self._part.flush()

    def delete(self, ids: Sequence[uuid.UUID]) -> None:
        """Deletes points."""
        self._part.delete(ids)
        self._part.flush()

    def retrieve(
        self, ids: Sequence[uuid.UUID], *, vectors: bool = False
    ) -> dict[uuid.UUID, Stored]:
        """The points with these ids, as far as they exist."""
        return self._part.retrieve(ids, vectors=vectors)

    def query(self, queries: Sequence[Query]) -> list[list[ScoredPoint]]:
        """Runs searches together."""
        return self._part.query(queries)

    def smallest(self, key: str, *, filter: Filter, limit: int) -> list[Stored]:  # noqa: A002 - the field's name
        """The points with the smallest numbers in a field, smallest first."""
        return self._part.smallest(key, condition=filter, limit=limit)

    def scan(self, *, filter: Filter, page: int = 1_000) -> Iterator[Stored]:  # noqa: A002 - the field's name
        """All points under a filter."""
        return self._part.scan(condition=filter, page=page)

    def count(self, filter: Filter) -> int:  # noqa: A002 - the field's name
        """How many points a filter matches."""
        return self._part.count(filter)

    def facet(self, key: str, *, filter: Filter, limit: int) -> list[tuple[str | int, int]]:  # noqa: A002 - the field's name
        """The values of a field with their counts."""
        return self._part.facet(key, condition=filter, limit=limit)

    def close(self) -> None:
        """Writes out what is pending."""
        self._part.close()

    def _check_space(self) -> None:
        free = shutil.disk_usage(self._directory).free
        if free < self._min_free_bytes:
            raise errors.StorageFull(
                f"The disk of the data directory has {free // 1024**2} MiB left, less than the "
                f"{self._min_free_bytes // 1024**2} MiB that are kept free; nothing was stored."
            )


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Replaces a small file, atomically and durably."""
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    with beside.open("w") as file:
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
