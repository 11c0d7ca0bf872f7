"""The collections that are open, and which of them answers.

One collection answers. Others are kept from earlier model versions and get deletions only. While a
version is being promoted, its collection is the target: it gets every record that is written, and
the records it missed are noted for the promotion to bring along.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from halftone.core import errors

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterable

    from halftone.services.search.store.port import Collection


class OpenCollections:
    """The open collections. Changed in the thread for writes alone; read in any thread."""

    def __init__(self) -> None:
        """Hold no collection; `open` sets the one that answers."""
        self._active: Collection | None = None
        # Replaced as a whole, so that readers need no lock; `_target` is one of them.
        self._others: tuple[Collection, ...] = ()
        self._target: Collection | None = None
        self._changed: set[uuid.UUID] = set()

    @property
    def active(self) -> Collection:
        """The collection that answers.

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
        """The open collections that do not answer."""
        return self._others

    @property
    def target(self) -> Collection | None:
        """The collection that is being promoted; None if there is no promotion."""
        return self._target

    def open(self, collection: Collection, *, others: Iterable[Collection] = ()) -> None:
        """Set the collection that answers, and those that get deletions as well."""
        version = collection.model_version
        self._others = tuple(other for other in others if other.model_version != version)
        if self._target is not None and self._target.model_version == version:
            self.follow(None)
        self._active = collection

    def follow(self, target: Collection | None) -> None:
        """Set the collection that is being promoted, which gets every record from now on."""
        before, self._target = self._target, target
        if target is None or before is None or target.model_version != before.model_version:
            self._changed = set()
        if target is not None:
            self._others = (*self._without(target.model_version), target)

    def forget(self, model_version: str) -> None:
        """Let go of a collection that is to be dropped."""
        self._others = self._without(model_version)

    def _without(self, model_version: str) -> tuple[Collection, ...]:
        return tuple(other for other in self._others if other.model_version != model_version)

    @property
    def changed(self) -> int:
        """How many records the target holds not at all or not as they are now."""
        return len(self._changed)

    def note_changed(self, ids: Iterable[uuid.UUID]) -> None:
        """Note records that the target missed, or that a promotion took and did not bring along."""
        self._changed.update(ids)

    def take_changed(self) -> list[uuid.UUID]:
        """Return the records that the target missed, and forget them; the caller brings them."""
        taken, self._changed = self._changed, set()
        return list(taken)
