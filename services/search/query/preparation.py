"""Prepares queries for the store: descriptors, hashes, visual words, local features."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Final

from halftone.core import errors, wire
from halftone.imaging import images
from halftone.imaging.orientations import UPRIGHT, orientations
from halftone.matching.fingerprint import Fingerprint, make_words
from halftone.services.search.archive.embedder_client import MAX_IMAGES, ImageDescriptors
from halftone.services.search.query.plans import SearchPlan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from halftone.services.search.archive.parts import Parts
    from halftone.v1 import embedder_pb2

_MAX_ITEMS: Final = 128
"""The most pictures times orientations in one call to the embedder: a quarter of its queue."""
_PATIENCE: Final = 2.0
"""Seconds for which a search retries an embedder that is down or full."""


class Preparation:
    """Embeds queries and fingerprints them at the same time."""

    def __init__(self, parts: Parts) -> None:
        self._holdings = parts.holdings
        self._embedder = parts.embedder
        self._fingerprints = parts.fingerprints

    async def prepare(
        self,
        plans: list[SearchPlan | errors.HalftoneError],
        *,
        model_version: str,
        deadline: float,
        ready: Callable[[int], None],
    ) -> None:
        """Embed and fingerprint the queries of plans, with as few embedder calls as possible.

        The results become `vectors` and `picture` of each plan.

        Args:
            plans: The plans of one request. A plan that fails is replaced by its error.
            model_version: The model version that embeds.
            deadline: When the caller gives up, in the time of `time.monotonic`.
            ready: Called with the index of each plan once the plan is complete or has failed,
                roughly in order. Not called for searches by an embedding and for errors in `plans`.
        """
        chunk: list[int] = []
        items = size = 0
        for at, plan in enumerate(plans):
            if not isinstance(plan, SearchPlan) or not plan.has_pixels:
                continue
            try:
                await self._check(plan)
            except errors.HalftoneError as error:
                plans[at] = error
                ready(at)
                continue
            more, bytes_of = _items(plan.to_embed), len(_content(plan))
            if chunk and (
                len(chunk) == MAX_IMAGES
                or items + more > _MAX_ITEMS
                or size + bytes_of > wire.MAX_IMAGE_BYTES
            ):
                await self._chunk(
                    plans, chunk, model_version=model_version, deadline=deadline, ready=ready
                )
                chunk, items, size = [], 0, 0
            chunk.append(at)
            items += more
            size += bytes_of
        if chunk:
            await self._chunk(
                plans, chunk, model_version=model_version, deadline=deadline, ready=ready
            )

    async def _check(self, plan: SearchPlan) -> None:
        """Read the picture of a stored image; refuse one that was sent if it costs too much."""
        if plan.to_embed is None:
            return
        threads = self._holdings.threads
        if plan.stored is not None:
            plan.to_embed.content = await threads.in_thread(
                self._holdings.blobs.get, plan.stored.payload["sha256"]
            )
        else:
            # The embedder would refuse it as well, but only once it has all its bytes.
            await threads.in_thread(images.check, plan.to_embed.content)

    async def _chunk(
        self,
        plans: list[SearchPlan | errors.HalftoneError],
        chunk: Sequence[int],
        *,
        model_version: str,
        deadline: float,
        ready: Callable[[int], None],
    ) -> None:
        """Embed plans in one call and fingerprint them meanwhile.

        Drops the pictures' bytes afterwards.
        """
        asked = [(at, plan) for at in chunk if isinstance(plan := plans[at], SearchPlan)]
        wanted = {at: plan.to_embed for at, plan in asked if plan.to_embed is not None}

        async def embed() -> dict[int, ImageDescriptors | errors.HalftoneError]:
            if not wanted:
                return {}
            found = await self._embed(
                list(wanted.values()), model_version=model_version, deadline=deadline
            )
            return dict(zip(wanted, found, strict=True))

        async def complete(at: int, plan: SearchPlan) -> None:
            problem: errors.HalftoneError | None = None
            gone = threading.Event()
            try:
                plan.picture = await self._holdings.threads.compute(
                    self._fingerprint_query,
                    plan,
                    content=_content(plan),
                    is_over=lambda: gone.is_set() or time.monotonic() > deadline,
                )
            except errors.HalftoneError as error:
                problem = error
            finally:
                # A thread cannot be cancelled, but what it waits for can.
                gone.set()
            result = (await embedding)[at] if at in wanted else None
            # If both failed, the embedder's error is reported.
            if isinstance(result, errors.HalftoneError):
                problem = result
            elif result is not None:
                plan.vectors, plan.to_embed = result.vectors, None
            if problem is not None:
                plans[at] = problem
            ready(at)

        async with asyncio.TaskGroup() as group:
            embedding = group.create_task(embed())
            for at, plan in asked:
                group.create_task(complete(at, plan))

    async def _embed(
        self, wanted: list[embedder_pb2.ImageInput], *, model_version: str, deadline: float
    ) -> Sequence[ImageDescriptors | errors.HalftoneError]:
        try:
            return await self._embedder.embed(
                wanted, model_version=model_version, patience=_PATIENCE, deadline=deadline
            )
        except errors.HalftoneError as error:
            return [_to_caller(error)] * len(wanted)

    def _fingerprint_query(
        self, plan: SearchPlan, *, content: bytes, is_over: Callable[[], bool]
    ) -> Fingerprint:
        """Return the fingerprint of a plan's query. Runs in a thread."""
        if plan.stored is not None and plan.sha256:
            return self._fingerprint_stored(plan, content=content, is_over=is_over)
        region = None
        if plan.to_embed is not None and plan.to_embed.HasField("region"):
            asked = plan.to_embed.region
            region = images.Region(asked.x, asked.y, asked.width, asked.height)
        return self._fingerprints.of_query(
            content,
            region=region,
            mirrored=plan.mirrored,
            rotated=plan.rotated,
            is_over=is_over,
        )

    def _fingerprint_stored(
        self, plan: SearchPlan, *, content: bytes, is_over: Callable[[], bool]
    ) -> Fingerprint:
        """Return the fingerprint of a whole image of the archive, from what is stored of it."""
        assert plan.stored is not None  # noqa: S101 - asked before
        stored = plan.stored
        features = self._fingerprints.features(stored.payload["sha256"])
        words, negative_words = make_words(features, mirrored=plan.mirrored)
        if stored.words is not None:
            words[False] = stored.words
        asked = orientations(mirrored=plan.mirrored, rotated=plan.rotated)
        hashes = {} if stored.pdq is None else {UPRIGHT: (stored.pdq > 0).astype("uint8")}
        if any(each not in hashes for each in asked):
            content = content or self._holdings.blobs.get(stored.payload["sha256"])
            every = self._fingerprints.hashes(content, is_over=is_over)
            hashes = {each: hashes.get(each, every[each]) for each in asked}
        return Fingerprint(
            pdq=hashes, features=features, words=words, negative_words=negative_words
        )


def _content(plan: SearchPlan) -> bytes:
    return b"" if plan.to_embed is None else plan.to_embed.content


def _items(image: embedder_pb2.ImageInput | None) -> int:
    """Return the number of pictures times orientations that the embedder has to embed."""
    if image is None:
        return 0
    return len(orientations(mirrored=image.include_mirrored, rotated=image.include_rotated))


def _to_caller(error: errors.HalftoneError) -> errors.HalftoneError:
    """Translate an embedder's error. NOT_FOUND there is a missing version, not a missing image."""
    if isinstance(error, errors.NotFound):
        return errors.Unavailable(f"The embedder cannot answer: {error.message}", retry_after=5.0)
    return error
