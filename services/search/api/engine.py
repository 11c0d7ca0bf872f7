"""Builds, starts and closes the parts that answer requests, and admits searches.

It also checks that the store and the embedder answer. A search goes from the servicer to the
engine, which admits it, and on to `query.searching`, which answers it. A single search is a batch
of one.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING, Final, TypeVar

from halftone.core import errors, telemetry
from halftone.service.access import current_caller
from halftone.service.turns import Turns
from halftone.services.search.archive.catalogue import Catalogue
from halftone.services.search.archive.facets import Facets
from halftone.services.search.archive.imports.importer import Importer
from halftone.services.search.archive.landmarks import GONE, Landmarks
from halftone.services.search.archive.patience import STORE
from halftone.services.search.archive.regions import Regions
from halftone.services.search.clusters.store import FILE as DATABASE
from halftone.services.search.comparison.calibrations import Calibrations
from halftone.services.search.comparison.verifier import Verifier
from halftone.services.search.promotion.promotions import Promotions
from halftone.services.search.query.searching import TOGETHER, Searching, is_by_embedding
from halftone.services.search.store.port import EVERYTHING, AnyOf, Filter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from pathlib import Path

    from halftone.services.search.archive.parts import Parts
    from halftone.services.search.clusters.views import HitVerdicts
    from halftone.services.search.store.port import Collection
    from halftone.v1 import search_pb2

MAX_BATCH: Final = 64
"""The most searches in one call."""

_ASK_EVERY: Final = 1.0
"""Seconds between two requests to the store or the embedder while the service starts."""
_ANSWER_SECONDS: Final = 5.0
"""Seconds that the store and the embedder have to answer a check of the watch."""
_LEAST_RUNNING: Final = 4
"""Searches that run at a time at least: while one waits for the embedder or the store, another
computes."""
_BATCH_SHARE: Final = 8
"""A large batch is admitted as one search for every so many of its searches."""

_NOBODY: Final = Filter(must=(AnyOf("sha256", ("",)),))
"""Matches no record; every shard looks it up in an index."""

_Answer = TypeVar("_Answer")

_log = telemetry.get_logger(__name__)


class Engine:
    """Admits and answers searches; the attributes answer the rest."""

    def __init__(self, parts: Parts, *, verdicts: HitVerdicts) -> None:
        """Build the parts that answer from the shared parts, which `close` closes.

        Args:
            parts: The shared parts of the service.
            verdicts: Reads the verdicts that hold between an image and its hits.
        """
        metrics = parts.metrics
        self._store = parts.store
        self._holdings = parts.holdings
        self._embedder = parts.embedder
        self._settings = parts.settings
        self._traffic = parts.traffic
        self._landmarks = Landmarks(_list_landmarks(parts))
        most = parts.settings.max_concurrent_searches
        cores = os.cpu_count() or 1
        at_once = min(most, parts.settings.max_running_searches or max(_LEAST_RUNNING, 2 * cores))
        self._turns = _make_turns(at_once=at_once, waiting=most - at_once)
        # A search by an embedding takes a millisecond, and many are answered together.
        self._quick_turns = _make_turns(at_once=most, waiting=0)
        self._in_flight = metrics.gauge("searches_in_flight", "Searches being answered")
        self._embedder_up = metrics.gauge("embedder_up", "Whether the embedder answers")
        self._refused = metrics.counter("searches_refused_total", "Searches refused as too many")
        self.catalogue = Catalogue(parts)
        self.facets = Facets(parts.holdings)
        self.regions = Regions(parts)
        self.importer = Importer(parts)
        self.promotions = Promotions(parts)
        self.calibrations = Calibrations(parts.registry)
        self._verifier = Verifier(
            parts.fingerprints, metrics=metrics, threads=parts.settings.verify_threads
        )
        self._searching = Searching(
            parts,
            verifier=self._verifier,
            calibrations=self.calibrations,
            verdicts=verdicts.of,
        )

    async def start(self) -> None:
        """Wait for the store and the embedder, then open the active collection.

        An interrupted switch is completed first. A collection with records stays active even if the
        embedder's active version is another one: only a promotion moves records. Calls to the
        embedder always name the version.
        """
        await _wait_for(
            lambda: asyncio.to_thread(self._store.active),
            retry_on=STORE,
            event="waiting_for_store",
        )
        await asyncio.to_thread(self.promotions.recover)
        model = await _wait_for(
            lambda: self._embedder.active_model(seconds=5.0),
            retry_on=(errors.HalftoneError,),
            event="waiting_for_embedder",
        )
        collection = await asyncio.to_thread(
            self._open, model.model_version, dimension=model.dimension
        )
        _log.info("collection_opened", model_version=collection)

    def _open(self, model_version: str, *, dimension: int) -> str:
        collection = self._still_active(model_version)
        if collection is None:
            collection = self._store.open(model_version, dimension=dimension)
            self._store.set_active(model_version)
        self._holdings.collections.open(
            collection, others=self.promotions.others(collection.model_version)
        )
        return collection.model_version

    def _still_active(self, model_version: str) -> Collection | None:
        """Return the collection of another version that is active and has records; None if none."""
        active = self._store.active()
        if active is None or active == model_version:
            return None
        collection = self._store.open(active, dimension=None)
        if not collection.count(EVERYTHING):
            _log.info("empty_collection_replaced", model_version=active, by=model_version)
            return None
        _log.warning("another_model_version_answers", model_version=active, embedder=model_version)
        return collection

    async def watch(self, tell: Callable[[bool], Awaitable[None]]) -> None:
        """Check every few seconds that store and embedder answer and no data is gone.

        Runs until cancelled.

        Without the embedder, records can still be read, listed, and searched by stored vectors, so
        its absence is only logged and shown in a gauge.

        Args:
            tell: Called when the store stops answering or data is gone (False), and when all is
                well again (True).
        """
        answering = {"store": True, "embedder": True}
        self._embedder_up.set(1)
        while True:
            await asyncio.sleep(self._settings.watch_seconds)
            for what, call in (
                ("store", lambda: asyncio.to_thread(self._check_store)),
                ("embedder", lambda: self._embedder.active_model(seconds=_ANSWER_SECONDS)),
            ):
                problem = await _problem_of(call)
                answers = problem is None
                if answers is answering[what]:
                    continue
                answering[what] = answers
                if answers:
                    _log.info("answers_again", what=what)
                else:
                    _log.warning("does_not_answer", what=what, error=problem)
                if what == "store":
                    await tell(answers)
                else:
                    self._embedder_up.set(int(answers))

    def _check_store(self) -> None:
        """Check that the store answers, and that nobody has deleted its data. Blocks.

        Raises:
            errors.HalftoneError: It does not, or somebody has.
        """
        self._landmarks.check()
        active = self._store.active()
        if active is None or active not in self._store.model_versions():
            raise errors.Unavailable(
                "The active collection was deleted while the service ran.", reason=GONE
            )
        # All else is answered by any node of a cluster, also when the records of another are away.
        self._holdings.collections.active.count(_NOBODY)

    async def search(
        self, request: search_pb2.SearchImagesRequest, *, deadline: float
    ) -> search_pb2.SearchImagesResponse:
        """Answer one search.

        Args:
            request: The request.
            deadline: When the caller gives up, in the time of `time.monotonic`.

        Raises:
            errors.ResourceExhausted: Too many searches are running.
            errors.HalftoneError: The search was refused.
        """
        (outcome,) = await self._search([request], deadline=deadline)
        if isinstance(outcome, errors.HalftoneError):
            raise outcome
        return outcome

    async def batch_search(
        self, requests: Sequence[search_pb2.SearchImagesRequest], *, deadline: float
    ) -> list[search_pb2.SearchImagesResponse | errors.HalftoneError]:
        """Answer up to 64 searches. A refused search does not fail the others.

        Args:
            requests: The requests.
            deadline: When the caller gives up, in the time of `time.monotonic`.

        Returns:
            For each request its response, or the error that refused it.

        Raises:
            errors.InvalidArgument: There are no requests, or more than 64.
            errors.ResourceExhausted: Too many searches are running.
        """
        if not 1 <= len(requests) <= MAX_BATCH:
            raise errors.InvalidArgument(
                f"requests: {len(requests)} searches; 1 to {MAX_BATCH} can be asked for.",
                field="requests",
            )
        return await self._search(requests, deadline=deadline)

    async def _search(
        self, requests: Sequence[search_pb2.SearchImagesRequest], *, deadline: float
    ) -> list[search_pb2.SearchImagesResponse | errors.HalftoneError]:
        is_quick = all(is_by_embedding(request) for request in requests)
        async with self._admit(len(requests), deadline=deadline, is_quick=is_quick) as collection:
            return await self._searching.search(requests, collection=collection, deadline=deadline)

    async def compare(
        self, request: search_pb2.CompareImagesRequest, *, deadline: float
    ) -> search_pb2.CompareImagesResponse:
        """Compare two images.

        The call counts as one search: it can be refused if too many run, and promotions slow down.

        Args:
            request: The names of the two images.
            deadline: When the caller gives up, in the time of `time.monotonic`.

        Raises:
            errors.ResourceExhausted: Too many searches are running.
        """
        async with self._admit(1, deadline=deadline) as collection:
            return await self._searching.compare(request, collection=collection, deadline=deadline)

    @contextlib.asynccontextmanager
    async def _admit(
        self, count: int, *, deadline: float, is_quick: bool = False
    ) -> AsyncIterator[Collection]:
        """Wait for the turn of searches, and yield the collection that answers them."""
        # A batch counts as the searches it compares at a time, to leave room for others. The
        # sum may exceed the limit: a large batch would never be admitted if it had to fit.
        share = max(min(count, TOGETHER), count // _BATCH_SHARE)
        turns = self._quick_turns if is_quick else self._turns
        async with contextlib.AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(
                    turns.take(
                        current_caller().id, deadline=deadline, slots=share, cost=float(count)
                    )
                )
            except errors.ResourceExhausted:
                self._refused.inc()
                raise
            collection = self._holdings.collection
            self._traffic.enter(count, model_version=collection.model_version)
            self._in_flight.inc(count)
            try:
                yield collection
            finally:
                self._traffic.leave(count, model_version=collection.model_version)
                self._in_flight.dec(count)

    async def close(self) -> None:
        """Close the engine and the shared parts."""
        await self.promotions.close()
        await self.importer.settle()
        await asyncio.to_thread(self._verifier.close)
        await self._embedder.close()
        await asyncio.to_thread(self._holdings.threads.close)
        await asyncio.to_thread(self._store.close)


def _make_turns(*, at_once: int, waiting: int) -> Turns:
    return Turns(
        at_once=at_once,
        waiting=waiting,
        message="Too many searches at a time.",
        reason="TOO_MANY_SEARCHES",
    )


def _list_landmarks(parts: Parts) -> list[Path]:
    """Return the files and folders that the service keeps from its start to its end."""
    folder = parts.settings.data_directory
    return [folder, folder / "lock", folder / DATABASE, *parts.holdings.blobs.list_folders()]


async def _wait_for(
    call: Callable[[], Awaitable[_Answer]],
    *,
    retry_on: tuple[type[errors.HalftoneError], ...],
    event: str,
) -> _Answer:
    """Repeat a call until it is answered, and return the answer.

    Args:
        call: The call.
        retry_on: The errors after which the call is repeated. Others are raised.
        event: Logged once, with the first error.
    """
    waited = False
    while True:
        try:
            return await call()
        except retry_on as error:
            if not waited:
                _log.warning(event, error=error.message)
            waited = True
            await asyncio.sleep(_ASK_EVERY)


async def _problem_of(call: Callable[[], Awaitable[object]]) -> str | None:
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            await call()
    except errors.HalftoneError as error:
        return error.message
    except Exception as error:  # noqa: BLE001 - the watch must go on
        return repr(error)
    return None
