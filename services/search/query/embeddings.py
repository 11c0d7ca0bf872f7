"""Answers searches by an embedding.

Such a search asks the store for the nearest descriptors and ranks them by similarity, all in one
thread. Handing it to a thread and back takes a fifth of the whole time, so searches that arrive
while others are being answered wait and are handed over together.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from halftone.core import errors
from halftone.services.search.archive import patience
from halftone.services.search.query import hits, ranking
from halftone.services.search.query.plans import SearchPlan
from halftone.services.search.store.port import Query
from halftone.v1 import search_pb2

if TYPE_CHECKING:
    from collections.abc import Sequence

    from halftone.services.search.archive.holdings import Holdings
    from halftone.services.search.comparison.calibrations import Calibrations
    from halftone.services.search.query.plans import Planner
    from halftone.services.search.store.port import Collection, ScoredPoint

    Answer = search_pb2.SearchImagesResponse | errors.HalftoneError

_TOGETHER: Final = 16
"""Searches from which a call to a thread takes no further ones."""
_CALLS: Final = max(2, os.cpu_count() or 1)
"""Calls to threads at a time. At least two, so that a slow search does not keep all others waiting;
not more than cores, since the calls to Qdrant Edge exclude each other."""
_OF_THE_STORE: Final = (*patience.STORE, errors.ResourceExhausted)
"""Errors that are no fault of one search."""


class _Waiting(NamedTuple):
    """Searches of one caller."""

    requests: Sequence[search_pb2.SearchImagesRequest]
    collection: Collection
    answers: asyncio.Future[list[Answer]]


class EmbeddingSearches:
    """Answers searches by an embedding. For the event loop only."""

    def __init__(self, holdings: Holdings, *, planner: Planner, calibrations: Calibrations) -> None:
        self._holdings = holdings
        self._planner = planner
        self._calibrations = calibrations
        self._waiting: deque[_Waiting] = deque()
        self._calls: set[asyncio.Task[None]] = set()

    async def search(
        self, requests: Sequence[search_pb2.SearchImagesRequest], *, collection: Collection
    ) -> list[Answer]:
        """Return for each search its response, or the error that refuses it.

        Args:
            requests: The searches.
            collection: The collection that answers them.
        """
        if not requests:
            return []
        answers: asyncio.Future[list[Answer]] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(requests, collection, answers))
        if len(self._calls) < _CALLS:
            # In no request's context: it goes on with the searches of others.
            call = asyncio.create_task(self._answer_waiting(), context=contextvars.Context())
            self._calls.add(call)
        try:
            return await answers
        except errors.HalftoneError as error:
            return [error for _ in requests]

    async def _answer_waiting(self) -> None:
        try:
            while self._waiting:
                await self._answer(self._take())
        finally:
            # In the step that found nothing waiting: whoever comes next has to start a call.
            self._calls.discard(asyncio.current_task())

    def _take(self) -> list[_Waiting]:
        """Take the searches that have waited longest, as many as one call to a thread answers."""
        taken: list[_Waiting] = []
        count = 0
        while self._waiting and count < _TOGETHER:
            if taken and self._waiting[0].collection is not taken[0].collection:
                break
            waiting = self._waiting.popleft()
            # Its caller may have given up.
            if not waiting.answers.done():
                taken.append(waiting)
                count += len(waiting.requests)
        return taken

    async def _answer(self, taken: Sequence[_Waiting]) -> None:
        if not taken:
            return
        requests = [request for each in taken for request in each.requests]
        try:
            answers = iter(
                await self._holdings.threads.read(
                    "query_together", self._search, requests, collection=taken[0].collection
                )
            )
        except Exception as error:  # noqa: BLE001 - the callers' to handle
            waiting = [each for each in taken if not each.answers.done()]
            if len(taken) == 1 or isinstance(error, _OF_THE_STORE):
                for each in waiting:
                    each.answers.set_exception(error)
                return
            # What is wrong with one search must not fail the others.
            for each in waiting:
                await self._answer([each])
            return
        for each in taken:
            own = [next(answers) for _ in each.requests]
            if not each.answers.done():
                each.answers.set_result(own)

    def _search(
        self, requests: Sequence[search_pb2.SearchImagesRequest], *, collection: Collection
    ) -> list[Answer]:
        """Answer searches from the store. Blocks."""
        plans = [self._planner.plan(request, collection=collection) for request in requests]
        queries = [
            Query(
                vector=vector,
                limit=plan.depth,
                filter=plan.condition,
                min_score=plan.min_score,
                # Later pages read the payloads of their own hits only.
                payloads=not plan.offset,
            )
            for plan in plans
            if isinstance(plan, SearchPlan)
            for vector in (plan.vectors or {}).values()
        ]
        lists = iter(ranking.query(collection, queries=queries) if queries else ())
        return [
            self._respond(plan, nearest=next(lists)) if isinstance(plan, SearchPlan) else plan
            for plan in plans
        ]

    def _respond(
        self, plan: SearchPlan, *, nearest: Sequence[ScoredPoint]
    ) -> search_pb2.SearchImagesResponse:
        collection = plan.collection
        calibration = self._calibrations.of(collection.model_version)
        likely = calibration.of_similarities([each.score for each in nearest])
        probabilities = {
            each.id: probability
            for each, probability in zip(nearest, likely.tolist(), strict=True)
            if plan.passes(probability)
        }
        ranked = [each for each in nearest if each.id in probabilities]
        page = ranking.page(collection, ranked=ranked, offset=plan.offset, limit=plan.limit)
        return search_pb2.SearchImagesResponse(
            hits=hits.to_plain_hits(page, probabilities=probabilities, holdings=self._holdings),
            next_page_token=plan.next_page_token(more=len(ranked) > plan.offset + plan.limit),
            model_version=collection.model_version,
        )
