"""Answers searches, from the request to the page of hits.

A search by a picture computes the picture's descriptor, hash, words and local features; takes
candidates from three channels; compares the best of them by local features; and ranks all by
probability. Searches of a batch are embedded together and share the threads that compare; the first
ones are answered while the last ones are being prepared. `embeddings` answers searches by an
embedding.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from typing import TYPE_CHECKING, Final

from halftone.archive import records
from halftone.core import errors
from halftone.services.search.archive import payload as payloads
from halftone.services.search.comparison.verifier import Missed
from halftone.services.search.query import candidates, hits, scoring
from halftone.services.search.query.embeddings import EmbeddingSearches
from halftone.services.search.query.plans import Planner, SearchPlan
from halftone.services.search.query.preparation import Preparation
from halftone.v1 import search_pb2

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Iterable, Sequence

    from halftone.services.search.archive.parts import Parts
    from halftone.services.search.comparison.calibrations import Calibrations
    from halftone.services.search.comparison.verifier import Outcome, Verifier
    from halftone.services.search.query.candidates import Block, SearchCandidate
    from halftone.services.search.query.embeddings import Answer
    from halftone.services.search.query.scoring import RankedCandidate
    from halftone.services.search.store.port import Collection
    from halftone.v1 import verdicts_pb2

    VerdictLookup = Callable[
        [uuid.UUID, Iterable[uuid.UUID]], dict[uuid.UUID, verdicts_pb2.Verdict] | None
    ]
    """The verdicts that hold between an image and its hits; None if they cannot be read. Blocks."""

_ANSWERING: Final = 0.2
"""Seconds before a request's deadline that are reserved for ranking and answering."""
_ANSWERING_EACH: Final = 0.02
"""Further seconds for each search of a batch: 64 of 50 hits took 0.2 s on two busy cores."""
TOGETHER: Final = 2
"""Searches of a batch that compare at a time. Few, so that when time runs out the first ones are
complete rather than all half done; two, so that no thread waits for the last pair of a search."""


class Searching:
    """Answers searches and comparisons."""

    def __init__(
        self,
        parts: Parts,
        *,
        verifier: Verifier,
        calibrations: Calibrations,
        verdicts: VerdictLookup,
    ) -> None:
        """Create the parts of a search. Nothing runs yet.

        Args:
            parts: The shared parts of the service.
            verifier: Compares queries with candidates.
            calibrations: Turn evidence into probabilities.
            verdicts: Reads the verdicts that hold between an image and its hits.
        """
        self._holdings = parts.holdings
        self._verifier = verifier
        self._calibrations = calibrations
        self._verdicts = verdicts
        self._verify_seconds = parts.settings.verify_seconds
        self._planner = Planner(parts.settings)
        self._embeddings = EmbeddingSearches(
            parts.holdings, planner=self._planner, calibrations=calibrations
        )
        self._preparation = Preparation(parts)

    async def search(
        self,
        requests: Sequence[search_pb2.SearchImagesRequest],
        *,
        collection: Collection,
        deadline: float,
    ) -> list[Answer]:
        """Answer searches.

        Args:
            requests: The searches.
            collection: The collection that answers them.
            deadline: In the time of `time.monotonic`. Searches of a batch that are not prepared by
                then are refused with DEADLINE_EXCEEDED; the others are answered.

        Returns:
            For each search its response, or the error that refuses it.
        """
        plain = [request for request in requests if is_by_embedding(request)]
        pictures = [request for request in requests if not is_by_embedding(request)]
        if not pictures:
            return await self._embeddings.search(plain, collection=collection)
        async with asyncio.TaskGroup() as group:
            by_picture = group.create_task(
                self._search_by_pictures(pictures, collection=collection, deadline=deadline)
            )
            by_embedding = group.create_task(self._embeddings.search(plain, collection=collection))
        compared, found = iter(by_picture.result()), iter(by_embedding.result())
        return [next(found) if is_by_embedding(request) else next(compared) for request in requests]

    # By a picture.

    async def _search_by_pictures(
        self,
        requests: Sequence[search_pb2.SearchImagesRequest],
        *,
        collection: Collection,
        deadline: float,
    ) -> list[Answer]:
        """Answer searches by pictures until the deadline.

        Each search is answered while the next ones are prepared, so that a batch that runs out of
        time still has most of its answers.
        """
        plans = await self._holdings.threads.read("plan", self._plan, requests, collection)
        answers: list[Answer | None] = [
            None if isinstance(plan, SearchPlan) else plan for plan in plans
        ]
        count = len(plans)
        now = time.monotonic()
        # A search that is ready after that can still be answered, but has no time to compare.
        until = deadline if count == 1 else deadline - _answering(count) / 2

        turns = asyncio.Semaphore(TOGETHER)

        async with asyncio.TaskGroup() as group:

            async def answer(at: int, plan: SearchPlan) -> None:
                try:
                    answers[at] = await self._answer_by_picture(
                        plan, searches=count, deadline=deadline, turns=turns
                    )
                except errors.HalftoneError as error:
                    answers[at] = error

            def ready(at: int) -> None:
                plan = plans[at]
                if isinstance(plan, SearchPlan):
                    group.create_task(answer(at, plan))
                else:
                    answers[at] = plan

            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if math.isinf(until) else until - now):
                    await self._preparation.prepare(
                        plans,
                        model_version=collection.model_version,
                        deadline=until,
                        ready=ready,
                    )
        return [_late() if each is None else each for each in answers]

    def _plan(
        self, requests: Sequence[search_pb2.SearchImagesRequest], collection: Collection
    ) -> list[SearchPlan | errors.HalftoneError]:
        return [self._planner.plan(request, collection=collection) for request in requests]

    async def _answer_by_picture(
        self, plan: SearchPlan, *, searches: int, deadline: float, turns: asyncio.Semaphore
    ) -> Answer:
        block = await self._holdings.threads.read(
            "query", candidates.find_first_block, plan.collection, plan=plan
        )
        until = self._until(deadline, searches=searches)
        async with turns:
            outcomes = await self._compare(plan, block.candidates, until=until)
        return await self._holdings.threads.read(
            "rank", self._answer, plan, block=block, outcomes=outcomes
        )

    def _until(self, deadline: float, *, searches: int) -> float:
        """Return when a search must end its comparisons if `searches` of them run."""
        now = time.monotonic()
        return now + comparing_seconds(searches, each=self._verify_seconds, left=deadline - now)

    async def _compare(
        self, plan: SearchPlan, block: Sequence[SearchCandidate], *, until: float
    ) -> list[Outcome]:
        """Compare the best candidates. Returns their outcomes in the same order."""
        chosen = block[: plan.verify_count]
        if plan.picture is None or not chosen:
            return []
        outcomes = iter(
            await self._verifier.outcomes(
                plan.picture.features,
                [each.payload["sha256"] for at, each in enumerate(chosen) if at not in plan.late],
                deadline=until,
                mirrored=None if plan.mirrored else False,
            )
        )
        return [
            Missed.OUT_OF_TIME if at in plan.late else next(outcomes) for at in range(len(chosen))
        ]

    def _answer(
        self, plan: SearchPlan, *, block: Block, outcomes: list[Outcome]
    ) -> search_pb2.SearchImagesResponse:
        calibration = self._calibrations.of(plan.collection.model_version)
        ranked = scoring.rank(block, outcomes, plan=plan, calibration=calibration)
        end = plan.offset + plan.limit
        late = [at for at, each in enumerate(outcomes) if each is Missed.OUT_OF_TIME]
        found, unavailable = self._hits(plan, ranked[plan.offset : end])
        return search_pb2.SearchImagesResponse(
            hits=found,
            next_page_token=plan.next_page_token(more=len(ranked) > end, late=late),
            model_version=plan.collection.model_version,
            verified_count=sum(
                not isinstance(each, Missed) and each.is_conclusive for each in outcomes
            ),
            out_of_time_count=len(late),
            verdicts_unavailable=unavailable,
        )

    def _hits(
        self, plan: SearchPlan, page: Sequence[RankedCandidate]
    ) -> tuple[list[search_pb2.Hit], bool]:
        """Return the messages of hits, and whether reading their verdicts failed."""
        verdicts: dict[uuid.UUID, verdicts_pb2.Verdict] | None = {}
        if plan.stored is not None:
            verdicts = self._verdicts(plan.stored.id, [each.candidate.id for each in page])
        found = hits.to_hits(page, holdings=self._holdings, verdicts=verdicts or {})
        return found, verdicts is None

    # One image beside another.

    async def compare(
        self, request: search_pb2.CompareImagesRequest, *, collection: Collection, deadline: float
    ) -> search_pb2.CompareImagesResponse:
        """Return `image` of a request as a hit of a search by its `query` image, or a region of it.

        Args:
            request: The names of the two images, and the region, if any.
            collection: The collection that has both images.
            deadline: When the caller gives up, in the time of `time.monotonic`. The pictures are
                compared only if there is time.

        Raises:
            errors.NotFound: One of the images is not in the archive.
            errors.HalftoneError: The query could not be prepared.
        """
        records.parse_name(request.query, field="query")
        name = records.parse_name(request.image, field="image")
        asked = search_pb2.SearchImagesRequest(image=request.query)
        if request.HasField("query_region"):
            asked.region.CopyFrom(request.query_region)
        plans = [
            await self._holdings.threads.read(
                "plan", self._planner.plan, asked, collection=collection
            )
        ]
        await self._preparation.prepare(
            plans,
            model_version=collection.model_version,
            deadline=deadline,
            ready=lambda _: None,
        )
        (plan,) = plans
        if isinstance(plan, errors.HalftoneError):
            raise plan
        block = await self._holdings.threads.read(
            "query", candidates.get_candidate, collection, plan=plan, point_id=name.point_id
        )
        if not block:
            raise errors.NotFound(
                f"There is no image {name}.", resource_type="image", resource_name=str(name)
            )
        until = self._until(deadline, searches=1)
        outcomes = await self._compare(plan, block, until=until)
        return await self._holdings.threads.read(
            "rank", self._answer_comparison, plan, block, outcomes
        )

    def _answer_comparison(
        self, plan: SearchPlan, block: Sequence[SearchCandidate], outcomes: Sequence[Outcome]
    ) -> search_pb2.CompareImagesResponse:
        version = plan.collection.model_version
        calibration = self._calibrations.of(version)
        scored = scoring.score(block, outcomes, plan=plan, calibration=calibration)
        (hit,), unavailable = self._hits(plan, scored)
        if _are_page_and_picture(plan, scored[0]):
            hit.relation = search_pb2.Hit.ON_PAGE
        return search_pb2.CompareImagesResponse(
            hit=hit, model_version=version, verdicts_unavailable=unavailable
        )


def comparing_seconds(searches: int, *, each: float, left: float) -> float:
    """Return the seconds for which searches may compare; negative if no time is left.

    Args:
        searches: The number of searches.
        each: Seconds reserved for each search.
        left: Seconds to the deadline of all searches.
    """
    return min(each * searches, left - _answering(searches))


def _answering(searches: int) -> float:
    return _ANSWERING + _ANSWERING_EACH * searches


def is_by_embedding(request: search_pb2.SearchImagesRequest) -> bool:
    """Return whether a search needs no picture to be prepared or compared."""
    return bool(request.WhichOneof("query") == "embedding")


def _are_page_and_picture(plan: SearchPlan, other: RankedCandidate) -> bool:
    """Return whether one of two records is the page that the other stands on."""
    assert plan.stored is not None  # noqa: S101 - both are images of the archive
    query, image = plan.stored.payload, other.candidate.payload
    return other.candidate.name == query.get("page_image") or image.get("page_image") == str(
        payloads.name_of(query)
    )


def _late() -> errors.DeadlineExceeded:
    return errors.DeadlineExceeded("The time was over before this search had its turn.")
