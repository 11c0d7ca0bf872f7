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
    from collections.abc import Sequence

    from halftone.services.search.archive.parts import Parts
    from halftone.services.search.promotion.background import Background
    from halftone.services.search.promotion.files import PromotionFiles
    from halftone.services.search.promotion.journal import Journal
    from halftone.services.search.store.port import Collection, Stored
    from halftone.v1 import models_pb2

_MAX_PASSES: Final = 5
_ASK_SECONDS: Final = 0.5


class Embedding:
    """Embeds the archive with another version while the old one is active.

    Attributes:
        sync: Brings the new version's collection in step with the active one. None until `run` has
            opened the collection.
        sample: The images by which the two versions are compared.
    """

    def __init__(
        self,
        promotion: models_pb2.Promotion,
        *,
        parts: Parts,
        files: PromotionFiles,
        journal: Journal,
        work: Background,
    ) -> None:
        """Prepare the embedding. `run` does the work.

        Args:
            promotion: The promotion. Its counts, its speed and its time left are updated.
            parts: The shared parts of the service.
            files: The files of the promotion. One lists the records that the active version could
                not embed.
            journal: Records progress.
            work: Runs the calls beside searches, and ends the embedding if asked to.
        """
        self.sync: Sync | None = None
        self.sample = compare.ComparisonSample(seed=promotion.model_version)
        self._promotion = promotion
        self._parts = parts
        self._holdings = parts.holdings
        self._embedder = parts.embedder
        self._registry = parts.registry
        self._files = files
        self._settings = parts.settings
        self._shared = parts.settings.store == "server"
        self._journal = journal
        self._progress = Progress(promotion)
        self._work = work

    async def run(self) -> None:
        """Embed the images that the new collection lacks; delete images that left the archive.

        Raises:
            errors.HalftoneError: The version is damaged, the embedder does not load it, or the
                store or the embedder did not answer in time.
        """
        promotion, holdings = self._promotion, self._holdings
        self.sync = sync = Sync(
            source=holdings.collection,
            target=await self._open_target(),
            parts=self._parts,
            work=self._work,
        )
        total = await self._work.read("count", holdings.collection.count, EVERYTHING)
        promotion.images_total = total
        self._journal.note(at_once=True)
        await self.wait_until_loaded()
        if self._shared:
            # Wait until every process has seen the promotion and writes to both collections.
            await asyncio.sleep(2 * self._settings.promotion_poll_seconds)

        def look(page: Sequence[Stored], lacking: int) -> None:
            self.sample.look(page)
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
        # To its end, or it would go on making files while the store is closed.
        target = await self._work.repeat(
            self._holdings.threads.complete,
            self._parts.store.open,
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

    async def wait_until_loaded(self) -> None:
        """Wait until the embedder has loaded the version. Searches will need it at once.

        Raises:
            errors.FailedPrecondition: The embedder has not loaded it in time.
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
            self._work.check()
            if time.monotonic() > give_up:
                raise errors.FailedPrecondition(
                    f"The embedder cannot embed with {version}: {problem}.",
                    subject=version,
                    reason="MODEL_NOT_LOADED",
                )
            await asyncio.sleep(_ASK_SECONDS)

    async def catch_up(self) -> None:
        """Bring records in step that were written to only one of the two collections.

        Does nothing before `run` has opened the new collection.
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
