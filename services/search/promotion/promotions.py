"""The door of promotions: starts, shows, cancels and resumes them. `job` does the work.

One process at a time runs a promotion: the one that has its lock. Every other process of the same
collections (several search services on a Qdrant server) follows it, see `follower`, and takes it
over when the process that ran it is gone. A process that starts does so, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import time
import uuid
from typing import TYPE_CHECKING, Final

from halftone.archive import records
from halftone.core import errors, telemetry
from halftone.core.batches import batched
from halftone.services.search.promotion import switch
from halftone.services.search.promotion.files import PromotionFiles
from halftone.services.search.promotion.follower import Follower
from halftone.services.search.promotion.job import PromotionJob
from halftone.services.search.promotion.transitions import State, is_running
from halftone.services.search.store.port import EVERYTHING
from halftone.v1 import models_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from halftone.core.locks import FileLock
    from halftone.services.search.archive.parts import Parts
    from halftone.services.search.store.port import Collection

MAX_LABELLED_NAMES: Final = 20_000
"""The most image names that a request may give in groups."""

_NAMES_AT_A_TIME: Final = 64
_CANCEL_SECONDS: Final = 30.0
_LOCK_SECONDS: Final = 30.0
_LOCK_PAUSE: Final = 0.05

_log = telemetry.get_logger(__name__)


class Promotions:
    """Starts, shows, cancels and resumes the promotions of one archive.

    At most one promotion runs at a time, in one of the archive's processes.
    """

    def __init__(self, parts: Parts) -> None:
        """Prepare the parts. `recover` and `watch` resume interrupted promotions."""
        registry, settings, metrics = parts.registry, parts.settings, parts.metrics
        self._parts = parts
        self._store = parts.store
        self._holdings = parts.holdings
        self._embedder = parts.embedder
        self._registry = registry
        self._settings = settings
        self._shared = settings.store == "server"
        self._files = (
            PromotionFiles(registry.directory, stem=f"promotion-{settings.collection}")
            if self._shared
            else PromotionFiles(settings.data_directory)
        )
        self._starting = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._current: models_pb2.Promotion | None = None
        self._changed = asyncio.Event()
        self._draining = False
        self._follower = Follower(parts)
        self._share = metrics.gauge(
            "promotion_progress", "Share of the images that a promotion has embedded"
        )
        self._running = metrics.gauge("promotion_running", "Whether a promotion runs here")
        self._ended = metrics.counter(
            "promotions_total", "Promotions that ended here", labels=("state",)
        )
        self._progress_failures = metrics.counter(
            "promotion_progress_failures_total",
            "Writes of a promotion's progress that failed; the promotion goes on",
        )

    # Starting.

    def recover(self) -> None:
        """Complete a switch that was interrupted by the end of a process. Blocks.

        Call it before `Engine.start`.
        """
        switch.recover(self._files, store=self._store, registry=self._registry)

    def others(self, model_version: str) -> list[Collection]:
        """Return the collections of all versions but `model_version`. They get deletions, too.

        Blocks.
        """
        return self._follower.others(model_version)

    async def watch(self) -> None:
        """Resume promotions that no process runs, and follow promotions that other processes run.

        It ends when it is cancelled. Requires open collections.
        """
        while True:
            try:
                await self._look()
            except errors.HalftoneError as error:
                _log.warning("promotions_not_watched", error=error.message)
            except Exception:  # noqa: BLE001 - who no longer watched would leave a promotion alone
                _log.exception("promotions_not_watched")
            await asyncio.sleep(self._settings.promotion_poll_seconds)

    async def _look(self) -> None:
        async with self._starting:
            if self._is_running_here():
                return
            promotion = await asyncio.to_thread(self._files.read)
            if is_running(promotion) and (lock := await asyncio.to_thread(self._files.try_lock)):
                self._begin(promotion, lock=lock)
                return
            await self._follower.follow(promotion)

    # Calls of the servicer.

    async def promote(
        self,
        reference: str,
        *,
        force: bool,
        groups: Sequence[Sequence[str]] = (),
        roll_back: bool = False,
    ) -> models_pb2.Promotion:
        """Start a promotion, or return the running one if it is of the same version.

        Args:
            reference: The version, as `Registry.resolve` takes it.
            force: Whether to promote it even if it finds less.
            groups: Names of images, at most 20,000. The images of a group show the same picture.
            roll_back: Whether to record that this goes back to an earlier version.

        Raises:
            errors.InvalidArgument: A name is malformed, or there are too many.
            errors.NotFound: There is no such version, or no image of the groups is in the archive.
            errors.FailedPrecondition: Another promotion is running, or the version is active
                already.
            errors.StorageFull: The promotion cannot be recorded, so it does not begin.
        """
        _ = self._holdings.collection
        # 20,000 names take a tenth of a second.
        await asyncio.to_thread(_check_groups, groups)
        version = (await asyncio.to_thread(self._registry.resolve, reference)).id
        await self._check_any_exists(groups)
        async with self._starting:
            lock = await self._lock()
            if lock is None:
                return self._require_same(await self._read(), version=version)
            try:
                last = await asyncio.to_thread(self._files.read)
                if is_running(last):
                    self._begin(last, lock=lock)
                    return self._require_same(last, version=version)
                promotion = await asyncio.to_thread(
                    self._new, version, force=force, roll_back=roll_back
                )
                await asyncio.to_thread(self._files.write_groups, groups)
                await asyncio.to_thread(self._files.write, promotion)
                self._begin(promotion, lock=lock)
            except BaseException:
                if not self._is_running_here():
                    lock.close()
                raise
            return copy.deepcopy(promotion)

    async def _check_any_exists(self, groups: Sequence[Sequence[str]]) -> None:
        """Raise NotFound if no image of the groups is in the archive.

        This is checked before the slow embedding.
        """
        names = [name for group in groups for name in group]
        collection = self._holdings.collection
        for part in batched(names, _NAMES_AT_A_TIME):
            ids = [records.parse_name(name).point_id for name in part]
            if await self._holdings.threads.read("retrieve", collection.retrieve, ids):
                return
        if names:
            raise errors.NotFound(
                f"labelled_groups: none of the {len(names):,} images is here; the first is "
                f"{names[0]}. Is the archive's name right?",
                resource_type="image",
                resource_name=names[0],
            )

    async def roll_back(self) -> models_pb2.Promotion:
        """Promote the previously active version. Newer records are embedded first.

        Raises:
            errors.FailedPrecondition: There is no previous version.
        """
        previous = await asyncio.to_thread(self._registry.find_previous)
        # The version was active before, so it needs no comparison.
        return await self.promote(previous, force=True, roll_back=True)

    async def current(self) -> models_pb2.Promotion:
        """Return the running promotion, or the last one.

        Raises:
            errors.NotFound: There was no promotion.
        """
        return copy.deepcopy(await self._read())

    async def changes(self) -> AsyncIterator[models_pb2.Promotion]:
        """Yield the promotion now and whenever it changes, until it has ended.

        Raises:
            errors.NotFound: There was no promotion.
            errors.Unavailable: The service is shutting down.
        """
        last = None
        while True:
            changed = self._changed
            promotion = await self.current()
            if (promotion.id, promotion.revision) != last:
                last = promotion.id, promotion.revision
                yield promotion
            if not is_running(promotion):
                return
            if self._draining:
                raise errors.Unavailable(
                    "The service is shutting down; the promotion goes on when it is back.",
                    reason="DRAINING",
                    retry_after=1.0,
                )
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.promotion_poll_seconds):
                    await changed.wait()

    async def cancel(self) -> models_pb2.Promotion:
        """Cancel the running promotion and wait until it has ended, for 30 seconds at most.

        A promotion that switches at this moment is returned as SUCCEEDED.

        Raises:
            errors.NotFound: There was no promotion.
            errors.FailedPrecondition: The promotion has ended, or is switching.
        """
        promotion = await self.current()
        if not is_running(promotion) or promotion.state == State.SWITCHING:
            raise errors.FailedPrecondition(
                f"The promotion of {promotion.model_version} cannot be stopped: it "
                f"{'is switching' if is_running(promotion) else 'has ended'}.",
                subject=promotion.model_version,
                reason="PROMOTION_ENDED",
            )
        await asyncio.to_thread(self._files.ask_to_cancel, promotion.id)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CANCEL_SECONDS):
                async for changed in self.changes():
                    promotion = changed
        return promotion

    async def delete(self, reference: str) -> None:
        """Delete a version and its collection.

        Raises:
            errors.NotFound: There is no such version.
            errors.FailedPrecondition: The version is active in the registry or the archive, or is
                being promoted.
        """
        version = (await asyncio.to_thread(self._registry.resolve, reference)).id
        async with self._starting:
            # None while a promotion runs; it may still be that of another version.
            with await self._lock() or contextlib.nullcontext():
                promotion = await asyncio.to_thread(self._files.read)
                taking_part = is_running(promotion) and version in {
                    promotion.model_version,
                    promotion.from_model_version,
                }
                active = await asyncio.to_thread(self._store.active)
                pointer = await asyncio.to_thread(self._registry.pointer)
                if taking_part or version in {active, pointer.active}:
                    state = "being promoted" if taking_part else "active"
                    raise errors.FailedPrecondition(
                        f"Model version {version} is {state}; promote another one first.",
                        subject=version,
                        reason="PROMOTION_RUNNING" if taking_part else "VERSION_ACTIVE",
                    )
                if version in await asyncio.to_thread(self._store.model_versions):
                    await switch.drop(
                        version,
                        store=self._store,
                        holdings=self._holdings,
                        traffic=self._parts.traffic,
                    )
                await asyncio.to_thread(self._registry.delete, version)

    def counts(self) -> dict[str, int]:
        """Count the images of each open collection, by model version. Blocks.

        Collections that another process has dropped are left out.
        """
        holdings = self._holdings
        counts: dict[str, int] = {}
        for collection in (holdings.collection, *holdings.collections.others):
            with contextlib.suppress(errors.NotFound):
                counts[collection.model_version] = collection.count(EVERYTHING)
        return counts

    def answering(self) -> str:
        """Return the model version of the active collection."""
        return self._holdings.collection.model_version

    # Running.

    def _new(self, version: str, *, force: bool, roll_back: bool) -> models_pb2.Promotion:
        active = self._store.active() or self._holdings.collection.model_version
        if version == active == self._registry.pointer().active:
            raise errors.FailedPrecondition(
                f"Model version {version} is active already.",
                subject=version,
                reason="VERSION_ACTIVE",
            )
        promotion = models_pb2.Promotion(
            id=uuid.uuid4().hex,
            model_version=version,
            from_model_version=active,
            state=State.EMBEDDING,
            force=force,
            roll_back=roll_back,
            revision=1,
        )
        promotion.create_time.GetCurrentTime()
        promotion.update_time.CopyFrom(promotion.create_time)
        return promotion

    def _require_same(
        self, promotion: models_pb2.Promotion, *, version: str
    ) -> models_pb2.Promotion:
        if promotion.model_version == version:
            return copy.deepcopy(promotion)
        raise errors.FailedPrecondition(
            f"{promotion.model_version} is being promoted; wait for its end, or cancel it.",
            subject=promotion.model_version,
            reason="PROMOTION_RUNNING",
        )

    async def _lock(self) -> FileLock | None:
        """Take the lock. Returns None while another promotion has it."""
        give_up = time.monotonic() + _LOCK_SECONDS
        while True:
            lock = await asyncio.to_thread(self._files.try_lock)
            if lock is not None or time.monotonic() > give_up:
                return lock
            # A promotion that has just ended may still be tidying up.
            if is_running(await self._read()):
                return None
            await asyncio.sleep(_LOCK_PAUSE)

    def _is_running_here(self) -> bool:
        return self._task is not None and not self._task.done()

    def _begin(self, promotion: models_pb2.Promotion, *, lock: FileLock) -> None:
        job = PromotionJob(
            promotion,
            parts=self._parts,
            files=self._files,
            tell=self._tell,
            others=self.others,
            progress_failures=self._progress_failures,
        )
        self._current = promotion

        async def run() -> None:
            self._running.set(1)
            try:
                with lock:
                    await job.run()
                if not is_running(promotion):
                    self._ended.labels(State.Name(promotion.state).lower()).inc()
            finally:
                self._running.set(0)

        self._task = asyncio.create_task(run())

    def _tell(self, promotion: models_pb2.Promotion) -> None:
        self._share.set(promotion.images_done / max(promotion.images_total, 1))
        self._changed.set()
        self._changed = asyncio.Event()

    async def _read(self) -> models_pb2.Promotion:
        if self._is_running_here() and self._current is not None:
            return self._current
        found = await asyncio.to_thread(self._files.read)
        if found is None:
            raise errors.NotFound("No model version was promoted yet.", resource_type="promotion")
        return found

    def drain(self) -> None:
        """End the streams of `changes`; the promotion goes on until `close`."""
        self._draining = True
        self._changed.set()

    async def close(self) -> None:
        """Stop a promotion that runs here. The next start or another process resumes it."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task


def _check_groups(groups: Sequence[Sequence[str]]) -> None:
    if sum(map(len, groups)) > MAX_LABELLED_NAMES:
        raise errors.InvalidArgument(
            f"labelled_groups: at most {MAX_LABELLED_NAMES:,} images.", field="labelled_groups"
        )
    for at, group in enumerate(groups):
        for number, name in enumerate(group):
            records.parse_name(name, field=f"labelled_groups[{at}].images[{number}]")
