"""What the service is made of, how it starts and ends, and which searches it admits.

A query's way is servicer → engine → embedder → store → engine → servicer; `searching` walks it. A
single search is a batch of one.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from halftone.core import errors, telemetry
from halftone.imaging import images
from halftone.services.search.archive.catalogue import Catalogue
from halftone.services.search.archive.fingerprints import Fingerprints
from halftone.services.search.archive.importer import Importer
from halftone.services.search.archive.pace import Traffic
from halftone.services.search.comparison.calibrations import Calibrations
from halftone.services.search.comparison.verifier import Verifier
from halftone.services.search.promotion.promotions import Promotions
from halftone.services.search.query.searching import TOGETHER, Searching
from halftone.services.search.store.port import EVERYTHING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from halftone.core.settings import SearchSettings
    from halftone.registry.versions import Registry
    from halftone.services.search.archive.embedder_client import Embedder
    from halftone.services.search.archive.holdings import Holdings
    from halftone.services.search.clusters.views import HitVerdicts
    from halftone.services.search.store.port import Collection, Store
    from halftone.v1 import search_pb2

MAX_BATCH: Final = 64

_ASK_EVERY: Final = 1.0
_ANSWER_SECONDS: Final = 10.0
_BATCH_SHARE: Final = 8
"""How long the store and the embedder may take to answer whoever looks after them."""

_log = telemetry.get_logger(__name__)


class Engine:
    """Answers searches; `catalogue` and `importer` answer the rest."""

    def __init__(
        self,
        *,
        store: Store,
        holdings: Holdings,
        embedder: Embedder,
        registry: Registry,
        verdicts: HitVerdicts,
        settings: SearchSettings,
        metrics: telemetry.Metrics,
    ) -> None:
        self._store = store
        self._holdings = holdings
        self._embedder = embedder
        self._settings = settings
        self.traffic = Traffic()
        self._admitted_count = 0
        self._in_flight = metrics.gauge("searches_in_flight", "Searches being answered")
        self._embedder_up = metrics.gauge("embedder_up", "Whether the embedder answers")
        self._refused = metrics.counter("searches_refused_total", "Searches refused as too many")
        # One for all: a picture of 100 million pixels takes 300 MB for a moment.
        budget = images.PixelBudget()
        self.catalogue = Catalogue(
            holdings=holdings, budget=budget, settings=settings, metrics=metrics
        )
        self.fingerprints = Fingerprints(
            blobs=holdings.blobs,
            budget=budget,
            max_pixels=settings.max_pixels,
            memory_bytes=settings.features_memory_bytes,
            metrics=metrics,
        )
        self.importer = Importer(
            holdings=holdings,
            embedder=embedder,
            fingerprints=self.fingerprints,
            settings=settings,
            metrics=metrics,
        )
        self.verifier = Verifier(
            self.fingerprints, metrics=metrics, threads=settings.verify_threads
        )
        self.calibrations = Calibrations(registry)
        self._searching = Searching(
            holdings=holdings,
            embedder=embedder,
            fingerprints=self.fingerprints,
            verifier=self.verifier,
            calibrations=self.calibrations,
            verdicts=verdicts.of,
            settings=settings,
        )
        self.promotions = Promotions(
            store=store,
            holdings=holdings,
            embedder=embedder,
            traffic=self.traffic,
            registry=registry,
            settings=settings,
            metrics=metrics,
        )

    async def start(self) -> None:
        """Waits for the embedder, then opens the collection that answers.

        The collection that was active stays active when the embedder has another version by now,
        unless it is empty: each call to the embedder names the version. A promotion brings the
        records to the other one; a switch that was cut off is completed first.
        """
        await asyncio.to_thread(self.promotions.recover)
        waited = False
        while True:
            try:
                model = await self._embedder.active_model(seconds=5.0)
                break
            except errors.HalftoneError as error:
                if not waited:
                    _log.warning("waiting_for_embedder", error=error.message)
                waited = True
                await asyncio.sleep(_ASK_EVERY)
        collection = await asyncio.to_thread(self._open, model.version, dimension=model.dimension)
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
        """The collection of another version that goes on answering because it has records."""
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
        """Looks after the store and the embedder until it is cancelled.

        Args:
            tell: Told whether the store answers, when that changes. Without the embedder records
                are still read, listed, and searched by what is stored: this is logged and counted.
        """
        answering = {"store": True, "embedder": True}
        self._embedder_up.set(1)
        while True:
            await asyncio.sleep(self._settings.watch_seconds)
            for what, call in (
                ("store", lambda: asyncio.to_thread(self._store.active)),
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

    async def search(
        self, request: search_pb2.SearchImagesRequest, *, deadline: float
    ) -> search_pb2.SearchImagesResponse:
        """One search. `deadline` is in the time of `time.monotonic`."""
        (outcome,) = await self._searched([request], deadline=deadline)
        if isinstance(outcome, errors.HalftoneError):
            raise outcome
        return outcome

    async def batch_search(
        self, requests: Sequence[search_pb2.SearchImagesRequest], *, deadline: float
    ) -> list[search_pb2.SearchImagesResponse | errors.HalftoneError]:
        """Up to 64 searches; a search that is refused does not fail the others."""
        if not 1 <= len(requests) <= MAX_BATCH:
            raise errors.InvalidArgument(
                f"requests: {len(requests)} searches; 1 to {MAX_BATCH} can be asked for.",
                field="requests",
            )
        return await self._searched(requests, deadline=deadline)

    async def _searched(
        self, requests: Sequence[search_pb2.SearchImagesRequest], *, deadline: float
    ) -> list[search_pb2.SearchImagesResponse | errors.HalftoneError]:
        with self._admitted(len(requests)) as collection:
            return await self._searching.search(requests, collection=collection, deadline=deadline)

    async def compare(
        self, request: search_pb2.CompareImagesRequest, *, deadline: float
    ) -> search_pb2.CompareImagesResponse:
        """One image beside another; counts as a search."""
        with self._admitted(1) as collection:
            return await self._searching.compare(request, collection=collection, deadline=deadline)

    @contextlib.contextmanager
    def _admitted(self, count: int) -> Iterator[Collection]:
        """Gives the collection in which searches are made, or refuses them."""
        # A batch counts as what it does at a time, so that one batch leaves room for others; a
        # large one as an eighth of its searches, since it holds all their pictures. It may go
        # beyond: it would never have its turn if it had to fit.
        share = max(min(count, TOGETHER), count // _BATCH_SHARE)
        if self._admitted_count >= self._settings.max_concurrent_searches:
            self._refused.inc()
            raise errors.ResourceExhausted(
                "Too many searches at a time.", retry_after=0.1, reason="TOO_MANY_SEARCHES"
            )
        collection = self._holdings.collection
        self._admitted_count += share
        self.traffic.enter(count, model_version=collection.model_version)
        self._in_flight.inc(count)
        try:
            yield collection
        finally:
            self._admitted_count -= share
            self.traffic.leave(count, model_version=collection.model_version)
            self._in_flight.dec(count)

    async def close(self) -> None:
        """Closes what the engine uses."""
        await self.promotions.close()
        await self.importer.settled()
        await asyncio.to_thread(self.verifier.close)
        await self._embedder.close()
        await asyncio.to_thread(self._holdings.threads.close)
        await asyncio.to_thread(self._store.close)


async def _problem_of(call: Callable[[], Awaitable[object]]) -> str | None:
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            await call()
    except errors.HalftoneError as error:
        return error.message
    except Exception as error:  # noqa: BLE001 - a watch that ended would say nothing any more
        return repr(error)
    return None
