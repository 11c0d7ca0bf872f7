"""Embeds the archive into the collection of the version that is being promoted."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from halftone.core import errors
from halftone.services.search.promotion import compare
from halftone.services.search.promotion.progress import Progress
from halftone.services.search.promotion.sync import Sync
from halftone.services.search.store.port import EVERYTHING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from halftone.services.search.archive.pace import Pace
    from halftone.services.search.archive.parts import Parts
    from halftone.services.search.archive.patience import Patience
    from halftone.services.search.promotion.files import PromotionFiles
    from halftone.services.search.promotion.journal import Journal
    from halftone.services.search.store.port import Collection, Stored
    from halftone.v1 import models_pb2

_MAX_PASSES: Final = 5
_ASK_SECONDS: Final = 0.5


class Embedding:
    """Embeds the archive with another version while the old one is active.

    Attributes:
        target: The version's collection, once `run` has opened it.
        sync: Brings the collection in step with the active one.
        sample: The images by which the two versions are compared.
    """

    def __init__(
        self,
        promotion: models_pb2.Promotion,
        *,
        parts: Parts,
        files: PromotionFiles,
        journal: Journal,
        pace: Pace,
        patience: Patience,
        check: Callable[[], None],
    ) -> None:
        """Prepare the embedding. `run` does the work.

        Args:
            promotion: The promotion, whose counts, speed and time left are updated.
            parts: The shared parts of the service.
            files: The files that list the records which the active version could not embed.
            journal: Records progress.
            pace: Makes room for searches.
            patience: Waits for an embedder or a store that does not answer.
            check: Called between pieces; raises an error to end the work.
        """
        self.target: Collection | None = None
        self.sync: Sync | None = None
        self.sample = compare.ComparisonSample(seed=promotion.model_version)
        self._promotion = promotion
        self._store = parts.store
        self._holdings = parts.holdings
        self._embedder = parts.embedder
        self._registry = parts.registry
        self._files = files
        self._settings = parts.settings
        self._shared = parts.settings.store == "server"
        self._journal = journal
        self._progress = Progress(promotion)
        self._pace = pace
        self._patience = patience
        self._check = check

    async def run(self) -> None:
        """Embed the missing images, and delete those that left the archive.

        Raises:
            errors.HalftoneError: The version is damaged, the embedder does not load it, or the
                store or the embedder did not answer in time.
        """
        promotion, holdings = self._promotion, self._holdings
        self.target = await self._open_target()
        self.sync = sync = self.sync_from(holdings.collection, target=self.target)
        total = await self._patience(
            holdings.threads.read, "count", holdings.collection.count, EVERYTHING
        )
        promotion.images_total = total
        self._journal.note(at_once=True)
        await self.wait_until_loaded()
        if self._shared:
            # Wait until every process has seen the promotion and writes to both collections.
            await asyncio.sleep(2 * self._settings.promotion_poll_seconds)
        self.sample = sample = compare.ComparisonSample(seed=promotion.model_version)

        def look(page: Sequence[Stored], lacking: int) -> None:
            sample.look(page)
            self._progress.add(len(page), embedded=lacking, failed=len(sync.failed))
            self._journal.note()

        for _ in range(_MAX_PASSES):
            count = await sync.sync_all(look, begin=lambda: self._progress.begin(total=total))
            # A second pass finds records that other processes did not write to both collections.
            if not self._shared or not count:
                break
        lacking = await asyncio.to_thread(self._files.read_failed, promotion.from_model_version)
        await sync.delete_strays(spared=lacking)
        await self.catch_up()
        promotion.images_failed = len(sync.failed)

    async def _open_target(self) -> Collection:
        version = self._promotion.model_version
        dimension = await asyncio.to_thread(self._verify, version)
        # Wait for its end: otherwise it would still create files while the store is closed.
        target = await self._patience(
            self._holdings.threads.complete,
            self._store.open,
            version,
            dimension=dimension,
        )
        await asyncio.to_thread(
            self._registry.need, [self._holdings.collection.model_version, version]
        )
        await self._holdings.threads.write("follow", self._holdings.collections.follow, target)
        return target

    def _verify(self, version: str) -> int:
        """Compare a version's files with its manifest. Returns its dimension. Blocks."""
        self._registry.verify(version)
        return int(self._registry.resolve(version).spec()["dimension"])

    def sync_from(self, source: Collection, *, target: Collection) -> Sync:
        """Return an object that brings one collection in step with another; it has not run yet."""
        return Sync(
            source=source,
            target=target,
            holdings=self._holdings,
            embedder=self._embedder,
            pace=self._pace,
            workers=self._settings.promotion_workers,
            patience=self._patience,
            check=self._check,
        )

    async def wait_until_loaded(self) -> None:
        """Wait for the embedder to load the version: searches will need it at once.

        Raises:
            errors.FailedPrecondition: The embedder does not load it.
        """
        version = self._promotion.model_version
        give_up = time.monotonic() + self._settings.promotion_patience_seconds
        problem = f"it has not loaded {version}; its log says why"
        while True:
            try:
                if version in await self._embedder.list_versions(seconds=5.0):
                    return
            except errors.HalftoneError as error:
                problem = error.message
            self._check()
            if time.monotonic() > give_up:
                raise errors.FailedPrecondition(
                    f"The embedder cannot embed with {version}: {problem}.",
                    subject=version,
                    reason="MODEL_NOT_LOADED",
                )
            await asyncio.sleep(_ASK_SECONDS)

    async def catch_up(self) -> None:
        """Bring records in step that were written to one collection only.

        Does nothing before `run`.
        """
        if self.sync is None:
            return
        while self._holdings.collections.changed:
            ids = await self._holdings.threads.write(
                "changed", self._holdings.collections.take_changed
            )
            try:
                await self.sync.sync_some(ids)
            except BaseException:
                self._holdings.collections.note_changed(ids)
                raise
