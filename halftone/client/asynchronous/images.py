"""The client's methods for images: search, records, embeddings and import."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from halftone.client import calls, tasks
from halftone.client import regions as region_calls
from halftone.client.asynchronous.connection import Connection
from halftone.client.asynchronous.importing import ImportRun
from halftone.client.records import ImagePage
from halftone.client.types import Search

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path
    from typing import Unpack

    from PIL import Image

    from halftone.archive.manifests import Row
    from halftone.client.records import (
        Facets,
        ImageRecord,
        ImportAck,
        ImportSummary,
        NewImage,
        Thumbnail,
    )
    from halftone.client.regions import ImageRegion, RegionOptions
    from halftone.client.types import (
        Compared,
        Filter,
        ImageEmbeddings,
        LoadedModel,
        Query,
        SearchOptions,
        SearchPage,
    )
    from halftone.core import errors
    from halftone.imaging.images import Region


class ImageMethods(Connection):
    """The methods for searches, records, embeddings and the import."""

    async def search(
        self, query: Query, *, timeout: float | None = None, **options: Unpack[SearchOptions]
    ) -> SearchPage:
        """Find the other printings of a picture, the most probable first.

        Args:
            query: An encoded image, the path of one, a Pillow image, an embedding, or an image of
                the archive: its record, or its name, which begins with `archives/`.
            timeout: Deadline in seconds.
            **options: The fields of `halftone.client.SearchOptions`.

        Raises:
            errors.InvalidArgument: An option or the image is refused.
            errors.NotFound: No image has that name.
            errors.ModelVersionMismatch: The embedding or page token is of another model version.
        """
        call = await tasks.run_blocking(calls.search, Search(query=query, **options))
        return await self._run(call, timeout)

    async def search_pages(
        self, query: Query, *, timeout: float | None = None, **options: Unpack[SearchOptions]
    ) -> AsyncIterator[SearchPage]:
        """Iterate over the pages of a search like `search`; `timeout` is for each page."""
        page = await self.search(query, timeout=timeout, **options)
        yield page
        while page.next_page_token:
            options["page_token"] = page.next_page_token
            page = await self.search(query, timeout=timeout, **options)
            yield page

    async def batch_search(
        self, searches: Sequence[Search], *, timeout: float | None = None
    ) -> tuple[SearchPage | errors.HalftoneError, ...]:
        """Run up to 64 searches and return a page or an error for each, in the same order.

        Raises:
            errors.InvalidArgument: There are no searches or more than 64, or a file cannot be read
                or is too large to be sent.
        """
        call = await tasks.run_blocking(calls.batch_search, searches)
        return await self._run(call, timeout)

    async def compare(
        self,
        query: ImageRecord | str,
        image: ImageRecord | str,
        *,
        crop: Region | tuple[int, int, int, int] | None = None,
        timeout: float | None = None,
    ) -> Compared:
        """Compare two images of the archive as a search compares its query with a candidate.

        Args:
            query: A record or its name.
            image: A record or its name.
            crop: Compare this part of the query only, as in `search`.
            timeout: Deadline in seconds.

        Raises:
            errors.NotFound: No image has that name.
        """
        return await self._run(calls.compare(query, image, crop=crop), timeout)

    async def get(self, name: str, *, timeout: float | None = None) -> ImageRecord:
        """Return the record of an image.

        Raises:
            errors.NotFound: No image has that name.
        """
        return await self._run(calls.get(name), timeout)

    def list(
        self,
        *,
        filter: Filter | None = None,  # noqa: A002  # the concept's name
        page_size: int | None = None,
        timeout: float | None = None,
    ) -> AsyncIterator[ImageRecord]:
        """Iterate over the records that match `filter`, in the order of their names.

        Pages of `page_size` (1 to 1000) are fetched as needed; `timeout` is for each of them.
        """
        return self._iterate(
            lambda token: calls.list_images(where=filter, page_size=page_size, page_token=token),
            timeout,
        )

    async def image_page(
        self,
        *,
        filter: Filter | None = None,  # noqa: A002  # the concept's name
        page_size: int | None = None,
        page_token: str = "",
        timeout: float | None = None,
    ) -> ImagePage:
        """Return one page of the records that match `filter`, in the order of their names.

        Args:
            filter: Only records that match it; None: all.
            page_size: 1 to 1000.
            page_token: The token of the page to return, from the page before it.
            timeout: Deadline in seconds.
        """
        call = calls.list_images(where=filter, page_size=page_size, page_token=page_token)
        images, next_page_token = await self._run(call, timeout)
        return ImagePage(images=images, next_page_token=next_page_token)

    async def update(
        self, name: str, *, timeout: float | None = None, **fields: object
    ) -> ImageRecord:
        """Write fields of a record, for example `caption="…"`, and return the new record.

        Raises:
            errors.NotFound: No image has that name.
            errors.InvalidArgument: A field cannot be written or has a wrong value.
        """
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
        """Delete images by name or by filter and return how many there were.

        The service deletes them piece by piece; if the deadline comes first, some of them are gone.
        To delete very many, name some hundred in each call.

        Args:
            names: One name or several.
            filter: A filter, instead of names.
            everything: Must be set if the filter matches everything. With it, and without a filter,
                all images are deleted.
            dry_run: Only count the images.
            timeout: Deadline in seconds.

        Raises:
            errors.InvalidArgument: Names are given together with a filter or `everything`. Or no
                names are given, `everything` is not set, and the filter is missing or matches
                everything.
        """
        call = calls.delete(names, where=filter, everything=everything, dry_run=dry_run)
        return await self._run(call, timeout)

    async def facets(
        self,
        *,
        filter: Filter | None = None,  # noqa: A002  # the concept's name
        limit: int | None = None,
        labels: bool = False,
        ignore_own_values: bool = False,
        year_buckets: int | None = None,
        timeout: float | None = None,
    ) -> Facets:
        """Count images by archive, journal, year, language and label.

        Args:
            filter: Count only images that match it.
            limit: The most values of each, 1 to 1000; the most frequent are kept. Default: 100.
            labels: Whether to count labels, too. `limit` holds for the values of all keys together.
            ignore_own_values: Count each facet under the filter without the facet's own values, so
                that the counts say what another choice would bring.
            year_buckets: The most bars of a histogram of the years, 1 to 500; None: no histogram.
            timeout: Deadline in seconds.
        """
        call = calls.facets(
            where=filter,
            limit=limit,
            labels=labels,
            ignore_own_values=ignore_own_values,
            year_buckets=year_buckets,
        )
        return await self._run(call, timeout)

    async def thumbnail(self, name: str, *, timeout: float | None = None) -> Thumbnail:
        """Return an image as a JPEG of at most 512 pixels a side.

        Raises:
            errors.NotFound: No image has that name.
        """
        return await self._run(region_calls.thumbnail(name), timeout)

    async def region(
        self, name: str, *, timeout: float | None = None, **options: Unpack[RegionOptions]
    ) -> ImageRegion:
        """Return a part of an image in full detail, cut from the bytes as they were imported.

        Args:
            name: The name of an image of the archive.
            timeout: Deadline in seconds.
            **options: The fields of `halftone.client.RegionOptions`. Without them, the whole
                picture, as large as the service gives.

        Raises:
            errors.NotFound: No image has that name, or its picture is not kept any more
                (`ORIGINAL_MISSING`).
            errors.InvalidArgument: The part lies outside of the picture, or the size is not
                allowed.
        """
        return await self._run(region_calls.region(name, options), timeout)

    async def embed(
        self,
        images: Sequence[bytes | str | Path | Image.Image],
        *,
        mirrored: bool = False,
        rotated: bool = False,
        model_version: str = "",
        timeout: float | None = None,
    ) -> tuple[ImageEmbeddings | errors.HalftoneError, ...]:
        """Embed up to 64 images of together at most 32 MiB.

        Args:
            images: Encoded images, paths or Pillow images.
            mirrored: Embed the mirrored pictures as well.
            rotated: Embed the pictures turned by 90, 180 and 270 degrees as well.
            model_version: The model version, as `name/version`; the active one by default.
            timeout: Deadline in seconds.

        Returns:
            For each image, in the same order, its embeddings or the reason why it was refused.

        Raises:
            errors.InvalidArgument: There are too many images, or a file cannot be read or is too
                large to be sent.
        """
        call = await tasks.run_blocking(
            calls.embed, images, mirrored=mirrored, rotated=rotated, model_version=model_version
        )
        return await self._run(call, timeout)

    async def models(self, *, timeout: float | None = None) -> tuple[LoadedModel, ...]:
        """Return the model versions that the embedder has loaded."""
        return await self._run(calls.models(), timeout)

    async def import_images(
        self,
        records: tasks.Source[NewImage | Row],
        *,
        on_progress: Callable[[ImportAck], None] | None = None,
        on_wait: Callable[[errors.HalftoneError, float], None] | None = None,
        stall_timeout: float = 120.0,
    ) -> ImportSummary:
        """Import records. A rejected record does not end the import.

        Records are pulled as the service takes them. When the connection is lost, what is not
        acknowledged is sent again on a new one; see `RetryPolicy.import_patience`.

        Args:
            records: Records, or the rows of a manifest. They are pulled from a thread of their own,
                or on the event loop if the iterable is asynchronous.
            on_progress: Called for each acknowledgement, in the rows' order.
            on_wait: Called before each pause after which a lost connection is taken up again, with
                the error that ended it and the seconds until the import gives up.
            stall_timeout: If acknowledgements are owed and none comes for so many seconds, the
                connection is taken to be lost.

        Raises:
            errors.StorageFull: The service's disk is full.
            errors.Unavailable: The service did not come back.
        """
        metadata = self._make_metadata(uuid.uuid4().hex)

        def open_stream(requests: AsyncIterator[bytes]) -> tasks.Stream[bytes]:
            # The messages travel as bytes, because the import converts them off the event loop.
            method = self._channel("search").stream_stream(
                calls.IMPORT_PATH, request_serializer=bytes, response_deserializer=bytes
            )
            return method(requests, metadata=metadata)

        run = ImportRun(
            records,
            open_stream=open_stream,
            on_ack=on_progress or (lambda _: None),
            on_retry=self._count_retry,
            on_wait=on_wait or (lambda _error, _seconds: None),
            address=self._addresses["search"],
            is_closed=lambda: self._closed,
            policy=self._policy,
            stall_timeout=stall_timeout,
        )
        return await run.run()
