"""What is made of queries before the store is asked: descriptors, hashes, words, local features."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from halftone.core import errors, wire
from halftone.imaging import images
from halftone.imaging.orientations import UPRIGHT, orientations
from halftone.matching.fingerprint import Fingerprint
from halftone.matching.words import Vocabulary, Words
from halftone.services.search.archive.embedder_client import MAX_IMAGES, Embedded
from halftone.services.search.query.plans import Plan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from halftone.services.search.archive.embedder_client import Embedder
    from halftone.services.search.archive.fingerprints import Fingerprints
    from halftone.services.search.archive.holdings import Holdings
    from halftone.v1 import embedder_pb2

_MAX_ITEMS: Final = 128
"""Pictures times orientations in one call to the embedder: a quarter of what waits there."""
_PATIENCE: Final = 2.0
"""Seconds for which a search tries an embedder again that is down or full."""


class Preparation:
    """Has queries embedded, and fingerprints them meanwhile."""

    def __init__(
        self,
        *,
        holdings: Holdings,
        embedder: Embedder,
        fingerprints: Fingerprints,
    ) -> None:
        self._holdings = holdings
        self._embedder = embedder
        self._fingerprints = fingerprints

    async def prepare(
        self,
        plans: list[Plan | errors.HalftoneError],
        *,
        model_version: str,
        deadline: float,
        ready: Callable[[int], None],
    ) -> None:
        """Completes plans, in as few calls as the embedder's limits allow.

        A plan of which something cannot be made gives way to the reason. `ready` is told the place
        of each plan as soon as nothing is to be made of it any more, the first about first.
        """
        chunk: list[int] = []
        items = size = 0
        for at, plan in enumerate(plans):
            if not isinstance(plan, Plan) or not plan.has_pixels:
                continue
            if plan.to_embed is not None and plan.stored is not None:
                try:
                    plan.to_embed.content = await self._holdings.threads.in_thread(
                        self._holdings.blobs.get, plan.stored.payload["sha256"]
                    )
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

    async def _chunk(
        self,
        plans: list[Plan | errors.HalftoneError],
        chunk: Sequence[int],
        *,
        model_version: str,
        deadline: float,
        ready: Callable[[int], None],
    ) -> None:
        """Embeds plans in one call, and fingerprints them meanwhile; lets go of their bytes."""
        asked = [(at, plan) for at in chunk if isinstance(plan := plans[at], Plan)]
        wanted = {at: plan.to_embed for at, plan in asked if plan.to_embed is not None}

        async def embed() -> dict[int, Embedded | errors.HalftoneError]:
            if not wanted:
                return {}
            found = await self._embed(
                list(wanted.values()), model_version=model_version, deadline=deadline
            )
            return dict(zip(wanted, found, strict=True))

        async def complete(at: int, plan: Plan) -> None:
            problem: errors.HalftoneError | None = None
            try:
                plan.picture = await self._holdings.threads.compute(
                    self._of_plan, plan, content=_content(plan)
                )
            except errors.HalftoneError as error:
                problem = error
            result = (await embedding)[at] if at in wanted else None
            # Of a picture that is no use to either, the embedder's reason is the one to be told.
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
    ) -> Sequence[Embedded | errors.HalftoneError]:
        try:
            return await self._embedder.embed(
                wanted, model_version=model_version, patience=_PATIENCE, deadline=deadline
            )
        except errors.HalftoneError as error:
            return [_of_the_embedder(error)] * len(wanted)

    def _of_plan(self, plan: Plan, *, content: bytes) -> Fingerprint:
        """The fingerprint of a plan's query; in a thread."""
        if plan.stored is not None and plan.sha256:
            return self._of_stored(plan, content=content)
        region = None
        if plan.to_embed is not None and plan.to_embed.HasField("region"):
            asked = plan.to_embed.region
            region = images.Region(asked.x, asked.y, asked.width, asked.height)
        return self._fingerprints.of_query(
            content, region=region, mirrored=plan.mirrored, rotated=plan.rotated
        )

    def _of_stored(self, plan: Plan, *, content: bytes) -> Fingerprint:
        """Of a whole image of the archive: what was stored is not made again."""
        assert plan.stored is not None  # noqa: S101 - asked before
        stored = plan.stored
        features = self._fingerprints.features(stored.payload["sha256"])
        vocabulary = Vocabulary.load()
        words = {
            False: vocabulary.words(features) if stored.words is None else Words(*stored.words)
        }
        if plan.mirrored:
            words[True] = vocabulary.words(features.mirrored())
        asked = orientations(mirrored=plan.mirrored, rotated=plan.rotated)
        hashes = {} if stored.pdq is None else {UPRIGHT: (stored.pdq > 0).astype("uint8")}
        if any(each not in hashes for each in asked):
            content = content or self._holdings.blobs.get(stored.payload["sha256"])
            every = self._fingerprints.hashes(content)
            hashes = {each: hashes.get(each, every[each]) for each in asked}
        return Fingerprint(pdq=hashes, features=features, words=words)


def _content(plan: Plan) -> bytes:
    return b"" if plan.to_embed is None else plan.to_embed.content


def _items(image: embedder_pb2.ImageInput | None) -> int:
    """Pictures times orientations that the embedder is asked for."""
    if image is None:
        return 0
    return len(orientations(mirrored=image.include_mirrored, rotated=image.include_rotated))


def _of_the_embedder(error: errors.HalftoneError) -> errors.HalftoneError:
    """What the caller is told: that the version is missing there is not that the image is."""
    if isinstance(error, errors.NotFound):
        return errors.Unavailable(f"The embedder cannot answer: {error.message}", retry_after=5.0)
    return error
