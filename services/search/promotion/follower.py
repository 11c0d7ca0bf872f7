"""Keeps a process in step while another process runs a promotion, or none does."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from halftone.core import errors, telemetry
from halftone.services.search.promotion.transitions import is_running

if TYPE_CHECKING:
    from halftone.services.search.archive.parts import Parts
    from halftone.services.search.store.port import Collection
    from halftone.v1 import models_pb2

_log = telemetry.get_logger(__name__)


class Follower:
    """Makes this process write to both collections during a promotion, and follow the alias."""

    def __init__(self, parts: Parts) -> None:
        """Prepare, without doing anything yet. `follow` does the work."""
        self._store = parts.store
        self._holdings = parts.holdings
        self._registry = parts.registry
        # Whether other processes answer for the same collections.
        self._shared = parts.settings.store == "server"
        self._differing: str | None = None
        self._differs = parts.metrics.gauge(
            "model_pointer_differs",
            "Whether the registry's active version is another than the one that answers",
        )

    def others(self, model_version: str) -> list[Collection]:
        """Return the collections of all other versions, which get deletions, too. Blocks.

        A collection that cannot be opened is left out and logged.
        """
        collections = []
        for version in self._store.model_versions():
            if version != model_version:
                try:
                    collections.append(self._store.open(version, dimension=None))
                except errors.HalftoneError as error:
                    _log.error("collection_not_opened", model_version=version, error=error.message)
        return collections

    async def follow(self, promotion: models_pb2.Promotion | None) -> None:
        """Keep this process in step with a promotion that another process runs, or that has ended.

        Args:
            promotion: The last promotion; None if there was none.
        """
        holdings, target = self._holdings, None
        if is_running(promotion):
            with contextlib.suppress(errors.NotFound):
                target = holdings.collections.target
                if target is None or target.model_version != promotion.model_version:
                    target = await holdings.threads.complete(
                        self._store.open, promotion.model_version, dimension=None
                    )
        if self._shared:
            active = await asyncio.to_thread(self._store.active)
            if active is not None and active != holdings.collection.model_version:
                await holdings.threads.write("switch", self._activate, active)
        if target is not None and target.model_version == holdings.collection.model_version:
            target = None
        if target is not holdings.collections.target:
            await holdings.threads.write("follow", holdings.collections.follow, target)
        if not is_running(promotion):
            # While a promotion runs, its process sets the needed versions.
            await asyncio.to_thread(self._compare_pointer)

    def _activate(self, model_version: str) -> None:
        collection = self._store.open(model_version, dimension=None)
        self._holdings.collections.open(collection, others=self.others(model_version))
        _log.info("collection_opened", model_version=model_version)

    def _compare_pointer(self) -> None:
        active = self._registry.pointer().active
        answering = self._holdings.collection.model_version
        differing = active if active is not None and active != answering else None
        if differing != self._differing:
            self._differing = differing
            self._differs.set(int(differing is not None))
            # The embedder follows the pointer, so keep the archive's own version loaded as well.
            self._registry.need([answering])
            if differing is not None:
                _log.warning(
                    "another_model_version_is_active",
                    model_version=answering,
                    registry=differing,
                    do=f"halftone models promote {differing}",
                )
