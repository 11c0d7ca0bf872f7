"""One promotion, from the first image to the switch.

    EMBEDDING   the archive goes into the version's collection while the old one answers; what is
                written meanwhile goes to both
    COMPARING   the two are compared; a version that is worse is REFUSED, unless it is forced
    SWITCHING   written down before anything moves: the alias, then the registry's pointer, then
                this process, between two writes. A process that ends in the middle of it, or
                before all is there that others wrote to the old collection, is followed by one
                that completes it.

Until SWITCHING is on disk nothing has changed for anybody; what was embedded stays, and the next
try asks only for what is missing.
"""

from __future__ import annotations

import asyncio
import collections
import time
from typing import TYPE_CHECKING, Final

from halftone.archive import records
from halftone.core import errors, telemetry
from halftone.services.search.archive.pace import Pace
from halftone.services.search.archive.patience import EMBEDDER, STORE, Patience
from halftone.services.search.promotion import compare
from halftone.services.search.promotion.state import State, is_running
from halftone.services.search.promotion.sync import Sync
from halftone.services.search.store.port import EVERYTHING
from halftone.v1 import models_pb2

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Sequence

    from halftone.core.settings import SearchSettings
    from halftone.registry.versions import Registry
    from halftone.services.search.archive.embedder_client import Embedder
    from halftone.services.search.archive.holdings import Holdings
    from halftone.services.search.archive.pace import Traffic
    from halftone.services.search.promotion.state import PromotionFiles
    from halftone.services.search.store.port import Collection, Store, Stored

_TELL_SECONDS: Final = 0.5
_SAVE_SECONDS: Final = 2.0
_RATE_SECONDS: Final = 20.0
_MOST_PASSES: Final = 5
_ASK_SECONDS: Final = 0.5

_log = telemetry.get_logger(__name__)


class _Stopped(Exception):  # noqa: N818 - no error
    """The promotion is to be stopped."""


class Job:
    """A promotion that this process runs. `promotion` is how it stands."""

    def __init__(
        self,
        promotion: models_pb2.Promotion,
        *,
        store: Store,
        holdings: Holdings,
        embedder: Embedder,
        traffic: Traffic,
        registry: Registry,
        files: PromotionFiles,
        settings: SearchSettings,
        tell: Callable[[models_pb2.Promotion], None],
        others: Callable[[str], list[Collection]],
    ) -> None:
        """Does nothing yet.

        Args:
            promotion: How it stood; SWITCHING is completed, anything else begins with EMBEDDING.
            store: The collections.
            holdings: What answers.
            embedder: Embeds.
            traffic: The searches, which go first.
            registry: The versions and their pointer.
            files: Where the state is kept; the caller has the lock.
            settings: The service's.
            tell: Called with the promotion when it changed.
            others: Gives the collections besides that of a version.
        """
        self.promotion = promotion
        self._store = store
        self._holdings = holdings
        self._embedder = embedder
        self._traffic = traffic
        self._registry = registry
        self._files = files
        self._settings = settings
        self._tell = tell
        self._others = others
        self._shared = settings.store == "server"
        self._pace = Pace(
            traffic=traffic,
            share=settings.promotion_share,
            most=settings.promotion_batch,
            workers=settings.promotion_workers,
        )
        self._patience = Patience(
            seconds=settings.promotion_patience_seconds, check=self._check, work="promotion"
        )
        self._told = self._saved = 0.0
        self._embedded = 0
        # When, and how many images had been looked at and embedded then.
        self._rates: collections.deque[tuple[float, int, int]] = collections.deque()

    async def run(self) -> None:
        """Runs it to its end. A cancellation leaves it to be resumed.

        So does a store that does not answer after the switch: the promotion stays SWITCHING.
        """
        promotion = self.promotion
        _log.info("promotion_begins", model_version=promotion.model_version, state=_name(promotion))
        try:
            await self._run()
        except _Stopped:
            await self._end(State.CANCELLED)
        except errors.HalftoneError as error:
            await self._end(State.FAILED, error=error)
        except Exception:  # noqa: BLE001 - a promotion ends in a state, also when there is a bug
            _log.exception("promotion_failed", model_version=promotion.model_version)
            bug = errors.Internal("Something went wrong; the log of the search service has it.")
            await self._end(State.FAILED, error=bug)
        if is_running(promotion):
            return
        _log.info(
            "promotion_ended",
            model_version=promotion.model_version,
            state=_name(promotion),
            images=promotion.images_done,
            failed=promotion.images_failed,
            refusal=promotion.comparison.refusal or None,
            error=promotion.error.message or None,
        )

    async def _run(self) -> None:
        promotion = self.promotion
        answering = self._holdings.collection.model_version
        if (
            promotion.state == State.SWITCHING
            and not self._shared
            and answering != promotion.model_version
        ):
            # The switch failed, and so did writing that down. What was imported since went to the
            # old collection alone. (Of several processes, stragglers are gathered in any case.)
            promotion.state = State.EMBEDDING
        if promotion.state != State.SWITCHING:
            if promotion.model_version != promotion.from_model_version:
                target = await self._open_target()
                sync = self._sync(source=self._holdings.collection, target=target)
                sample = await self._embed(sync)
                if not await self._compare(target=target, sample=sample):
                    return
            else:
                # Only the pointer is to be put right.
                target, sync = self._holdings.collection, None
            await self._switch(target, sync=sync)
        elif not await self._moved_again():
            return
        # The version answers, whatever comes from here on.
        if self._shared and not await self._gathered():
            return
        await self._end(State.SUCCEEDED)
        try:
            await asyncio.to_thread(self._registry.need, [promotion.model_version])
            await self._drop_unused()
        except Exception:  # noqa: BLE001 - the next promotion tries again
            _log.warning("promotion_not_tidied", exc_info=True)

    # Embedding.

    async def _open_target(self) -> Collection:
        version = self.promotion.model_version
        await asyncio.to_thread(self._registry.verify, version)
        spec = await asyncio.to_thread(self._registry.resolve(version).spec)
        # To its end, or it would go on making files while the store is closed.
        target = await self._patience(
            self._holdings.complete,
            self._store.open,
            version,
            dimension=int(spec["dimension"]),
        )
        await asyncio.to_thread(
            self._registry.need, [self._holdings.collection.model_version, version]
        )
        await self._holdings.write("follow", self._holdings.follow, target)
        return target

    def _sync(self, *, source: Collection, target: Collection) -> Sync:
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

    async def _embed(self, sync: Sync) -> compare.Sample:
        promotion, holdings = self.promotion, self._holdings
        promotion.state = State.EMBEDDING
        total = await self._patience(holdings.read, "count", holdings.collection.count, EVERYTHING)
        promotion.images_total = total
        await self._save()
        await self._loaded()
        if self._shared:
            # Until every process has seen it, and writes to both collections.
            await asyncio.sleep(2 * self._settings.promotion_poll_seconds)
        sample = compare.Sample(seed=promotion.model_version)

        def begin() -> None:
            promotion.images_done, promotion.images_total = 0, total
            promotion.images_per_second = promotion.seconds_left = 0.0
            self._embedded = 0
            self._rates.clear()

        def look(page: Sequence[Stored], lacking: int) -> None:
            sample.look(page)
            self._progress(len(page), lacking=lacking, failed=len(sync.failed))

        for _ in range(_MOST_PASSES):
            count = await sync.everything(look, begin=begin)
            # What other processes failed to write to both is found by looking again.
            if not self._shared or not count:
                break
        lacking = await asyncio.to_thread(self._files.read_failed, promotion.from_model_version)
        await sync.sweep(spared=lacking)
        await self._catch_up(sync)
        promotion.images_failed = len(sync.failed)
        return sample

    async def _loaded(self) -> None:
        """Waits for the embedder to have the version: searches will need it at once.

        Raises:
            errors.FailedPrecondition: It does not load it.
        """
        version = self.promotion.model_version
        give_up = time.monotonic() + self._settings.promotion_patience_seconds
        problem = f"it has not loaded {version}; its log says why"
        while True:
            try:
                if version in await self._embedder.loaded(seconds=5.0):
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

    async def _catch_up(self, sync: Sync) -> None:
        """Brings in step what was written to one collection only."""
        while self._holdings.changed:
            ids = await self._holdings.write("changed", self._holdings.take_changed)
            try:
                await sync.these(ids)
            except BaseException:
                self._holdings.put_back(ids)
                raise

    # Comparing.

    async def _compare(self, *, target: Collection, sample: compare.Sample) -> bool:
        """Compares the two; False when the version is refused."""
        promotion, holdings = self.promotion, self._holdings
        promotion.state = State.COMPARING
        await self._save()
        old = holdings.collection
        sampled, share = await compare.agreement(
            sample.queries(),
            old=old,
            new=target,
            holdings=holdings,
            pace=self._pace,
            patience=self._patience,
        )
        comparison = models_pb2.Comparison(sampled_queries=sampled, top10_agreement=share)
        given = sample.draw(_ids(await asyncio.to_thread(self._files.read_groups)))
        self._check()
        groups, (before, after) = await compare.vectors_of(
            given or sample.groups(),
            collections=(old, target),
            holdings=holdings,
            pace=self._pace,
            patience=self._patience,
        )
        await asyncio.to_thread(
            compare.judge,
            comparison,
            groups=groups,
            old=before,
            new=after,
            failed=promotion.images_failed,
            total=promotion.images_total,
        )
        self._check()
        promotion.comparison.CopyFrom(comparison)
        if comparison.refusal and not promotion.force:
            error = compare.refused(comparison, model_version=promotion.model_version)
            await self._end(State.REFUSED, error=error)
            return False
        await self._save()
        return True

    # Switching.

    async def _switch(self, target: Collection, *, sync: Sync | None) -> None:
        give_up = time.monotonic() + self._settings.promotion_patience_seconds
        await self._loaded()
        self._check()
        # From here on it cannot be stopped any more.
        self.promotion.state = State.SWITCHING
        while not await self._patience(self._holdings.write, "switch", self._move_if_in_step, sync):
            if sync is not None:
                await self._catch_up(sync)
            if time.monotonic() > give_up:
                raise errors.Unavailable("Records change faster than they can be embedded.")
        self.promotion.images_failed = len(sync.failed) if sync is not None else 0
        _log.info("promotion_switched", model_version=target.model_version)

    def _move_if_in_step(self, sync: Sync | None) -> bool:
        """The switch, in the thread for writes: no record changes in the middle of it."""
        if self._holdings.changed:
            return False
        if sync is not None:
            self._files.write_failed(self.promotion.model_version, sync.failed)
        self._stamp()
        self._files.write(self.promotion)
        self._move()
        return True

    def _move(self) -> None:
        version = self.promotion.model_version
        # First, so that nothing is left to fail once the alias and the pointer have moved.
        collection, others = self._store.open(version, dimension=None), self._others(version)
        move(self.promotion, store=self._store, registry=self._registry)
        self._holdings.open(collection, others=others)

    async def _moved_again(self) -> bool:
        """Completes a move that was cut off; False when it is left to the next try."""
        try:
            await self._patience(self._holdings.write, "switch", self._move)
        except STORE as error:
            _log.warning("switch_waits", error=error.message)
            return False
        return True

    async def _gathered(self) -> bool:
        """Gathers stragglers; False when that is left to the next try."""
        try:
            await self._gather_stragglers()
        except EMBEDDER as error:
            _log.warning("switch_waits", error=error.message)
            return False
        except Exception:  # noqa: BLE001 - tried for ever, it would be in the way of a roll-back
            _log.exception("stragglers_not_gathered", model_version=self.promotion.model_version)
        return True

    async def _gather_stragglers(self) -> None:
        """Takes over what other processes wrote to the old collection before they saw that."""
        promotion = self.promotion
        await asyncio.sleep(3 * self._settings.promotion_poll_seconds)
        try:
            source = await self._patience(
                self._holdings.complete,
                self._store.open,
                promotion.from_model_version,
                dimension=None,
            )
        except errors.NotFound:
            return
        await self._sync(source=source, target=self._holdings.collection).everything(
            lambda _page, _lacking: None
        )

    async def _drop_unused(self) -> None:
        """Drops collections that neither answer nor did before, once nobody reads them."""
        pointer = await asyncio.to_thread(self._registry.pointer)
        kept = {
            self.promotion.model_version,
            self.promotion.from_model_version,
            pointer.active,
            pointer.previous,
        }
        for version in await asyncio.to_thread(self._store.model_versions):
            if version not in kept:
                await drop(
                    version, store=self._store, holdings=self._holdings, traffic=self._traffic
                )

    # The state.

    def _check(self) -> None:
        if self.promotion.state != State.SWITCHING and self._files.is_cancelled(self.promotion.id):
            raise _Stopped

    def _progress(self, images: int, *, lacking: int, failed: int) -> None:
        promotion, now = self.promotion, time.monotonic()
        promotion.images_done += images
        promotion.images_total = max(promotion.images_total, promotion.images_done)
        promotion.images_failed = failed
        self._embedded += lacking
        # What an earlier run has embedded is passed over in no time and says nothing of the speed:
        # it is measured from the first image that this run embeds.
        if self._embedded:
            self._rates.append((now, promotion.images_done, self._embedded))
            while now - self._rates[0][0] > _RATE_SECONDS:
                self._rates.popleft()
            began, done, embedded = self._rates[0]
            looked_at = promotion.images_done - done
            if now > began and looked_at:
                promotion.images_per_second = (self._embedded - embedded) / (now - began)
                # Where few are lacking, most of what is left is only looked at.
                left = promotion.images_total - promotion.images_done
                promotion.seconds_left = left * (now - began) / looked_at
        if now - self._told > _TELL_SECONDS:
            self._told = now
            self._stamp()
            self._tell(promotion)
        if now - self._saved > _SAVE_SECONDS:
            self._saved = now
            self._files.write(promotion)

    def _stamp(self) -> None:
        self.promotion.revision += 1
        self.promotion.update_time.GetCurrentTime()

    async def _save(self) -> None:
        self._stamp()
        await asyncio.to_thread(self._files.write, self.promotion)
        self._tell(self.promotion)

    async def _end(self, state: State, *, error: errors.HalftoneError | None = None) -> None:
        promotion = self.promotion
        await self._holdings.write("follow", self._holdings.follow, None)
        # With the revision that `_save` gives it: who looks in between would end with an older one.
        promotion.state = state
        promotion.seconds_left = 0.0
        promotion.end_time.GetCurrentTime()
        if error is not None:
            promotion.error.CopyFrom(errors.to_status(error))
        try:
            await self._save()
        except errors.HalftoneError as problem:
            # It is over all the same; a later start will run it again.
            _log.error("promotion_not_saved", error=problem.message)
            self._tell(promotion)


def move(promotion: models_pb2.Promotion, *, store: Store, registry: Registry) -> None:
    """Moves the alias and the pointer; both stay, or go back, when one cannot be moved.

    Where both have moved they stay: what was written since went to the new collection alone.
    """
    if store.active() == promotion.model_version == registry.pointer().active:
        return
    try:
        store.set_active(promotion.model_version)
        registry.promote(promotion.model_version)
    except BaseException:
        if promotion.from_model_version != promotion.model_version:
            store.set_active(promotion.from_model_version)
        raise


async def drop(model_version: str, *, store: Store, holdings: Holdings, traffic: Traffic) -> None:
    """Drops a collection, once the searches that it still answers have ended."""
    await holdings.write("forget", holdings.forget, model_version)
    while traffic.using(model_version):  # noqa: ASYNC110 - rare, and not worth an event for each
        await asyncio.sleep(_ASK_SECONDS)
    await holdings.write("drop", store.drop, model_version)
    _log.info("collection_dropped", model_version=model_version)


def _ids(groups: Sequence[Sequence[str]]) -> list[list[uuid.UUID]]:
    return [[records.parse_name(name).point_id for name in group] for group in groups]


def _name(promotion: models_pb2.Promotion) -> str:
    return State.Name(promotion.state)
