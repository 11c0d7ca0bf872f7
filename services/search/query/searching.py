"""How searches are answered, from the request to the page.

By a picture: its descriptors, hash, words and features are made; three channels bring candidates;
the best of them are compared by local features; all are ranked by probability. By an embedding,
which has no pixels: by descriptor alone, ranked by similarity. Searches of a batch are embedded
together, and share the threads that compare; the first are answered while the last are prepared.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from typing import TYPE_CHECKING, Final

from halftone.archive import records
from halftone.core import errors
from halftone.services.search.comparison.verifier import Missed
from halftone.services.search.query import candidates, hits, ranking, scoring
from halftone.services.search.query.plans import Plan, Planner
from halftone.services.search.query.preparation import Preparation
from halftone.services.search.store.port import Query
from halftone.v1 import search_pb2

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Iterable, Sequence

    from halftone.services.search.archive.parts import Parts
    from halftone.services.search.comparison.calibrations import Calibrations
    from halftone.services.search.comparison.verifier import Outcome, Verifier
    from halftone.services.search.query.candidates import Block, Candidate
    from halftone.services.search.query.scoring import Scored
    from halftone.services.search.store.port import Collection, ScoredPoint
    from halftone.v1 import verdicts_pb2

    Answer = search_pb2.SearchImagesResponse | errors.HalftoneError
    VerdictLookup = Callable[
        [uuid.UUID, Iterable[uuid.UUID]], dict[uuid.UUID, verdicts_pb2.Verdict] | None
    ]
    """The verdicts that hold between an image and its hits; None if they cannot be read. Blocks."""

_ANSWERING: Final = 0.2
"""Seconds that are kept of a request's deadline to rank and answer after the comparisons."""
_ANSWERING_EACH: Final = 0.02
"""And so many more for each search of a batch: 64 of 50 hits took 0.2 s on two busy cores."""
TOGETHER: Final = 2
"""Searches of a batch that are compared at a time, so that the first are done when the time is
over, instead of all being half done; two, so that no thread waits for the last pair of one."""


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
        """Answer nothing yet.

        Args:
            parts: What the service's rooms share.
            verifier: Compares queries with candidates.
            calibrations: Turn evidence into probabilities.
            verdicts: Reads the verdicts that hold between an image and its hits.
        """
        holdings, settings = parts.holdings, parts.settings
        self._holdings = holdings
        self._verifier = verifier
        self._calibrations = calibrations
        self._verdicts = verdicts
        self._verify_seconds = settings.verify_seconds
        self._planner = Planner(holdings=holdings, settings=settings)
        self._preparation = Preparation(
            holdings=holdings, embedder=parts.embedder, fingerprints=parts.fingerprints
        )

    async def search(
        self,
        requests: Sequence[search_pb2.SearchImagesRequest],
        *,
        collection: Collection,
        deadline: float,
    ) -> list[Answer]:
        """Answers of searches, each with its response or why it was refused.

        Args:
            requests: Searches.
            collection: In which.
            deadline: In the time of `time.monotonic`. Of several searches those that are not
                prepared by then are refused, so that the others still have their answers.
        """
        # One hop for planning and, where there is no picture to prepare, for the whole answer.
        plain = all(request.WhichOneof("query") == "embedding" for request in requests)
        plans, answers = await self._holdings.threads.read(
            "query" if plain else "plan", self._begin, requests, collection=collection
        )
        if any(isinstance(plan, Plan) and plan.has_pixels for plan in plans):
            await self._by_pictures(
                plans, answers, model_version=collection.model_version, deadline=deadline
            )
        return [_late() if each is None else each for each in answers]

    def _begin(
        self, requests: Sequence[search_pb2.SearchImagesRequest], *, collection: Collection
    ) -> tuple[list[Plan | errors.HalftoneError], list[Answer | None]]:
        """Plan searches, and answer those that are by embedding. Blocks.

        Returns:
            A plan or an error for each request, and its answer; None while a picture has to be
            prepared for it.
        """
        plans = [self._planner.plan(request, collection=collection) for request in requests]
        answers: list[Answer | None] = [None if isinstance(plan, Plan) else plan for plan in plans]
        plain = {
            at: plan
            for at, plan in enumerate(plans)
            if isinstance(plan, Plan) and not plan.has_pixels
        }
        if plain:
            for at, answer in zip(plain, self._by_vector(list(plain.values())), strict=True):
                answers[at] = answer
        return plans, answers

    # By a picture.

    async def _by_pictures(
        self,
        plans: list[Plan | errors.HalftoneError],
        answers: list[Answer | None],
        *,
        model_version: str,
        deadline: float,
    ) -> None:
        """Fills in the answers of those by pictures, but for those whose time does not suffice.

        Each is answered while the next ones are still prepared, so that a batch that takes longer
        than it may has most of its answers.
        """
        count = len(plans)
        now = time.monotonic()
        # What is ready in the second half of the time to answer is answered without comparisons.
        until = deadline if count == 1 else deadline - _answering(count) / 2

        turns = asyncio.Semaphore(TOGETHER)

        async with asyncio.TaskGroup() as group:

            async def answer(at: int, plan: Plan) -> None:
                try:
                    answers[at] = await self._by_picture(
                        plan, searches=count, deadline=deadline, turns=turns
                    )
                except errors.HalftoneError as error:
                    answers[at] = error

            def ready(at: int) -> None:
                plan = plans[at]
                if isinstance(plan, Plan):
                    group.create_task(answer(at, plan))
                else:
                    answers[at] = plan

            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if math.isinf(until) else until - now):
                    await self._preparation.prepare(
                        plans, model_version=model_version, deadline=until, ready=ready
                    )

    async def _by_picture(
        self, plan: Plan, *, searches: int, deadline: float, turns: asyncio.Semaphore
    ) -> Answer:
        block = await self._holdings.threads.read(
            "query", candidates.first, plan.collection, plan=plan
        )
        until = self._until(deadline, searches=searches)
        async with turns:
            outcomes = await self._compared(plan, block.candidates, until=until)
        # In a thread, the making of the answer too.
        return await self._holdings.threads.read(
            "rank", self._answer, plan, block=block, outcomes=outcomes
        )

    def _until(self, deadline: float, *, searches: int) -> float:
        """When the comparisons of a search end that is one of so many."""
        now = time.monotonic()
        return now + comparing_seconds(searches, each=self._verify_seconds, left=deadline - now)

    async def _compared(
        self, plan: Plan, block: Sequence[Candidate], *, until: float
    ) -> list[Outcome]:
        """Compares the best candidates."""
        chosen = block[: plan.verify_count]
        if plan.picture is None or not chosen:
            return []
        found = iter(
            await self._verifier.outcomes(
                plan.picture.features,
                [each.payload["sha256"] for at, each in enumerate(chosen) if at not in plan.late],
                deadline=until,
                mirrored=None if plan.mirrored else False,
            )
        )
        return [Missed.OUT_OF_TIME if at in plan.late else next(found) for at in range(len(chosen))]

    def _answer(
        self, plan: Plan, *, block: Block, outcomes: list[Outcome]
    ) -> search_pb2.SearchImagesResponse:
        calibration = self._calibrations.of(plan.collection.model_version)
        ranked = scoring.ranked(block, outcomes, plan=plan, calibration=calibration)
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

    def _hits(self, plan: Plan, page: Sequence[Scored]) -> tuple[list[search_pb2.Hit], bool]:
        """Messages of hits, and whether the verdicts on them could not be read."""
        verdicts: dict[uuid.UUID, verdicts_pb2.Verdict] | None = {}
        if plan.stored is not None:
            verdicts = self._verdicts(plan.stored.id, [each.candidate.id for each in page])
        found = hits.to_hits(page, holdings=self._holdings, verdicts=verdicts or {})
        return found, verdicts is None

    # By an embedding.

    def _by_vector(self, plans: Sequence[Plan]) -> list[Answer]:
        """Asks the store and answers; blocks."""
        collection = plans[0].collection
        found = ranking.query(
            collection,
            queries=[
                Query(
                    vector=vector,
                    limit=plan.depth,
                    filter=plan.condition,
                    min_score=plan.min_score,
                    # Of pages before, hits are not in the answer.
                    payloads=not plan.offset,
                )
                for plan in plans
                for vector in (plan.vectors or {}).values()
            ],
        )
        return [self._similar(plan, found=each) for plan, each in zip(plans, found, strict=True)]

    def _similar(
        self, plan: Plan, *, found: Sequence[ScoredPoint]
    ) -> search_pb2.SearchImagesResponse:
        collection = plan.collection
        calibration = self._calibrations.of(collection.model_version)
        likely = scoring.of_similarity([each.score for each in found], calibration=calibration)
        probabilities = {
            each.id: probability
            for each, probability in zip(found, likely, strict=True)
            if plan.passes(probability)
        }
        ranked = [each for each in found if each.id in probabilities]
        page = ranking.page(collection, ranked=ranked, offset=plan.offset, limit=plan.limit)
        return search_pb2.SearchImagesResponse(
            hits=hits.to_plain_hits(page, probabilities=probabilities, holdings=self._holdings),
            next_page_token=plan.next_page_token(more=len(ranked) > plan.offset + plan.limit),
            model_version=collection.model_version,
        )

    # One image beside another.

    async def compare(
        self, request: search_pb2.CompareImagesRequest, *, collection: Collection, deadline: float
    ) -> search_pb2.CompareImagesResponse:
        """The second image as a hit of a search by the first, or by a part of it."""
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
            "query", candidates.given, collection, plan=plan, id=name.point_id
        )
        if not block:
            raise errors.NotFound(
                f"There is no image {name}.", resource_type="image", resource_name=str(name)
            )
        until = self._until(deadline, searches=1)
        outcomes = await self._compared(plan, block, until=until)
        return await self._holdings.threads.read("rank", self._beside, plan, block, outcomes)

    def _beside(
        self, plan: Plan, block: Sequence[Candidate], outcomes: Sequence[Outcome]
    ) -> search_pb2.CompareImagesResponse:
        version = plan.collection.model_version
        calibration = self._calibrations.of(version)
        scored = scoring.score(block, outcomes, plan=plan, calibration=calibration)
        (hit,), unavailable = self._hits(plan, scored)
        return search_pb2.CompareImagesResponse(
            hit=hit, model_version=version, verdicts_unavailable=unavailable
        )


def comparing_seconds(searches: int, *, each: float, left: float) -> float:
    """How long searches may compare, together; less than nothing where there is no time to.

    Args:
        searches: How many.
        each: Seconds for each of them.
        left: Seconds to the deadline of all.
    """
    return min(each * searches, left - _answering(searches))


def _answering(searches: int) -> float:
    return _ANSWERING + _ANSWERING_EACH * searches


def _late() -> errors.DeadlineExceeded:
    return errors.DeadlineExceeded("The time was over before this search had its turn.")
