"""Calls the embedder, with a deadline and bounded retries.

An embedder may take long for a batch, and one that hangs would be waited for as long. So whoever
waits asks it meanwhile whether it is alive: see `Embedder`.

A call is tried again while the embedder is unreachable or full: after the pause that the embedder
asks for, otherwise after growing pauses; both with jitter.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import grpc
import numpy as np

from halftone.core import errors, telemetry, wire
from halftone.core.addresses import name_address
from halftone.core.settings import TlsSettings
from halftone.core.tls import open_aio_channel
from halftone.imaging.orientations import UPRIGHT, Orientation
from halftone.service.quotas import note_pixels
from halftone.v1 import embedder_pb2, embedder_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_IMAGES: Final = 64
"""The most images in one call."""

# A call that timed out is tried again: the embedder may have been restarted meanwhile.
_RETRIED: Final = (errors.Unavailable, errors.ResourceExhausted, errors.DeadlineExceeded)
_SILENT: Final = (errors.Unavailable, errors.DeadlineExceeded)
_QUESTIONS: Final = 2
"""Questions without an answer after which an embedder hangs. Two, because with several embedders
behind one name the second question goes to another one than the first."""
NO_ANSWER: Final = "EMBEDDER_DOES_NOT_ANSWER"
"""The reason of the error if the embedder hangs, or did not answer a call in time."""
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageDescriptors:
    """The descriptors of one image, and its size in pixels.

    Attributes:
        vectors: A descriptor for each requested orientation, the upright one first; float32 [D],
            L2-normalised.
        width: The width of the image in pixels.
        height: The height of the image in pixels.
    """

    vectors: dict[Orientation, np.ndarray]
    width: int
    height: int


class Embedder:
    """A client of one embedder, or of several behind one host name.

    While it waits for descriptors, it asks every few seconds which versions are loaded. An embedder
    answers that at once, however busy it is. One that does not is given up: the call fails with
    `Unavailable`, long before its own deadline.
    """

    def __init__(
        self,
        address: str,
        *,
        timeout: float,
        metrics: telemetry.Metrics,
        key: str = "",
        liveness: float = 2.0,
        tls: TlsSettings | None = None,
    ) -> None:
        """Create a channel, which connects when it is first used.

        Args:
            address: `host:port`.
            timeout: Seconds that one attempt may take.
            metrics: The metrics of retries and times.
            key: The secret that is sent with each call; empty sends none.
            liveness: Seconds after which an embedder that has not answered is asked whether it is
                alive, and that it has to say so, twice.
            tls: Whom to trust, and the certificate to show; None: as the environment says.
        """
        self._address = address
        self._timeout = timeout
        self._liveness = liveness
        self._key = key
        # Find a restarted embedder quickly: gRPC's pauses grow to 2 minutes by default.
        self._channel = open_aio_channel(
            address,
            tls=tls or TlsSettings(),
            options=[
                *wire.CHANNEL_OPTIONS,
                ("grpc.initial_reconnect_backoff_ms", 100),
                ("grpc.max_reconnect_backoff_ms", 2_000),
                # A name with several addresses stands for several embedders.
                ("grpc.lb_policy_name", "round_robin"),
            ],
        )
        self._stub = embedder_pb2_grpc.EmbedderServiceStub(self._channel)  # type: ignore[no-untyped-call]  # generated
        self._seconds = metrics.histogram("embed_seconds", "Time of calls to the embedder")
        self._retries = metrics.counter(
            "embed_retries_total", "Calls to the embedder that were tried again", labels=("code",)
        )

    async def active_model(self, *, seconds: float) -> embedder_pb2.LoadedModel:
        """Return the version that the embedder uses when a call names none.

        Args:
            seconds: The seconds that the embedder has to answer.

        Raises:
            errors.Unavailable: The embedder cannot be reached, or has no active model yet.
            errors.DeadlineExceeded: The embedder did not answer within `seconds`.
        """
        for model in (await self._list(seconds=seconds)).models:
            if model.active:
                return model
        raise errors.Unavailable("The embedder has no active model yet.", retry_after=1.0)

    async def list_versions(self, *, seconds: float) -> list[str]:
        """Return the versions that the embedder has loaded.

        Args:
            seconds: The seconds that the embedder has to answer.

        Raises:
            errors.Unavailable: The embedder cannot be reached.
            errors.DeadlineExceeded: The embedder did not answer within `seconds`.
        """
        return [model.model_version for model in (await self._list(seconds=seconds)).models]

    async def _list(self, *, seconds: float) -> embedder_pb2.ListModelsResponse:
        try:
            answer: embedder_pb2.ListModelsResponse = await self._stub.ListModels(
                embedder_pb2.ListModelsRequest(), timeout=seconds, metadata=_metadata(self._key)
            )
        except grpc.RpcError as error:
            raise self._name_embedder(errors.from_rpc_error(error)) from error
        return answer

    def _name_embedder(self, error: errors.HalftoneError) -> errors.HalftoneError:
        """Say who cannot be reached: whoever reads gRPC's own text has called another service."""
        named = name_address(error, address=self._address)
        if named is error:
            return error
        return errors.Unavailable(
            f"The embedder does not answer. {named.message}", reason=NO_ANSWER, retry_after=1.0
        )

    async def embed(
        self,
        images: Sequence[embedder_pb2.ImageInput],
        *,
        model_version: str,
        patience: float,
        deadline: float = math.inf,
    ) -> list[ImageDescriptors | errors.HalftoneError]:
        """Embed up to 64 images, together at most 32 MiB.

        Args:
            images: The images to embed.
            model_version: The model version that embeds them.
            patience: The seconds for which a failed call is tried again.
            deadline: When the caller gives up, in the time of `time.monotonic`.

        Returns:
            For each image its descriptors, or the error that refuses it.

        Raises:
            errors.Unavailable: The embedder could not be reached, or hangs.
            errors.ResourceExhausted: The embedder was full.
            errors.NotFound: The embedder does not have the version loaded.
            errors.DeadlineExceeded: `deadline` has passed.
        """
        request = embedder_pb2.EmbedImagesRequest(images=images, model_version=model_version)
        answer = await self._embed(request, patience=patience, deadline=deadline)
        if len(answer.results) != len(images):
            raise errors.Internal("The embedder answered for another number of images.")
        results = [_result(result, model_version=model_version) for result in answer.results]
        await note_pixels(
            sum(each.width * each.height for each in results if isinstance(each, ImageDescriptors))
        )
        return results

    async def _embed(
        self, request: embedder_pb2.EmbedImagesRequest, *, patience: float, deadline: float
    ) -> embedder_pb2.EmbedImagesResponse:
        pause = _FIRST_PAUSE
        give_up = min(time.monotonic() + patience, deadline)
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise errors.DeadlineExceeded("The embedder did not answer in time.")
            try:
                with self._seconds.time():
                    return await self._wait_for_answer(request, seconds=min(left, self._timeout))
            except grpc.RpcError as rpc_error:
                error = self._name_embedder(errors.from_rpc_error(rpc_error))
                if isinstance(error, errors.DeadlineExceeded):
                    # Is the caller's time over, or only that of the embedder?
                    error = (
                        self._make_silence(f"within {self._timeout:g} s")
                        if self._timeout < left
                        else errors.DeadlineExceeded(
                            f"The embedder at {self._address} did not answer in time."
                        )
                    )
            except errors.Unavailable as hanging:
                error = hanging
            if isinstance(error, errors.StorageFull) or not isinstance(error, _RETRIED):
                raise error
            wanted = getattr(error, "retry_after", None)
            # Jitter spreads the retries of callers that were refused at the same time.
            wait = (wanted if wanted is not None else pause) * random.uniform(1.0, 1.5)  # noqa: S311 - no secret
            if time.monotonic() + wait >= give_up:
                raise error
            self._retries.labels(errors.code_of(error).name).inc()
            await asyncio.sleep(wait)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _wait_for_answer(
        self, request: embedder_pb2.EmbedImagesRequest, *, seconds: float
    ) -> embedder_pb2.EmbedImagesResponse:
        """Make one call, and see to it that the embedder is alive meanwhile.

        Raises:
            grpc.RpcError: The call failed.
            errors.Unavailable: The embedder hangs.
        """

        async def call() -> embedder_pb2.EmbedImagesResponse:
            answer: embedder_pb2.EmbedImagesResponse = await self._stub.EmbedImages(
                request, timeout=seconds, metadata=_metadata(self._key)
            )
            return answer

        answering = asyncio.create_task(call())
        try:
            while True:
                done, _ = await asyncio.wait({answering}, timeout=self._liveness)
                if not done:
                    silent = 0
                    while silent < _QUESTIONS and not await self._is_alive():
                        silent += 1
                    if silent == _QUESTIONS and not answering.done():
                        raise self._make_silence(
                            f"and not to {_QUESTIONS} questions of {self._liveness:g} s either"
                        )
                if answering.done():
                    return answering.result()
        finally:
            answering.cancel()
            with contextlib.suppress(asyncio.CancelledError, grpc.RpcError):
                await answering

    async def _is_alive(self) -> bool:
        try:
            await self._list(seconds=self._liveness)
        except _SILENT:
            return False
        except errors.HalftoneError:
            # It answers, if only to say that it does not want to.
            return True
        return True

    def _make_silence(self, details: str) -> errors.Unavailable:
        return errors.Unavailable(
            f"The embedder at {self._address} does not answer, {details}.",
            reason=NO_ANSWER,
            retry_after=1.0,
        )

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close()


def _metadata(key: str) -> tuple[tuple[str, str], ...]:
    request_id = telemetry.request_id()
    named = ((wire.REQUEST_ID_KEY, request_id),) if request_id else ()
    return (*named, *wire.make_authorization(key))


def _result(
    result: embedder_pb2.EmbedImageResult, *, model_version: str
) -> ImageDescriptors | errors.HalftoneError:
    if result.HasField("error"):
        error = errors.from_status(result.error)
        if isinstance(error, errors.InvalidArgument):
            # `images[3].content` becomes `content`: the caller did not make this batch.
            error.field = error.field.rpartition("].")[2]
        return error
    embeddings = result.embeddings
    if embeddings.embedding.model_version != model_version:
        return errors.Internal("The embedder answered with another model version.")
    vectors = {UPRIGHT: to_vector(embeddings.embedding)}
    for other in embeddings.oriented_embeddings:
        vectors[Orientation(other.mirrored, other.rotation)] = to_vector(other.embedding)
    return ImageDescriptors(vectors=vectors, width=embeddings.width, height=embeddings.height)


def to_vector(embedding: embedder_pb2.Embedding, *, field: str = "embedding") -> np.ndarray:
    """Return the vector of an embedding: float32 [D], L2-normalised.

    Args:
        embedding: The message.
        field: The name by which errors call it.

    Raises:
        errors.InvalidArgument: There are more or fewer values than `dimension`, a value is not
            finite, or all values are zero.
    """
    if embedding.dimension < 1 or len(embedding.values) != 4 * embedding.dimension:
        raise errors.InvalidArgument(
            f"{field}.values holds {len(embedding.values)} bytes; {embedding.dimension} float32 "
            f"need {4 * embedding.dimension}.",
            field=f"{field}.values",
        )
    vector = np.frombuffer(embedding.values, dtype="<f4").astype(np.float32)
    # In double precision: the squares of large float32 overflow.
    norm = float(np.linalg.norm(vector.astype(np.float64)))
    if not np.isfinite(norm) or norm == 0.0:
        raise errors.InvalidArgument(
            f"{field}.values must be finite numbers that are not all zero.",
            field=f"{field}.values",
        )
    normalised: np.ndarray = (vector / norm).astype(np.float32)
    return normalised
