"""The collections that are open, and which of them is active.

The active collection answers requests. The collections of earlier model versions are kept, and get
only deletions. While a version is being promoted, its collection is the target: it gets every
record that is written. The ids of records that it missed are remembered for the promotion.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from halftone.core import errors

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterable

    from halftone.services.search.store.port import Collection


class OpenCollections:
    """The open collections. Change it only in the thread for writes; read it in any thread."""

    def __init__(self) -> None:
        """Start without a collection. `open` sets the active one."""
        self._active: Collection | None = None
        # Replaced and never changed, so that readers need no lock. Includes `_target`.
        self._others: tuple[Collection, ...] = ()
        self._target: Collection | None = None
        self._changed: set[uuid.UUID] = set()

    @property
    def active(self) -> Collection:
        """The active collection.

        Raises:
            errors.Unavailable: The service is starting.
        """
        if self._active is None:
            raise errors.Unavailable(
                "The search service is starting: it waits for the embedder.", retry_after=1.0
            )
        return self._active

    @property
    def others(self) -> tuple[Collection, ...]:
        """The open collections that are not active."""
        return self._others

    @property
    def target(self) -> Collection | None:
        """The collection that is being promoted; None without a promotion."""
        return self._target

    def open(self, collection: Collection, *, others: Iterable[Collection] = ()) -> None:
        """Set the open collections.

        Args:
            collection: The collection that becomes active. If it is the target, its promotion has
                ended.
            others: Other open collections, which get only deletions.
        """
        version = collection.model_version
        self._others = tuple(other for other in others if other.model_version != version)
        if self._target is not None and self._target.model_version == version:
            self.follow(None)
        self._active = collection

    def follow(self, target: Collection | None) -> None:
        """Set the target, the collection that is being promoted; None ends the promotion.

        The target gets every record that is written from now on.
        """
        before, self._target = self._target, target
        if target is None or before is None or target.model_version != before.model_version:
            self._changed = set()
        if target is not None:
            self._others = (*self._without(target.model_version), target)

    def forget(self, model_version: str) -> None:
        """Remove a collection that will be dropped. It gets no more deletions."""
        self._others = self._without(model_version)

    def _without(self, model_version: str) -> tuple[Collection, ...]:
        return tuple(other for other in self._others if other.model_version != model_version)

    @property
    def changed(self) -> int:
        """The number of records that are missing or outdated in the target."""
        return len(self._changed)

    def note_changed(self, ids: Iterable[uuid.UUID]) -> None:
        """Add the ids of records that are missing or outdated in the target to the list of them."""
        self._changed.update(ids)

    def take_changed(self) -> list[uuid.UUID]:
        """Return the ids of records that are missing or outdated in the target; clear the list.

        The caller must write them to the target, or give them back with `note_changed`.
        """
        taken, self._changed = self._changed, set()
        return list(taken)
