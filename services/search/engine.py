"""Searches, and what the service is made of.

A query's way is servicer → engine → embedder → store → engine → servicer. A single search is a
batch of one: queries of a batch are embedded together and asked of the store together.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from halftone import errors, images, records, telemetry, wire
from halftone.orientations import UPRIGHT, orientations
from halftone.v1 import embedder_pb2, search_pb2
from services.search import payload as payloads
from services.search import ranking, tokens
from services.search.catalogue import Catalogue, bounded
from services.search.embedder import MAX_IMAGES, Embedded, to_vector
from services.search.importer import Importer
from services.search.promotion import Promotions
from services.search.promotion_pace import Traffic
from services.search.store import EVERYTHING, Filter, Ids, Query, Stored

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    import numpy as np

    from halftone.orientations import Orientation
    from halftone.registry import Registry
    from halftone.settings import SearchSettings
    from services.search.embedder import Embedder
    from services.search.holdings import Holdings
    from services.search.store import Collection, Store

MAX_BATCH: Final = 64
MAX_DEPTH: Final = 10_000
"""Hits that can be paged through."""

_DEFAULT_HITS: Final = 20
_MAX_ITEMS: Final = 128
"""Pictures times orientations in one call to the embedder: a quarter of what waits there."""
_MOST_INLINE: Final = 400
"""Hits, in all orientations, that are looked up without a thread: about 5 ms. A thousand take 40,
of which the messages are a quarter, and a page far down takes as many times more."""
_SEARCH_PATIENCE: Final = 2.0
"""Seconds for which a search tries an embedder again that is down or full."""
_ASK_EVERY: Final = 1.0
_ANSWER_SECONDS: Final = 10.0
"""How long the store and the embedder may take to answer whoever looks after them."""

_log = telemetry.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class _Plan:
    """A checked search: what is still to be embedded, and how its hits are to be cut."""

    collection: Collection
    """The one that answers when the search comes, to its end: another may answer meanwhile."""
    condition: Filter
    offset: int
    limit: int
    min_score: float | None
    fingerprint: str
    to_embed: embedder_pb2.ImageInput | None = None
    sha256: str = ""
    """Of an image of the archive, whose bytes are read when it is its turn to be embedded."""
    vectors: dict[Orientation, np.ndarray] | None = None

    @property
    def depth(self) -> int:
        # One more than the page tells whether there is a next one.
        return self.offset + self.limit + 1


class Engine:
    """Answers searches; `catalogue` and `importer` answer the rest."""

    def __init__(
        self,
        *,
        store: Store,
        holdings: Holdings,
        embedder: Embedder,
        registry: Registry,
        settings: SearchSettings,
        metrics: telemetry.Metrics,
    ) -> None:
        self._store = store
        self._holdings = holdings
        self._embedder = embedder
        self._settings = settings
        self.traffic = Traffic()
        self._in_flight = metrics.gauge("searches_in_flight", "Searches being answered")
        self._embedder_up = metrics.gauge("embedder_up", "Whether the embedder answers")
        self._refused = metrics.counter("searches_refused_total", "Searches refused as too many")
        self.catalogue = Catalogue(holdings=holdings, settings=settings, metrics=metrics)
        self.importer = Importer(
            holdings=holdings, embedder=embedder, settings=settings, metrics=metrics
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
        self._holdings.open(collection, others=self.promotions.others(collection.model_version))
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
        # A batch may go beyond: it would never have its turn if it had to fit.
        if self.traffic.in_flight >= self._settings.max_concurrent_searches:
            self._refused.inc()
            raise errors.ResourceExhausted(
                "Too many searches at a time.", retry_after=0.1, reason="TOO_MANY_SEARCHES"
            )
        collection = self._holdings.collection
        self.traffic.enter(len(requests), model_version=collection.model_version)
        self._in_flight.inc(len(requests))
        try:
            plans = [await self._plan(request, collection=collection) for request in requests]
            await self._embed(plans, model_version=collection.model_version, deadline=deadline)
            ready = [plan for plan in plans if isinstance(plan, _Plan)]
            # What takes long is worth a thread, which lets others in between its calls.
            hits = sum(plan.depth * len(plan.vectors or ()) for plan in ready)
            small = len(ready) == 1 and hits <= _MOST_INLINE
            run = self._holdings.search if small else self._holdings.read
            answers = iter(await run("query", self._query, ready) if ready else ())
            return [next(answers) if isinstance(plan, _Plan) else plan for plan in plans]
        finally:
            self.traffic.leave(len(requests), model_version=collection.model_version)
            self._in_flight.dec(len(requests))

    async def _plan(
        self, request: search_pb2.SearchImagesRequest, *, collection: Collection
    ) -> _Plan | errors.HalftoneError:
        try:
            # An unusual date is parsed by a grammar, which takes a while.
            if request.WhichOneof("query") == "image" or not payloads.is_plain(request.filter):
                return await self._holdings.read(
                    "plan", self._checked, request, collection=collection
                )
            return self._checked(request, collection=collection)
        except errors.HalftoneError as error:
            return error

    def _checked(self, request: search_pb2.SearchImagesRequest, *, collection: Collection) -> _Plan:
        limit = bounded(
            request.limit if request.HasField("limit") else _DEFAULT_HITS, field="limit"
        )
        fingerprint = tokens.fingerprint(request, without=("page_token", "limit"))
        plan = _Plan(
            collection=collection,
            condition=payloads.to_filter(request.filter),
            offset=0,
            limit=limit,
            min_score=_threshold(request),
            fingerprint=fingerprint,
        )
        if request.page_token:
            plan.offset = _offset(
                tokens.decode(
                    request.page_token,
                    fingerprint=fingerprint,
                    model_version=collection.model_version,
                )
            )
        query = request.WhichOneof("query")
        if query == "embedding":
            _check_embedding(request, collection=collection)
            plan.vectors = {UPRIGHT: to_vector(request.embedding)}
            return plan
        content = b""
        if query == "content":
            content = self._check_content(request.content)
        elif query == "image":
            self._use_image(request, plan=plan)
        else:
            raise errors.InvalidArgument(
                "query: one of content, image and embedding must be given.", field="query"
            )
        if plan.vectors is None:
            plan.to_embed = embedder_pb2.ImageInput(
                content=content,
                include_mirrored=not request.skip_mirrored,
                include_rotated=not request.skip_rotated,
            )
            if request.HasField("region"):
                plan.to_embed.region.CopyFrom(request.region)
        return plan

    def _check_content(self, content: bytes) -> bytes:
        limit = min(self._settings.max_image_bytes, wire.MAX_IMAGE_BYTES)
        if len(content) > limit:
            raise errors.ImageRejected(
                f"The image has {len(content):,} bytes; the limit is {limit:,}.",
                field="content",
                reason=images.TOO_MANY_BYTES,
            )
        if not content:
            raise errors.ImageRejected("The image is empty.", field="content", reason=images.EMPTY)
        return content

    def _use_image(self, request: search_pb2.SearchImagesRequest, *, plan: _Plan) -> None:
        """Plans a search by an image of the archive, by its stored vector where that will do."""
        name = records.parse_name(request.image, field="image")
        as_stored = request.skip_mirrored and request.skip_rotated
        whole = as_stored and not request.HasField("region")
        stored = self._holdings.stored(name, vectors=whole, collection=plan.collection)
        plan.condition = plan.condition.without(Ids((stored.id,)))
        if whole:
            assert stored.vector is not None  # noqa: S101 - asked for
            plan.vectors = {UPRIGHT: stored.vector}
        else:
            plan.sha256 = stored.payload["sha256"]

    async def _embed(
        self,
        plans: list[_Plan | errors.HalftoneError],
        *,
        model_version: str,
        deadline: float,
    ) -> None:
        """Embeds what the plans need, in as few calls as the limits allow."""
        chunk: list[int] = []
        items = size = 0
        for at, plan in enumerate(plans):
            if not isinstance(plan, _Plan) or plan.to_embed is None:
                continue
            if plan.sha256:
                try:
                    plan.to_embed.content = await self._holdings.in_thread(
                        self._holdings.blobs.get, plan.sha256
                    )
                except errors.HalftoneError as error:
                    plans[at] = error
                    continue
            more = _items(plan.to_embed)
            if chunk and (
                len(chunk) == MAX_IMAGES
                or items + more > _MAX_ITEMS
                or size + len(plan.to_embed.content) > wire.MAX_IMAGE_BYTES
            ):
                await self._embed_chunk(
                    plans, chunk=chunk, model_version=model_version, deadline=deadline
                )
                chunk, items, size = [], 0, 0
            chunk.append(at)
            items += more
            size += len(plan.to_embed.content)
        if chunk:
            await self._embed_chunk(
                plans, chunk=chunk, model_version=model_version, deadline=deadline
            )

    async def _embed_chunk(
        self,
        plans: list[_Plan | errors.HalftoneError],
        *,
        chunk: Sequence[int],
        model_version: str,
        deadline: float,
    ) -> None:
        """Embeds what some plans need, in one call; their bytes are let go."""
        wanted = [
            plan.to_embed
            for plan in (plans[at] for at in chunk)
            if isinstance(plan, _Plan) and plan.to_embed is not None
        ]
        found: Sequence[Embedded | errors.HalftoneError]
        try:
            found = await self._embedder.embed(
                wanted,
                model_version=model_version,
                patience=_SEARCH_PATIENCE,
                deadline=deadline,
            )
        except errors.HalftoneError as error:
            found = [_of_the_embedder(error)] * len(chunk)
        for at, result in zip(chunk, found, strict=True):
            plan = plans[at]
            if isinstance(result, errors.HalftoneError):
                plans[at] = result
            elif isinstance(plan, _Plan):
                plan.vectors, plan.to_embed = result.vectors, None

    def _query(self, plans: Sequence[_Plan]) -> list[search_pb2.SearchImagesResponse]:
        """Asks the store; runs in a thread, the making of the answer too."""
        # All plans of a call have the same one.
        collection = plans[0].collection
        queries = [
            Query(
                vector=vector,
                limit=plan.depth,
                filter=plan.condition,
                min_score=plan.min_score,
                # Of several lists, or of pages before, most hits are not in the answer.
                payloads=len(plan.vectors or ()) == 1 and not plan.offset,
            )
            for plan in plans
            for vector in (plan.vectors or {}).values()
        ]
        found = ranking.query(collection, queries=queries)
        lists = iter(found)
        return [
            self._response(
                plan, ranked=ranking.merge([(lay, next(lists)) for lay in plan.vectors or {}])
            )
            for plan in plans
        ]

    def _response(
        self, plan: _Plan, *, ranked: list[ranking.Ranked]
    ) -> search_pb2.SearchImagesResponse:
        collection = plan.collection
        response = search_pb2.SearchImagesResponse(model_version=collection.model_version)
        page = ranking.page(collection, ranked=ranked, offset=plan.offset, limit=plan.limit)
        end = plan.offset + plan.limit
        if len(ranked) > end and end < MAX_DEPTH:
            response.next_page_token = tokens.encode(
                fingerprint=plan.fingerprint,
                model_version=collection.model_version,
                position=end,
            )
        shared = [
            Stored(id=hit.point.id, payload=hit.point.payload)
            for hit in page
            if hit.point.payload.get("shared")
        ]
        same = self._holdings.same_content(shared) if shared else {}
        for hit in page:
            image = payloads.to_image(hit.point.payload, same_content=same.get(hit.point.id))
            response.hits.append(
                search_pb2.Hit(
                    image=image,
                    similarity=min(1.0, max(-1.0, hit.point.score)),
                    mirrored=hit.orientation.mirrored,
                    rotation=hit.orientation.rotation,
                )
            )
        return response

    async def close(self) -> None:
        """Closes what the engine uses."""
        await self.promotions.close()
        await self.importer.settled()
        await self._embedder.close()
        await asyncio.to_thread(self._holdings.close)
        await asyncio.to_thread(self._store.close)


def _check_embedding(request: search_pb2.SearchImagesRequest, *, collection: Collection) -> None:
    embedding = request.embedding
    if request.HasField("region"):
        raise errors.InvalidArgument(
            "region: an embedding has no region; embed that part of the picture.",
            field="region",
        )
    if embedding.model_version != collection.model_version:
        raise errors.ModelVersionMismatch(
            f"The embedding is of {embedding.model_version or 'no model version'}; "
            f"{collection.model_version} answers.",
            subject="embedding.model_version",
            metadata={"model_version": collection.model_version},
        )
    if embedding.dimension != collection.dimension:
        raise errors.InvalidArgument(
            f"embedding.dimension: {embedding.dimension}; {collection.model_version} has "
            f"{collection.dimension}.",
            field="embedding.dimension",
        )


def _offset(position: object) -> int:
    # A token can be made by anyone: one that begins far down would keep the store busy.
    if type(position) is not int or not 0 <= position < MAX_DEPTH:
        raise tokens.garbled()
    return position


def _threshold(request: search_pb2.SearchImagesRequest) -> float | None:
    if not request.HasField("min_similarity"):
        return None
    value = request.min_similarity
    if not -1.0 <= value <= 1.0 or math.isnan(value):
        raise errors.InvalidArgument(
            f"min_similarity: {value}; it must be -1 to 1.", field="min_similarity"
        )
    return value


async def _problem_of(call: Callable[[], Awaitable[object]]) -> str | None:
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            await call()
    except errors.HalftoneError as error:
        return error.message
    except Exception as error:  # noqa: BLE001 - a watch that ended would say nothing any more
        return repr(error)
    return None


def _items(image: embedder_pb2.ImageInput) -> int:
    return len(orientations(mirrored=image.include_mirrored, rotated=image.include_rotated))


def _of_the_embedder(error: errors.HalftoneError) -> errors.HalftoneError:
    """What the caller is told: that the version is missing there is not that the image is."""
    if isinstance(error, errors.NotFound):
        return errors.Unavailable(f"The embedder cannot answer: {error.message}", retry_after=5.0)
    return error
