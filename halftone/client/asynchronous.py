"""The client for asyncio."""

# A gRPC deadline travels with the call and stops the service's work; asyncio.timeout would not.
# ruff: noqa: ASYNC109

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterable
from typing import TYPE_CHECKING, TypeVar

import grpc

from halftone.client import calls, models, training
from halftone.client.blocking import CLIENT_OPTIONS, Client
from halftone.client.cluster_methods import AsyncClusterMethods
from halftone.client.retry import Attempts, RetryPolicy
from halftone.client.types import Search
from halftone.core import errors
from halftone.core.settings import ClientSettings
from halftone.core.wire import REQUEST_ID_KEY
from halftone.v1 import models_pb2 as pb_models
from halftone.v1 import trainer_pb2 as pb_trainer

if TYPE_CHECKING:
    from collections.abc import (
        AsyncIterator,
        Callable,
        Collection,
        Iterable,
        Iterator,
        Mapping,
        Sequence,
    )
    from pathlib import Path
    from types import TracebackType
    from typing import Any, Self, Unpack

    from PIL import Image

    from halftone.archive.manifests import Row
    from halftone.client.models import ModelVersion, Promotion
    from halftone.client.training import JobState, TrainingJob
    from halftone.client.types import (
        Compared,
        Facets,
        Filter,
        ImageEmbeddings,
        ImageRecord,
        ImportAck,
        ImportSummary,
        LoadedModel,
        NewImage,
        Query,
        SearchOptions,
        SearchPage,
        Thumbnail,
    )
    from halftone.core.training import TrainingSpec
    from halftone.imaging.images import Region

T = TypeVar("T")


class AsyncClient(AsyncClusterMethods):
    """`halftone.client.Client` for asyncio: same arguments, same methods, same errors.

    An asynchronous context manager, for one event loop. Files are read and pictures encoded in
    threads, never on the loop.
    """

    def __init__(
        self,
        search: str | None = None,
        *,
        embedder: str | None = None,
        trainer: str | None = None,
        timeout: float = 60.0,
        retries: RetryPolicy | None = None,
    ) -> None:
        settings = ClientSettings()
        self._addresses = {
            "search": search or settings.search,
            "models": search or settings.search,
            "clusters": search or settings.search,
            "embedder": embedder or settings.embedder,
            "trainer": trainer or settings.trainer,
        }
        self._timeout = timeout
        self._policy = retries or RetryPolicy()
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._closed = False
        self._retry_count = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connections; calls under way end with `errors.Cancelled`."""
        self._closed = True
        while self._channels:
            _, channel = self._channels.popitem()
            await channel.close()

    @property
    def retry_count(self) -> int:
        """How many times this client has tried a call again."""
        return self._retry_count

    async def search(
        self, query: Query, *, timeout: float | None = None, **options: Unpack[SearchOptions]
    ) -> SearchPage:
        """See `Client.search`."""
        wanted = Search(query=query, **options)
        return await self._run(await asyncio.to_thread(calls.search, wanted), timeout)

    async def search_pages(
        self, query: Query, *, timeout: float | None = None, **options: Unpack[SearchOptions]
    ) -> AsyncIterator[SearchPage]:
        """See `Client.search_pages`."""
        page = await self.search(query, timeout=timeout, **options)
        yield page
        while page.next_page_token:
            options["page_token"] = page.next_page_token
            page = await self.search(query, timeout=timeout, **options)
            yield page

    async def batch_search(
        self, searches: Sequence[Search], *, timeout: float | None = None
    ) -> tuple[SearchPage | errors.HalftoneError, ...]:
        """See `Client.batch_search`."""
        return await self._run(await asyncio.to_thread(calls.batch_search, searches), timeout)

    async def compare(
        self,
        query: ImageRecord | str,
        image: ImageRecord | str,
        *,
        crop: Region | tuple[int, int, int, int] | None = None,
        timeout: float | None = None,
    ) -> Compared:
        """See `Client.compare`."""
        return await self._run(calls.compare(query, image, crop=crop), timeout)

    async def get(self, name: str, *, timeout: float | None = None) -> ImageRecord:
        """See `Client.get`."""
        return await self._run(calls.get(name), timeout)

    async def list(
        self,
        *,
        filter: Filter | None = None,  # noqa: A002  # the concept's name
        page_size: int | None = None,
        timeout: float | None = None,
    ) -> AsyncIterator[ImageRecord]:
        """See `Client.list`."""
        token = ""
        while True:
            call = calls.list_images(where=filter, page_size=page_size, page_token=token)
            records, token = await self._run(call, timeout)
            for record in records:
                yield record
            if not token:
                return

    async def update(
        self, name: str, *, timeout: float | None = None, **fields: object
    ) -> ImageRecord:
        """See `Client.update`."""
        return await self._run(calls.update(name, fields=fields), timeout)

    async def delete(
        self,
        names: str | Sequence[str] = (),
        *,
        filter: Filter | None = None,  # noqa: A002  # the concept's name
        everything: bool = False,
        dry_run: bool = False,
        timeout: float | None = None,
    ) -> int:
        """See `Client.delete`."""
        call = calls.delete(names, where=filter, everything=everything, dry_run=dry_run)
        return await self._run(call, timeout)

    async def facets(
        self,
        *,
        filter: Filter | None = None,  # noqa: A002  # the concept's name
        limit: int | None = None,
        timeout: float | None = None,
    ) -> Facets:
        """See `Client.facets`."""
        return await self._run(calls.facets(where=filter, limit=limit), timeout)

    async def thumbnail(self, name: str, *, timeout: float | None = None) -> Thumbnail:
        """See `Client.thumbnail`."""
        return await self._run(calls.thumbnail(name), timeout)

    async def embed(
        self,
        images: Sequence[bytes | str | Path | Image.Image],
        *,
        mirrored: bool = False,
        rotated: bool = False,
        model_version: str = "",
        timeout: float | None = None,
    ) -> tuple[ImageEmbeddings | errors.HalftoneError, ...]:
        """See `Client.embed`."""
        call = await asyncio.to_thread(
            calls.embed, images, mirrored=mirrored, rotated=rotated, model_version=model_version
        )
        return await self._run(call, timeout)

    async def models(self, *, timeout: float | None = None) -> tuple[LoadedModel, ...]:
        """See `Client.models`."""
        return await self._run(calls.models(), timeout)

    async def model_versions(
        self, *, page_size: int | None = None, timeout: float | None = None
    ) -> AsyncIterator[ModelVersion]:
        """See `Client.model_versions`."""
        token = ""
        while True:
            call = models.list_versions(page_size=page_size, page_token=token)
            versions, token = await self._run(call, timeout)
            for version in versions:
                yield version
            if not token:
                return

    async def model_version(self, name: str, *, timeout: float | None = None) -> ModelVersion:
        """See `Client.model_version`."""
        return await self._run(models.get(name), timeout)

    async def promote(
        self,
        name: str,
        *,
        force: bool = False,
        groups: Sequence[Sequence[str]] = (),
        timeout: float | None = None,
    ) -> Promotion:
        """See `Client.promote`."""
        return await self._run(models.promote(name, force=force, groups=groups), timeout)

    async def roll_back(self, *, timeout: float | None = None) -> Promotion:
        """See `Client.roll_back`."""
        return await self._run(models.roll_back(), timeout)

    async def promotion(self, *, timeout: float | None = None) -> Promotion:
        """See `Client.promotion`."""
        return await self._run(models.promotion(), timeout)

    async def watch_promotion(self) -> AsyncIterator[Promotion]:
        """See `Client.watch_promotion`."""
        watch = models.Watching(policy=self._policy, on_retry=self._count_retry)
        open_stream = self._channel("models").unary_stream(
            models.WATCH_PATH,
            request_serializer=pb_models.WatchPromotionRequest.SerializeToString,
            response_deserializer=pb_models.Promotion.FromString,
        )
        metadata = ((REQUEST_ID_KEY, uuid.uuid4().hex),)
        while not watch.is_over:
            stream = open_stream(
                pb_models.WatchPromotionRequest(), timeout=models.WATCH_SECONDS, metadata=metadata
            )
            try:
                async for message in stream:
                    promotion = watch.take(message)
                    if promotion is not None:
                        yield promotion
            except grpc.RpcError as failure:
                await asyncio.sleep(watch.pause_after(errors.from_rpc_error(failure)))
            finally:
                stream.cancel()

    async def cancel_promotion(self, *, timeout: float | None = None) -> Promotion:
        """See `Client.cancel_promotion`."""
        return await self._run(models.cancel(), timeout)

    async def delete_model_version(self, name: str, *, timeout: float | None = None) -> None:
        """See `Client.delete_model_version`."""
        await self._run(models.delete(name), timeout)

    async def train(
        self,
        spec: TrainingSpec | Mapping[str, Any],
        *,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> TrainingJob:
        """See `Client.train`."""
        return await self._run(training.create(spec, request_id=request_id), timeout)

    async def training_job(self, name: str, *, timeout: float | None = None) -> TrainingJob:
        """See `Client.training_job`."""
        return await self._run(training.get(name), timeout)

    async def training_jobs(
        self,
        *,
        states: Collection[JobState] = (),
        page_size: int | None = None,
        timeout: float | None = None,
    ) -> AsyncIterator[TrainingJob]:
        """See `Client.training_jobs`."""
        token = ""
        while True:
            call = training.list_jobs(states=states, page_size=page_size, page_token=token)
            jobs, token = await self._run(call, timeout)
            for job in jobs:
                yield job
            if not token:
                return

    async def cancel_training_job(self, name: str, *, timeout: float | None = None) -> TrainingJob:
        """See `Client.cancel_training_job`."""
        return await self._run(training.cancel(name), timeout)

    async def watch_training_job(self, name: str) -> AsyncIterator[TrainingJob]:
        """See `Client.watch_training_job`."""
        watch = training.Watching(policy=self._policy, on_retry=self._count_retry)
        open_stream = self._channel("trainer").unary_stream(
            training.WATCH_PATH,
            request_serializer=pb_trainer.WatchTrainingJobRequest.SerializeToString,
            response_deserializer=pb_trainer.TrainingJob.FromString,
        )
        metadata = ((REQUEST_ID_KEY, uuid.uuid4().hex),)
        while not watch.is_over:
            stream = open_stream(
                training.watch_request(name), timeout=training.WATCH_SECONDS, metadata=metadata
            )
            try:
                async for message in stream:
                    job = watch.take(message)
                    if job is not None:
                        yield job
            except grpc.RpcError as failure:
                await asyncio.sleep(watch.pause_after(errors.from_rpc_error(failure)))
            finally:
                stream.cancel()

    async def import_images(
        self,
        records: Iterable[NewImage | Row] | AsyncIterable[NewImage | Row],
        *,
        on_progress: Callable[[ImportAck], None] | None = None,
        stall_timeout: float = 120.0,
    ) -> ImportSummary:
        """See `Client.import_images`; `on_progress` is called on the event loop.

        The stream is run by the blocking client in a thread, so that there is one implementation
        of it. Cancelling the task ends the stream.
        """
        loop = asyncio.get_running_loop()

        def report(ack: ImportAck) -> None:
            if on_progress is not None:
                loop.call_soon_threadsafe(on_progress, ack)

        source = _in_thread(records, loop=loop) if isinstance(records, AsyncIterable) else records
        with Client(self._addresses["search"], retries=self._policy) as client:
            run = client._import_run(  # noqa: SLF001  # the same package's other half
                source, on_progress=report, stall_timeout=stall_timeout
            )
            running = asyncio.ensure_future(asyncio.to_thread(run.run))
            try:
                return await asyncio.shield(running)
            except asyncio.CancelledError:
                run.stop()
                with contextlib.suppress(errors.Cancelled):
                    await running
                raise
            finally:
                self._retry_count += client.retry_count

    async def _run(self, call: calls.Call[T], timeout: float | None) -> T:
        method = self._channel(call.service).unary_unary(
            call.path,
            request_serializer=type(call.request).SerializeToString,
            response_deserializer=call.response_class.FromString,
        )
        metadata = ((REQUEST_ID_KEY, uuid.uuid4().hex),)
        attempts = Attempts(
            policy=self._policy.when(repeatable=call.repeatable),
            timeout=timeout or self._timeout,
            on_retry=self._count_retry,
        )
        while True:
            try:
                response = await method(
                    call.request, timeout=attempts.remaining(), metadata=metadata
                )
            except grpc.RpcError as failure:
                error = errors.from_rpc_error(failure)
                error.request_id = error.request_id or metadata[0][1]
                await asyncio.sleep(attempts.pause_after(error))
            else:
                return call.parse(response)

    def _channel(self, service: str) -> grpc.aio.Channel:
        if self._closed:
            raise errors.FailedPrecondition("The client is closed.", subject="client")
        if service not in self._channels:
            address = self._addresses[service]
            self._channels[service] = grpc.aio.insecure_channel(address, options=CLIENT_OPTIONS)
        return self._channels[service]

    def _count_retry(self) -> None:
        self._retry_count += 1


def _in_thread(
    records: AsyncIterable[NewImage | Row], *, loop: asyncio.AbstractEventLoop
) -> Iterator[NewImage | Row]:
    """Iterates from another thread over what is produced on the event loop."""
    iterator = aiter(records)

    async def following() -> NewImage | Row | None:
        return await anext(iterator, None)

    while (image := asyncio.run_coroutine_threadsafe(following(), loop).result()) is not None:
        yield image
