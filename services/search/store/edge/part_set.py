"""The set of parts of a collection, on disk and in memory, with counts of their readers.

A part that has been replaced is closed and removed when its last reader has finished.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import threading
import uuid
from collections import Counter
from typing import TYPE_CHECKING, Final

from halftone.core import files
from halftone.core.batches import batched
from halftone.services.search.store.edge.part import Part

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FILE: Final = "parts.json"
CHUNK: Final = 512
"""The most ids that are looked up in a part at a time."""


class PartSet:
    """The parts of a collection.

    Attributes:
        opened: The part that takes new points.
        sealed: The other parts.
        built: The number of points that a sealed part had when its graph was built, by name. Sealed
            parts without a graph are missing.
    """

    def __init__(self, directory: Path) -> None:
        """Open the parts that a collection's `parts.json` lists, and remove all others."""
        self._directory = directory
        described = json.loads((directory / _FILE).read_text())
        counted = {described["open"], *(sealed["name"] for sealed in described["sealed"])}
        for stray in directory.glob("part-*"):
            if stray.name not in counted:
                shutil.rmtree(stray, ignore_errors=True)
        self.opened = Part.load(directory / described["open"])
        self.sealed = tuple(Part.load(directory / each["name"]) for each in described["sealed"])
        self.built = {
            each["name"]: int(each["built"])
            for each in described["sealed"]
            if each["built"] is not None
        }
        self._drop_doubles()
        # Guards only the counts of readers, so that readers never wait for a write. Reentrant: an
        # abandoned scan may be garbage-collected, and so end, while its thread holds the lock.
        self._counting = threading.RLock()
        self._readers: Counter[Part] = Counter()
        self._retired: set[Part] = set()

    @staticmethod
    def create(directory: Path, *, opened: str) -> None:
        """Write the `parts.json` of a collection with one part, the open one."""
        files.write_json(directory / _FILE, {"open": opened, "sealed": []})

    @staticmethod
    def new_name() -> str:
        """Return the name of a part that does not exist yet."""
        return f"part-{uuid.uuid4().hex[:12]}"

    def _drop_doubles(self) -> None:
        """Delete the points from sealed parts that the open part also has.

        The process may have ended after it stored a point again and before it deleted the old copy.
        """
        for chunk in batched(self.opened.scan_ids(), CHUNK):
            for part in self.sealed:
                if doubled := part.list_existing(chunk):
                    part.delete(doubled)

    def all(self) -> tuple[Part, ...]:
        """Return the parts, the open one first."""
        return (self.opened, *self.sealed)

    @contextlib.contextmanager
    def reading(self) -> Iterator[tuple[Part, ...]]:
        """Yield the parts, the open one first. None of them is closed within the context."""
        with self._counting:
            parts = self.all()
            self._readers.update(parts)
        try:
            yield parts
        finally:
            with self._counting:
                self._readers.subtract(parts)
            self._close_retired()

    def replace(self, *, opened: Part, sealed: tuple[Part, ...]) -> None:
        """Replace the set of parts, durably. The caller holds the lock for writes."""
        described = [
            {"name": part.path.name, "built": self.built.get(part.path.name)} for part in sealed
        ]
        files.write_json(self._directory / _FILE, {"open": opened.path.name, "sealed": described})
        with self._counting:
            before = set(self.all())
            self.opened, self.sealed = opened, sealed
            self._retired |= before - {opened, *sealed}
        self._close_retired()

    def _close_retired(self) -> None:
        if not self._retired:
            return
        with self._counting:
            unused = {part for part in self._retired if not self._readers[part]}
            self._retired -= unused
        for part in unused:
            self._readers.pop(part, None)
            part.close()
            part.remove()

    def close(self) -> None:
        """Write out pending changes and close the parts."""
        for part in self.all():
            part.close()
