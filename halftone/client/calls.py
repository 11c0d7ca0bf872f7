"""Builds the calls for images and embeddings, and converts their responses.

Both clients only make the calls that are built here and in `clusters`, `models` and `training`.
Nothing in this module touches the network; building a request may read the image file it is about.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

from google.protobuf import field_mask_pb2, message

from halftone.archive.manifests import Row
from halftone.client.conversions import (
    WRITABLE_FIELDS,
    make_filter,
    make_region,
    parse_compared,
    parse_embeddings,
    parse_page,
    parse_record,
    read_image,
    write_fields,
)
from halftone.client.records import (
    Facets,
    ImageRecord,
    ImportAck,
    ImportState,
    YearBucket,
)
from halftone.client.types import Compared, Embedding, LoadedModel, Search
from halftone.core import errors
from halftone.v1 import embedder_pb2 as pb_embedder
from halftone.v1 import search_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from PIL import Image

    from halftone.client.records import NewImage
    from halftone.client.types import Filter, ImageEmbeddings, Query, SearchPage
    from halftone.imaging.images import Region

T = TypeVar("T")
Service = Literal["search", "models", "clusters", "embedder", "trainer"]
_PACKAGE = {
    "search": "halftone.v1.SearchService",
    "models": "halftone.v1.ModelService",
    "clusters": "halftone.v1.ClusterService",
    "embedder": "halftone.v1.EmbedderService",
    "trainer": "halftone.v1.TrainerService",
}


@dataclass(frozen=True, kw_only=True)
class Call(Generic[T]):
    """A call, ready to be made.

    Attributes:
        parse: Function that converts a response of `response_class`.
        repeatable: Whether the call may be tried again although it may have been carried out.
    """

    service: Service
    method: str
    request: message.Message
    response_class: type[message.Message]
    parse: Callable[[message.Message], T]
    repeatable: bool = True

    @property
    def path(self) -> str:
        """Return the method's full name, in gRPC's form."""
        return f"/{_PACKAGE[self.service]}/{self.method}"


def make_call(
    service: Service,
    method: str,
    *,
    request: message.Message,
    response_class: type[message.Message],
    parse: Callable[..., T],
) -> Call[T]:
    """Return a repeatable call of a service's method; see `Call` for the arguments."""
    # `response_class` and the parameter of `parse` are kept in agreement by hand: if `Call` were
    # generic in its response as well, every signature in both clients would carry a message type.
    return Call(
        service=service,
        method=method,
        request=request,
        response_class=response_class,
        parse=parse,
    )


def get(name: str) -> Call[ImageRecord]:
    """Build the call that returns the record of an image (rpc GetImage)."""
    request = pb.GetImageRequest(name=name)
    return _search_call("GetImage", request, pb.Image, parse_record)


def list_images(
    *, where: Filter | None, page_size: int | None, page_token: str
) -> Call[tuple[tuple[ImageRecord, ...], str]]:
    """Build the call that returns a page of records and the next page's token (rpc ListImages).

    Args:
        where: Only records that match this filter; None: all.
        page_size: The most records on the page, 1 to 1000; None: 100.
        page_token: The page's token; empty for the first page.
    """
    request = pb.ListImagesRequest(
        filter=make_filter(where), page_size=page_size, page_token=page_token
    )

    def parse(response: pb.ListImagesResponse) -> tuple[tuple[ImageRecord, ...], str]:
        return tuple(map(parse_record, response.images)), response.next_page_token

    return _search_call("ListImages", request, pb.ListImagesResponse, parse)


def update(name: str, *, fields: Mapping[str, object]) -> Call[ImageRecord]:
    """Build the call that changes fields of a record and returns it (rpc UpdateImage).

    Raises:
        errors.InvalidArgument: A field cannot be updated, or has a wrong value.
    """
    unknown = sorted(set(fields) - set(WRITABLE_FIELDS))
    if unknown:
        raise errors.InvalidArgument(
            f"{', '.join(unknown)} cannot be updated; {', '.join(WRITABLE_FIELDS)} can.",
            field=unknown[0],
        )
    image = pb.Image(name=name)
    write_fields(image, fields)
    mask = field_mask_pb2.FieldMask(paths=sorted(fields))
    request = pb.UpdateImageRequest(image=image, update_mask=mask)
    return _search_call("UpdateImage", request, pb.Image, parse_record)


def delete(
    names: str | Sequence[str], *, where: Filter | None, everything: bool, dry_run: bool
) -> Call[int]:
    """Build the call that deletes images and returns their number (rpc DeleteImages).

    The service takes either names or a filter, not both.

    Args:
        names: The name of an image, or the names of several.
        where: Delete the images that match this filter.
        everything: Must be set if the filter matches everything. With it, and without a filter, all
            images are deleted.
        dry_run: Whether to count the images only.
    """
    request = pb.DeleteImagesRequest(
        names=[names] if isinstance(names, str) else list(names),
        filter=make_filter(where) or (pb.Filter() if everything else None),
        everything=everything,
        validate_only=dry_run,
    )

    def parse(response: pb.DeleteImagesResponse) -> int:
        return response.deleted_count

    return _search_call("DeleteImages", request, pb.DeleteImagesResponse, parse)


def search(wanted: Search) -> Call[SearchPage]:
    """Build the call that searches by one query (rpc SearchImages); reads the query's file.

    Raises:
        errors.InvalidArgument: The file cannot be read, or is too large to be sent.
    """
    return _search_call(
        "SearchImages", make_search_request(wanted), pb.SearchImagesResponse, parse_page
    )


def batch_search(
    searches: Sequence[Search],
) -> Call[tuple[SearchPage | errors.HalftoneError, ...]]:
    """Build the call that runs several searches (rpc BatchSearchImages); reads the queries' files.

    Raises:
        errors.InvalidArgument: A file cannot be read, or is too large to be sent.
    """
    request = pb.BatchSearchImagesRequest(requests=map(make_search_request, searches))

    def parse(
        response: pb.BatchSearchImagesResponse,
    ) -> tuple[SearchPage | errors.HalftoneError, ...]:
        return tuple(
            errors.from_status(result.error)
            if result.HasField("error")
            else parse_page(result.response)
            for result in response.results
        )

    return _search_call("BatchSearchImages", request, pb.BatchSearchImagesResponse, parse)


def compare(
    query: ImageRecord | str,
    image: ImageRecord | str,
    *,
    crop: Region | tuple[int, int, int, int] | None,
) -> Call[Compared]:
    """Build the call that compares two images of the archive (rpc CompareImages).

    Args:
        query: A record or its name.
        image: A record or its name.
        crop: The part of the query to compare; None: all of it.
    """
    request = pb.CompareImagesRequest(
        query=query.name if isinstance(query, ImageRecord) else query,
        image=image.name if isinstance(image, ImageRecord) else image,
        query_region=make_region(crop),
    )
    return _search_call("CompareImages", request, pb.CompareImagesResponse, parse_compared)


def facets(
    *,
    where: Filter | None,
    limit: int | None,
    labels: bool,
    ignore_own_values: bool,
    year_buckets: int | None,
) -> Call[Facets]:
    """Build the call that counts images by archive, journal, year and so on (rpc CountFacets).

    Args:
        where: Count only images that match this filter; None: all.
        limit: The most values of each, 1 to 1000; None: 100.
        labels: Whether to count labels, too.
        ignore_own_values: Count each facet under the filter without the facet's own values.
        year_buckets: The most bars of the histogram of years; None: no histogram.
    """
    request = pb.CountFacetsRequest(
        filter=make_filter(where),
        limit=limit,
        include_labels=labels,
        ignore_own_values=ignore_own_values,
        year_buckets=year_buckets,
    )

    def parse(response: pb.CountFacetsResponse) -> Facets:
        by_key: dict[str, dict[str, int]] = {}
        for label in response.labels:
            by_key.setdefault(label.key, {})[label.value] = label.count
        return Facets(
            total=response.total_count,
            journals={facet.value: facet.count for facet in response.journals},
            years={facet.value: facet.count for facet in response.years},
            languages={facet.value: facet.count for facet in response.languages},
            archives={facet.value: facet.count for facet in response.archives},
            labels=by_key,
            year_histogram=tuple(
                YearBucket(bar.first_year, bar.last_year, bar.count)
                for bar in response.year_histogram
            ),
            undated=response.undated_count,
        )

    return _search_call("CountFacets", request, pb.CountFacetsResponse, parse)


def embed(
    images: Sequence[bytes | str | Path | Image.Image],
    *,
    mirrored: bool,
    rotated: bool,
    model_version: str,
) -> Call[tuple[ImageEmbeddings | errors.HalftoneError, ...]]:
    """Build the call that embeds pictures (rpc EmbedImages); reads their files.

    Args:
        images: Encoded images, paths or Pillow images.
        mirrored: Whether to embed the mirrored pictures as well.
        rotated: Whether to embed the pictures turned by 90, 180 and 270 degrees as well.
        model_version: The model version, as `name/version`; empty: the active one.

    Raises:
        errors.InvalidArgument: A file cannot be read, or is too large to be sent.
    """
    request = pb_embedder.EmbedImagesRequest(
        images=[
            pb_embedder.ImageInput(
                content=read_image(image), include_mirrored=mirrored, include_rotated=rotated
            )
            for image in images
        ],
        model_version=model_version,
    )

    def parse(
        response: pb_embedder.EmbedImagesResponse,
    ) -> tuple[ImageEmbeddings | errors.HalftoneError, ...]:
        return tuple(
            errors.from_status(result.error)
            if result.HasField("error")
            else parse_embeddings(result.embeddings)
            for result in response.results
        )

    return make_call(
        "embedder",
        "EmbedImages",
        request=request,
        response_class=pb_embedder.EmbedImagesResponse,
        parse=parse,
    )


def models() -> Call[tuple[LoadedModel, ...]]:
    """Build the call that lists the model versions loaded by the embedder (rpc ListModels)."""

    def parse(response: pb_embedder.ListModelsResponse) -> tuple[LoadedModel, ...]:
        return tuple(
            LoadedModel(
                model_version=model.model_version,
                dimension=model.dimension,
                device=model.device,
                backend=model.backend,
                active=model.active,
            )
            for model in response.models
        )

    return make_call(
        "embedder",
        "ListModels",
        request=pb_embedder.ListModelsRequest(),
        response_class=pb_embedder.ListModelsResponse,
        parse=parse,
    )


IMPORT_PATH = f"/{_PACKAGE['search']}/ImportImages"


def make_import_request(record: NewImage | Row) -> pb.ImportImagesRequest:
    """Return the message of one record of an import; reads the record's file.

    Raises:
        errors.InvalidArgument: The row of the manifest was rejected; the record has both `content`
            and `server_path`, or neither; or its file cannot be read or is too large to be sent.
    """
    if isinstance(record, Row):
        if record.error is not None:
            raise record.error
        if record.image is None or record.path is None:
            raise errors.InvalidArgument("The row holds no record.", field="row")
        content = read_image(record.path if record.content is None else record.content())
        return pb.ImportImagesRequest(image=record.image, content=content, row=record.number)
    if (record.content is None) == (not record.server_path):
        raise errors.InvalidArgument(
            "A record needs exactly one of content and server_path.", field="source"
        )
    image = pb.Image(name=record.name)
    write_fields(image, {key: getattr(record, key) for key in WRITABLE_FIELDS})
    request = pb.ImportImagesRequest(image=image, row=record.row)
    if record.content is None:
        request.path = record.server_path
    else:
        request.content = read_image(record.content)
    return request


def make_refusal(record: NewImage | Row, error: errors.HalftoneError) -> ImportAck:
    """Return the acknowledgement, as REJECTED, of a record that could not be sent."""
    if isinstance(record, Row):
        name = record.image_id if record.image is None else record.image.name
        return ImportAck(row=record.number, name=name, state=ImportState.REJECTED, error=error)
    return ImportAck(row=record.row, name=record.name, state=ImportState.REJECTED, error=error)


def parse_ack(response: pb.ImportImagesResponse) -> ImportAck:
    """Convert a message to an acknowledgement."""
    state = ImportState[pb.ImportImagesResponse.State.Name(response.state)]
    error = errors.from_status(response.error) if response.HasField("error") else None
    return ImportAck(
        row=response.row,
        name=response.name,
        state=state,
        error=error,
        notes=tuple(response.notes),
    )


def make_search_request(wanted: Search) -> pb.SearchImagesRequest:
    """Convert a search to its message; reads the file of the query.

    Raises:
        errors.InvalidArgument: The file cannot be read, or is too large to be sent.
    """
    request = pb.SearchImagesRequest(
        filter=make_filter(wanted.filter),
        region=make_region(wanted.crop),
        limit=wanted.limit,
        page_token=wanted.page_token,
        min_similarity=wanted.min_similarity,
        min_probability=wanted.min_probability,
        verify_count=wanted.verify_count,
        skip_mirrored=not wanted.mirrored,
        skip_rotated=not wanted.rotated,
    )
    query = wanted.query
    if isinstance(query, Embedding):
        request.embedding.CopyFrom(
            pb_embedder.Embedding(
                values=query.values,
                dimension=query.dimension,
                model_version=query.model_version,
            )
        )
    elif isinstance(query, ImageRecord):
        request.image = query.name
    elif is_name(query):
        request.image = str(query)
    else:
        request.content = read_image(query)
    return request


def is_name(query: Query) -> bool:
    """Return whether a query is the name of an image in the archive rather than a file's path."""
    return isinstance(query, str) and query.startswith("archives/")


def _search_call(
    method: str,
    request: message.Message,
    response_class: type[message.Message],
    parse: Callable[..., T],
) -> Call[T]:
    return make_call("search", method, request=request, response_class=response_class, parse=parse)
