"""The client for ordinary, blocking code."""

from __future__ import annotations

import threading
import time
import uuid
from typing import TYPE_CHECKING, TypeVar

import grpc

from halftone import errors
from halftone.client import calls
from halftone.client.importing import ImportRun
from halftone.client.retry import Attempts, RetryPolicy
from halftone.client.types import Search
from halftone.settings import ClientSettings
from halftone.v1 import search_pb2 as pb
from halftone.wire import CHANNEL_OPTIONS, REQUEST_ID_KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Self, Unpack

    from PIL import Image

    from halftone.archive import Row
    from halftone.client.types import (
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

T = TypeVar("T")

# gRPC waits up to two minutes between its own attempts to connect; the retry policy is in charge.
CLIENT_OPTIONS = (
    *CHANNEL_OPTIONS,
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
)


class Client:
    """Talks to a search service, and to its embedder where asked to.

    A context manager; safe to share between threads. No connection is made before the first call.
    Every call has a deadline and is tried again, with jitter and never past the deadline, when the
    service says UNAVAILABLE, or RESOURCE_EXHAUSTED with the time to come back.

    Args:
        search: `host:port` of the search service. Default: `HALFTONE_SEARCH`, or this machine.
        embedder: `host:port` of the embedder. Default: `HALFTONE_EMBEDDER`, or this machine.
        timeout: Deadline of a call in seconds, its retries included; each method takes another.
        retries: When and how often to try again.

    All methods raise subclasses of `halftone.errors.HalftoneError`.
    """

    def __init__(
        self,
        search: str | None = None,
        *,
        embedder: str | None = None,
        timeout: float = 60.0,
        retries: RetryPolicy | None = None,
    ) -> None:
        settings = ClientSettings()
        self._addresses = {
            "search": search or settings.search,
            "embedder": embedder or settings.embedder,
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
        """Finds the printings most similar to a picture, most similar first.

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
            records: What to import; rows of `halftone.archive.read_manifest` will do as well.
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
            policy=self._policy, timeout=timeout or self._timeout, on_retry=self._count_retry
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
