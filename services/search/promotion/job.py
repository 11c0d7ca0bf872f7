"""Runs one promotion: walks over the steps of `transitions`, from the first image to the switch.

Each method `_embed`, `_compare`, … does the work of one step and ends with the event that leads to
the next step. Until the switch is on disk, nothing has changed for anybody. Records that were
embedded stay, so that the next attempt embeds only the missing ones. A process may end in the
middle of the switch, or before it has taken over all records that others wrote to the old
collection. Then another process completes the promotion.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from halftone.core import errors, telemetry
from halftone.services.search.archive.patience import EMBEDDER, STORE
from halftone.services.search.promotion import compare, switch
from halftone.services.search.promotion.background import Background
from halftone.services.search.promotion.cancellation import Cancellation, StopPromotion
from halftone.services.search.promotion.embedding import Embedding
from halftone.services.search.promotion.journal import Journal
from halftone.services.search.promotion.sync import Sync
from halftone.services.search.promotion.transitions import (
    STEPS,
    Event,
    State,
    Step,
    is_running,
    next_step,
    resume,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from prometheus_client import Counter

    from halftone.services.search.archive.parts import Parts
    from halftone.services.search.promotion.files import PromotionFiles
    from halftone.services.search.store.port import Collection
    from halftone.v1 import models_pb2

_log = telemetry.get_logger(__name__)


class _LeaveToNextTry(Exception):  # noqa: N818 - no error
    """Raised if a switch has begun and cannot be completed now: the promotion stays SWITCHING."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class PromotionJob:
    """A promotion that this process runs.

    Attributes:
        promotion: The state of the promotion; changed in place.
        step: The current step, see `transitions`.
    """

    def __init__(
        self,
        promotion: models_pb2.Promotion,
        *,
        parts: Parts,
        files: PromotionFiles,
        tell: Callable[[models_pb2.Promotion], None],
        others: Callable[[str], list[Collection]],
        progress_failures: Counter,
    ) -> None:
        """Prepare the job. `run` does the work.

        Args:
            promotion: The recorded state. If it is SWITCHING, the switch is completed. Otherwise
                the job begins with EMBEDDING.
            parts: The shared parts of the service.
            files: The files of the promotion. The caller holds their lock until `run` has returned.
            tell: Called with the promotion when it changed.
            others: Returns the collections of all versions but one, which it takes.
            progress_failures: Counts writes of progress that failed.
        """
        self.promotion = promotion
        self.step = resume(promotion.state)
        self._parts = parts
        self._store = parts.store
        self._holdings = parts.holdings
        self._registry = parts.registry
        self._traffic = parts.traffic
        self._files = files
        self._settings = parts.settings
        self._others = others
        self._shared = parts.settings.store == "server"
        self._is_resumed_switch = self.step is Step.MOVING
        self._cancellation = Cancellation(promotion.id, files=files)
        self._journal = Journal(promotion, files=files, tell=tell, failures=progress_failures)
        self._background = Background(parts, check=self._check)
        self._error: errors.HalftoneError | None = None
        self._embedding = Embedding(
            promotion,
            parts=parts,
            files=files,
            journal=self._journal,
            work=self._background,
        )
        self._work: Mapping[Step, Callable[[], Awaitable[None]]] = {
            Step.EMBEDDING: self._embed,
            Step.COMPARING: self._compare,
            Step.CATCHING_UP: self._catch_up_and_move,
            Step.MOVING: self._complete_move,
            Step.GATHERING: self._gather,
        }

    async def run(self) -> None:
        """Run the promotion to its end.

        If the task is cancelled, the promotion can be resumed later. The same holds if the store
        does not answer during the switch or after it: the promotion stays SWITCHING.
        """
        promotion = self.promotion
        _log.info("promotion_begins", model_version=promotion.model_version, state=_name(promotion))
        await asyncio.to_thread(self._cancellation.read)
        watching = asyncio.create_task(self._cancellation.watch())
        try:
            await self._walk()
            await self._end()
        except _LeaveToNextTry as left:
            _log.warning("switch_waits", error=left.reason)
        finally:
            watching.cancel()
            await self._journal.settle()
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
        if self.step is Step.SUCCEEDED:
            await self._tidy()

    async def _walk(self) -> None:
        """Do the work of one step after another until the promotion has ended.

        The work of a step chooses the next step, or an error does; see `_give_up`.
        """
        while self.step in self._work:
            try:
                self._check()
                await self._work[self.step]()
            except _LeaveToNextTry:
                raise
            except Exception as error:  # noqa: BLE001 - it ends in a state, also when there is a bug
                _leave_if_cancelled(error)
                await self._give_up(error)

    async def _give_up(self, error: Exception) -> None:
        """Choose the next step after an error in a step's work."""
        step, version = self.step, self.promotion.model_version
        if step is Step.GATHERING and isinstance(error, EMBEDDER):
            raise _LeaveToNextTry(error.message) from error
        if isinstance(error, StopPromotion) or await asyncio.to_thread(self._cancellation.read):
            # Whatever else failed on the way down.
            self._advance(Event.CANCEL)
            return
        if not isinstance(error, errors.HalftoneError):
            _log.error("promotion_failed", model_version=version, exc_info=error)
            error = errors.Internal("Something went wrong; the log of the search service has it.")
        if not STEPS[step].reversible:
            _log.error("stragglers_not_gathered", model_version=version, error=error.message)
        else:
            self._error = error
        self._advance(Event.FAIL)

    def _advance(self, event: Event) -> None:
        """Go to the next step. `_end` sets the final state, together with its revision."""
        self.step = next_step(self.step, event)
        if self.step in self._work:
            self.promotion.state = STEPS[self.step].state

    def _check(self) -> None:
        if STEPS[self.step].cancellable:
            self._cancellation.check()

    # The work of each step.

    async def _embed(self) -> None:
        if self.promotion.model_version == self.promotion.from_model_version:
            threads, collections = self._holdings.threads, self._holdings.collections
            await threads.write("follow", collections.follow, None)
            self._advance(Event.ANSWERS_ALREADY)
            return
        await self._embedding.run()
        self._advance(Event.EMBEDDED)
        self._journal.note(at_once=True)

    async def _compare(self) -> None:
        promotion, sync = self.promotion, self._embedding.sync
        assert sync is not None  # noqa: S101 - the step before has made it
        comparison = await compare.compare(
            self._embedding.sample,
            given=self._files.read_groups,
            old=self._holdings.collection,
            new=sync.target,
            work=self._background,
            failed=promotion.images_failed,
            total=promotion.images_total,
        )
        self._check()
        promotion.comparison.CopyFrom(comparison)
        if comparison.refusal and not promotion.force:
            self._error = compare.refusal_error(comparison, model_version=promotion.model_version)
            self._advance(Event.WORSE)
        else:
            self._advance(Event.ACCEPTED)
            self._journal.note(at_once=True)

    async def _catch_up_and_move(self) -> None:
        give_up = time.monotonic() + self._settings.promotion_patience_seconds
        await self._embedding.wait_until_loaded()
        self._check()
        while not await self._background.repeat(self._try_to_move):
            await self._embedding.catch_up()
            self._check()
            if time.monotonic() > give_up:
                raise errors.Unavailable("Records change faster than they can be embedded.")
        _log.info("promotion_switched", model_version=self.promotion.model_version)

    async def _try_to_move(self) -> bool:
        try:
            return await self._holdings.threads.write("switch", self._move_if_in_step)
        except Exception:
            # The intent is on disk, and the next try may come minutes later.
            self._journal.note(at_once=True)
            raise

    def _move_if_in_step(self) -> bool:
        """Switch to the new version, in the thread for writes, so that no record changes meanwhile.

        Returns False, and changes nothing, if a record is not in step.
        """
        if self._holdings.collections.changed:
            return False
        if self._cancellation.read():
            raise StopPromotion
        if (sync := self._embedding.sync) is not None:
            self._files.write_failed(self.promotion.model_version, sync.failed)
            self.promotion.images_failed = len(sync.failed)
        self._advance(Event.IN_STEP)
        # This must be on disk before anything moves: the next process completes the switch by it.
        self._move(write_intent=self._journal.write)
        return True

    def _move(self, *, write_intent: Callable[[], None] = lambda: None) -> None:
        version = self.promotion.model_version
        try:
            write_intent()
            # Do this first, so that nothing can fail after the alias and the pointer have moved.
            collection, others = self._store.open(version, dimension=None), self._others(version)
            switch.move(self.promotion, store=self._store, registry=self._registry)
        except Exception as error:
            if not switch.is_back(self.promotion, store=self._store):
                raise _LeaveToNextTry(str(error)) from error
            self._advance(Event.MOVED_BACK)
            raise
        self._holdings.collections.open(collection, others=others)
        self._advance(Event.MOVED)

    async def _complete_move(self) -> None:
        """Complete a switch that another process or an earlier attempt has begun."""
        answering = self._holdings.collection.model_version
        # If the switch failed and so did recording that, later imports went to the old collection
        # only. (With several processes, such records are gathered in any case.)
        is_behind = not self._shared and answering != self.promotion.model_version
        if is_behind or await asyncio.to_thread(self._is_cancelled_before_move):
            await self._holdings.threads.write("switch", self._put_back)
            self._advance(Event.SENT_BACK)
            # On disk, or a process that ends now would be followed by one that completes it.
            await self._journal.save()
            return
        try:
            await self._holdings.threads.write("switch", self._move)
        except STORE as error:
            raise _LeaveToNextTry(error.message) from error

    def _is_cancelled_before_move(self) -> bool:
        """Return whether somebody asked to cancel and it is sure that nothing has moved. Blocks."""
        promotion = self.promotion
        return (
            self._cancellation.read()
            and switch.is_back(promotion, store=self._store)
            and self._registry.pointer().active != promotion.model_version
        )

    def _put_back(self) -> None:
        try:
            switch.put_back(self.promotion, store=self._store)
        except Exception as error:
            raise _LeaveToNextTry(str(error)) from error

    async def _gather(self) -> None:
        """Take over the records that were written only to the old collection.

        Other processes wrote them before they saw the switch. Or this process did, if the switch
        had failed and that could not be recorded.
        """
        if self._shared or self._is_resumed_switch:
            await self._gather_stragglers()
        self._advance(Event.GATHERED)

    async def _gather_stragglers(self) -> None:
        promotion = self.promotion
        if promotion.from_model_version == promotion.model_version:
            return
        if self._shared:
            await asyncio.sleep(3 * self._settings.promotion_poll_seconds)
        try:
            source = await self._background.repeat(
                self._holdings.threads.complete,
                self._store.open,
                promotion.from_model_version,
                dimension=None,
            )
        except errors.NotFound:
            return
        sync = Sync(
            source=source,
            target=self._holdings.collection,
            parts=self._parts,
            work=self._background,
        )
        await sync.sync_all(lambda _page, _lacking: None)

    # The end.

    async def _end(self) -> None:
        promotion = self.promotion
        await self._holdings.threads.write("follow", self._holdings.collections.follow, None)
        # Set the state together with the revision of `save`: else a reader may see the old one.
        promotion.state = STEPS[self.step].state
        promotion.seconds_left = 0.0
        promotion.end_time.GetCurrentTime()
        if self._error is not None:
            promotion.error.CopyFrom(errors.to_status(self._error))
        try:
            await self._journal.save()
        except errors.HalftoneError as problem:
            # The promotion has ended all the same. The next check of the files ends it again.
            _log.error("promotion_not_saved", error=problem.message)
            self._journal.tell()

    async def _tidy(self) -> None:
        """Drop all collections except two: of the active version, and of the version before it."""
        try:
            await asyncio.to_thread(self._registry.need, [self.promotion.model_version])
            pointer = await asyncio.to_thread(self._registry.pointer)
            kept = {
                self.promotion.model_version,
                self.promotion.from_model_version,
                pointer.active,
                pointer.previous,
            }
            for version in await asyncio.to_thread(self._store.model_versions):
                if version not in kept:
                    await switch.drop(
                        version, store=self._store, holdings=self._holdings, traffic=self._traffic
                    )
        except Exception:  # noqa: BLE001 - the next promotion tries again
            _log.warning("promotion_not_tidied", exc_info=True)


def _leave_if_cancelled(error: Exception) -> None:
    """Raise the cancellation of this task if an error of a subtask has replaced it.

    When a task of a cancelled task group fails, the group raises the failure instead.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError from error


def _name(promotion: models_pb2.Promotion) -> str:
    return State.Name(promotion.state)
