"""The client for ordinary, blocking code."""

from __future__ import annotations

import threading
import time
import uuid
from typing import TYPE_CHECKING, TypeVar

import grpc

from halftone.client import calls, models, training
from halftone.client.cluster_methods import ClusterMethods
from halftone.client.importing import ImportRun
from halftone.client.retry import Attempts, RetryPolicy
from halftone.client.types import Search
from halftone.core import errors
from halftone.core.settings import ClientSettings
from halftone.core.wire import CHANNEL_OPTIONS, REQUEST_ID_KEY
from halftone.v1 import models_pb2 as pb_models
from halftone.v1 import search_pb2 as pb
from halftone.v1 import trainer_pb2 as pb_trainer

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
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

# gRPC waits up to two minutes between its own attempts to connect; the retry policy is in charge.
CLIENT_OPTIONS = (
    *CHANNEL_OPTIONS,
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
)


class Client(ClusterMethods):
    """Talks to a search service, and to its embedder and trainer where asked to.

    A context manager; safe to share between threads. No connection is made before the first call.
    Every call has a deadline and is tried again, with jitter and never past the deadline, when the
    service says UNAVAILABLE, or RESOURCE_EXHAUSTED with the time to come back.

    Args:
        search: `host:port` of the search service. Default: `HALFTONE_SEARCH`, or this machine.
        embedder: `host:port` of the embedder. Default: `HALFTONE_EMBEDDER`, or this machine.
        trainer: `host:port` of the training service. Default: `HALFTONE_TRAINER`, or this machine.
        timeout: Deadline of a call in seconds, its retries included; each method takes another.
        retries: When and how often to try again.

    All methods raise subclasses of `halftone.core.errors.HalftoneError`.
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
        self._lock = threading.Lock()
        self._channels: dict[str, grpc.Channel] = {}
        self._closed = False
        self._retry_count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections; calls under way end with `errors.Cancelled`."""
        with self._lock:
            self._closed = True
            channels = list(self._channels.values())
            self._channels.clear()
        for channel in channels:
            channel.close()

    @property
    def retry_count(self) -> int:
        """How many times this client has tried a call again."""
        return self._retry_count

    def search(
        self, query: Query, *, timeout: float | None = None, **options: Unpack[SearchOptions]
    ) -> SearchPage:
        """Finds the other printings of a picture, most probable first.

        Args:
            query: An encoded image, the path of one, a Pillow image, an embedding, or an image of
                the archive: its record, or its name, which begins with `archives/`.
            timeout: Deadline in seconds.
            **options: See `halftone.client.SearchOptions`.

        Raises:
            errors.InvalidArgument: An option or the image is refused.
            errors.NotFound: No image has that name.
            errors.ModelVersionMismatch: The embedding or page token is of another model version.
        """
        return self._run(calls.search(Search(query=query, **options)), timeout)

    def search_pages(
        self, query: Query, *, timeout: float | None = None, **options: Unpack[SearchOptions]
    ) -> Iterator[SearchPage]:
        """Searches like `search` and goes on page by page; `timeout` is for each page."""
        page = self.search(query, timeout=timeout, **options)
        yield page
        while page.next_page_token:
            options["page_token"] = page.next_page_token
            page = self.search(query, timeout=timeout, **options)
            yield page

    def batch_search(
        self, searches: Sequence[Search], *, timeout: float | None = None
    ) -> tuple[SearchPage | errors.HalftoneError, ...]:
        """Runs up to 64 searches; a page or an error for each, in the same order."""
        return self._run(calls.batch_search(searches), timeout)

    def compare(
        self,
        query: ImageRecord | str,
        image: ImageRecord | str,
        *,
        crop: Region | tuple[int, int, int, int] | None = None,
        timeout: float | None = None,
    ) -> Compared:
        """Compares two images of the archive as a search compares its query with a candidate.

        Args:
            query: A record or its name.
            image: Likewise.
            crop: Compare this part of the query only, as in `search`.
            timeout: Deadline in seconds.

        Raises:
            errors.NotFound: No image has that name.
        """
        return self._run(calls.compare(query, image, crop=crop), timeout)

    def get(self, name: str, *, timeout: float | None = None) -> ImageRecord:
        """The record of that name.

        Raises:
            errors.NotFound: There is none.
        """
        return self._run(calls.get(name), timeout)

    def list(
        self,
        *,
        filter: Filter | None = None,  # noqa: A002  # the concept's name
        page_size: int | None = None,
        timeout: float | None = None,
    ) -> Iterator[ImageRecord]:
        """Iterates over the records under a filter in the order of their names.

        Pages of `page_size` (1 to 1000) are fetched as needed; `timeout` is for each of them.
        """
        token = ""
        while True:
            call = calls.list_images(where=filter, page_size=page_size, page_token=token)
            records, token = self._run(call, timeout)
            yield from records
            if not token:
                return

    def update(self, name: str, *, timeout: float | None = None, **fields: object) -> ImageRecord:
        """Writes fields of a record, for example `caption="…"`; gives the new record.

        Raises:
            errors.NotFound: No image has that name.
            errors.InvalidArgument: A field cannot be written or has a wrong value.
        """
        return self._run(calls.update(name, fields=fields), timeout)

    def delete(
        self,
        names: str | Sequence[str] = (),
        *,
        filter: Filter | None = None,  # noqa: A002  # the concept's name
        everything: bool = False,
        dry_run: bool = False,
        timeout: float | None = None,
    ) -> int:
        """Deletes images by name or by filter and gives their count.

        The service deletes piece by piece; where the deadline comes first, some are gone. Very many
        are best deleted by some hundred names a call.

        Args:
            names: One name or several.
            filter: Instead of names.
            everything: Must be set for a filter that matches everything.
            dry_run: Only count.
            timeout: Deadline in seconds.
        """
        call = calls.delete(names, where=filter, everything=everything, dry_run=dry_run)
        return self._run(call, timeout)

    def facets(
        self,
        *,
        filter: Filter | None = None,  # noqa: A002  # the concept's name
        limit: int | None = None,
        timeout: float | None = None,
    ) -> Facets:
        """Counts images by journal, year and language; `limit` values of each, 1 to 1000."""
        return self._run(calls.facets(where=filter, limit=limit), timeout)

    def thumbnail(self, name: str, *, timeout: float | None = None) -> Thumbnail:
        """The picture as a JPEG of at most 512 pixels a side."""
        return self._run(calls.thumbnail(name), timeout)

    def embed(
        self,
        images: Sequence[bytes | str | Path | Image.Image],
        *,
        mirrored: bool = False,
        rotated: bool = False,
        model_version: str = "",
        timeout: float | None = None,
    ) -> tuple[ImageEmbeddings | errors.HalftoneError, ...]:
        """Embeds up to 64 images of together at most 32 MiB.

        Args:
            images: Encoded images, paths or Pillow images.
            mirrored: Embed the mirrored pictures as well.
            rotated: Embed the pictures turned by 90, 180 and 270 degrees as well.
            model_version: As `name/version`; the active one by default.
            timeout: Deadline in seconds.

        Returns:
            Embeddings, or why the image was refused, for each image in the same order.
        """
        call = calls.embed(images, mirrored=mirrored, rotated=rotated, model_version=model_version)
        return self._run(call, timeout)

    def models(self, *, timeout: float | None = None) -> tuple[LoadedModel, ...]:
        """The model versions that the embedder has loaded."""
        return self._run(calls.models(), timeout)

    def model_versions(
        self, *, page_size: int | None = None, timeout: float | None = None
    ) -> Iterator[ModelVersion]:
        """Iterates over the published model versions; `timeout` is for each page."""
        token = ""
        while True:
            call = models.list_versions(page_size=page_size, page_token=token)
            versions, token = self._run(call, timeout)
            yield from versions
            if not token:
                return

    def model_version(self, name: str, *, timeout: float | None = None) -> ModelVersion:
        """A version with its spec and metrics; `name` alone means its newest version.

        Raises:
            errors.NotFound: There is none.
        """
        return self._run(models.get(name), timeout)

    def promote(
        self,
        name: str,
        *,
        force: bool = False,
        groups: Sequence[Sequence[str]] = (),
        timeout: float | None = None,
    ) -> Promotion:
        """Starts to make a version the one that answers; `watch_promotion` tells how it goes.

        The archive is embedded anew while the old version answers, the two are compared, and a
        version that is worse is refused. Asked again, it gives the promotion that runs.

        Args:
            name: `name/version`, or `name` for its newest version.
            force: Switch even if the version is worse.
            groups: Names of images that show the same picture, to compare the versions on.
                Default: the images with the label `group`.
            timeout: Deadline in seconds, of this call and not of the promotion.

        Raises:
            errors.NotFound: There is no such version.
            errors.FailedPrecondition: Another promotion runs, or the version is active.
        """
        return self._run(models.promote(name, force=force, groups=groups), timeout)

    def roll_back(self, *, timeout: float | None = None) -> Promotion:
        """Starts to promote the version that answered before.

        Raises:
            errors.FailedPrecondition: There was none, or another promotion runs.
        """
        return self._run(models.roll_back(), timeout)

    def promotion(self, *, timeout: float | None = None) -> Promotion:
        """The promotion that runs, or the last one.

        Raises:
            errors.NotFound: There was none.
        """
        return self._run(models.promotion(), timeout)

    def watch_promotion(self) -> Iterator[Promotion]:
        """The promotion as it is, then again whenever it changes, up to its final state.

        Connects again when the connection is lost, as often as a call is tried again.
        """
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
                for message in stream:
                    promotion = watch.take(message)
                    if promotion is not None:
                        yield promotion
            except grpc.RpcError as failure:
                time.sleep(watch.pause_after(errors.from_rpc_error(failure)))
            finally:
                stream.cancel()

    def cancel_promotion(self, *, timeout: float | None = None) -> Promotion:
        """Stops the promotion that runs; the version that answers goes on answering.

        Raises:
            errors.FailedPrecondition: It has ended, or is switching already.
        """
        return self._run(models.cancel(), timeout)

    def delete_model_version(self, name: str, *, timeout: float | None = None) -> None:
        """Deletes a version and its collection.

        Raises:
            errors.FailedPrecondition: It is active, or being promoted.
        """
        self._run(models.delete(name), timeout)

    def train(
        self,
        spec: TrainingSpec | Mapping[str, Any],
        *,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> TrainingJob:
        """Puts a training job on the queue.

        Args:
            spec: What to train; a `halftone.training.TrainingSpec`, or its fields.
            request_id: A UUID, say: the same one always gives the same job, which is
                `trainingJobs/{request_id}`. Made up by default.
            timeout: Deadline in seconds.

        Raises:
            errors.InvalidArgument: Names the field.
            errors.NotFound: The parent version.
            errors.AlreadyExists: The request id was used with another specification.
        """
        return self._run(training.create(spec, request_id=request_id), timeout)

    def training_job(self, name: str, *, timeout: float | None = None) -> TrainingJob:
        """The job of that name, `trainingJobs/{id}`."""
        return self._run(training.get(name), timeout)

    def training_jobs(
        self,
        *,
        states: Collection[JobState] = (),
        page_size: int | None = None,
        timeout: float | None = None,
    ) -> Iterator[TrainingJob]:
        """Iterates over the jobs, the newest first; `timeout` is for each page."""
        token = ""
        while True:
            call = training.list_jobs(states=states, page_size=page_size, page_token=token)
            jobs, token = self._run(call, timeout)
            yield from jobs
            if not token:
                return

    def cancel_training_job(self, name: str, *, timeout: float | None = None) -> TrainingJob:
        """Stops a job: one that waits at once, one that runs after the step it is in.

        Raises:
            errors.FailedPrecondition: It is over already.
        """
        return self._run(training.cancel(name), timeout)

    def watch_training_job(self, name: str) -> Iterator[TrainingJob]:
        """The job as it is, then again whenever it changes, up to its final state.

        Connects again when the connection is lost, as often as a call is tried again.
        """
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
                for message in stream:
                    job = watch.take(message)
                    if job is not None:
                        yield job
            except grpc.RpcError as failure:
                time.sleep(watch.pause_after(errors.from_rpc_error(failure)))
            finally:
                stream.cancel()

    def import_images(
        self,
        records: Iterable[NewImage | Row],
        *,
        on_progress: Callable[[ImportAck], None] | None = None,
        stall_timeout: float = 120.0,
    ) -> ImportSummary:
        """Imports records; a rejected one does not end the import.

        Records are pulled as the service takes them. When the connection is lost, what is not
        acknowledged is sent again on a new one; see `RetryPolicy.import_patience`.

        Args:
            records: What to import; rows of `manifests.read_manifest` will do as well.
                They are pulled from another thread than the caller's.
            on_progress: Called in the caller's thread with each acknowledgement.
            stall_timeout: Seconds without an owed acknowledgement after which the connection
                counts as lost.

        Raises:
            errors.StorageFull: The service's disk is full.
            errors.Unavailable: The service did not come back.
        """
        run = self._import_run(
            records, on_progress=on_progress or _ignore, stall_timeout=stall_timeout
        )
        return run.run()

    def _import_run(
        self,
        records: Iterable[NewImage | Row],
        *,
        on_progress: Callable[[ImportAck], None],
        stall_timeout: float,
    ) -> ImportRun:
        metadata = ((REQUEST_ID_KEY, uuid.uuid4().hex),)
        stream = self._channel("search").stream_stream(
            calls.IMPORT_PATH,
            request_serializer=pb.ImportImagesRequest.SerializeToString,
            response_deserializer=pb.ImportImagesResponse.FromString,
        )
        return ImportRun(
            records,
            open_stream=lambda requests: stream(requests, metadata=metadata),
            on_ack=on_progress,
            on_retry=self._count_retry,
            policy=self._policy,
            stall_timeout=stall_timeout,
        )

    def _run(self, call: calls.Call[T], timeout: float | None) -> T:
        method = self._channel(call.service).unary_unary(
            call.path,
            request_serializer=type(call.request).SerializeToString,
            response_deserializer=call.response_class.FromString,
        )
        # One id for all tries, so that the logs show them as one request.
        metadata = ((REQUEST_ID_KEY, uuid.uuid4().hex),)
        attempts = Attempts(
            policy=self._policy.when(repeatable=call.repeatable),
            timeout=timeout or self._timeout,
            on_retry=self._count_retry,
        )
        while True:
            try:
                response = method(call.request, timeout=attempts.remaining(), metadata=metadata)
            except grpc.RpcError as failure:
                error = errors.from_rpc_error(failure)
                error.request_id = error.request_id or metadata[0][1]
                time.sleep(attempts.pause_after(error))
            else:
                return call.parse(response)

    def _channel(self, service: str) -> grpc.Channel:
        with self._lock:
            if self._closed:
                raise errors.FailedPrecondition("The client is closed.", subject="client")
            if service not in self._channels:
                address = self._addresses[service]
                self._channels[service] = grpc.insecure_channel(address, options=CLIENT_OPTIONS)
            return self._channels[service]

    def _count_retry(self) -> None:
        with self._lock:
            self._retry_count += 1


def _ignore(_ack: ImportAck) -> None:
    pass
