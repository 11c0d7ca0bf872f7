"""Converts between the client's types and protobuf messages; nothing here touches the network."""

from __future__ import annotations

import datetime as dt
import io
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from halftone.archive.showing import Show, read_show, to_message
from halftone.client.messages import parse_fields
from halftone.client.records import ImageRecord
from halftone.client.types import (
    Compared,
    Difference,
    Embedding,
    Filter,
    Hit,
    ImageEmbeddings,
    ImageKind,
    Overlap,
    OverlapPart,
    Relation,
    SearchPage,
    Verification,
    VerificationState,
)
from halftone.client.verdicts import parse_verdict
from halftone.core import errors
from halftone.core.wire import MAX_IMAGE_BYTES, describe_excess
from halftone.imaging.images import Region
from halftone.imaging.orientations import Orientation
from halftone.v1 import embedder_pb2 as pb_embedder
from halftone.v1 import search_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


WRITABLE_FIELDS = (
    "journal",
    "date",
    "page",
    "caption",
    "language",
    "page_region",
    "source_uri",
    "rights",
    "labels",
    "show",
    "page_image",
)
"""Fields of a record that can be imported and updated."""


def read_image(image: bytes | str | Path | Image.Image) -> bytes:
    """Return an image's bytes as they are sent; reads a file, encodes a Pillow image as PNG.

    Raises:
        errors.InvalidArgument: The file cannot be read.
        errors.ImageRejected: The image is larger than a message may carry.
    """
    if isinstance(image, bytes):
        content = image
    elif isinstance(image, Image.Image):
        content = _encode_png(image)
    else:
        try:
            size = Path(image).stat().st_size
            content = Path(image).read_bytes() if size <= MAX_IMAGE_BYTES else b""
        except OSError as error:
            raise errors.InvalidArgument(
                f"Cannot read {image}: {error.strerror or error}.", field="content"
            ) from error
        if size > MAX_IMAGE_BYTES:
            raise _refuse_size(size, name=str(image))
    if len(content) > MAX_IMAGE_BYTES:
        raise _refuse_size(len(content), name="The image")
    return content


def _refuse_size(size: int, *, name: str) -> errors.ImageRejected:
    return errors.ImageRejected(
        f"{name} {describe_excess(size, limit=MAX_IMAGE_BYTES)}.",
        field="content",
        reason="TOO_MANY_BYTES",
    )


def _encode_png(image: Image.Image) -> bytes:
    # PNG keeps every pixel; what PNG cannot hold (CMYK, floats …) becomes RGB first.
    picture = image if image.mode in {"1", "L", "LA", "P", "RGB", "RGBA", "I;16"} else None
    buffer = io.BytesIO()
    (picture or image.convert("RGB")).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def make_filter(where: Filter | None) -> pb.Filter | None:
    """Convert a filter to its message; None stays None."""
    if where is None:
        return None
    date = None
    if where.start or where.end:
        date = pb.DateRange(start=where.start, end=where.end)
    return pb.Filter(
        archives=where.archives,
        journals=where.journals,
        languages=where.languages,
        date=date,
        caption_text=where.caption,
        labels={key: pb.Labels(values=values) for key, values in where.labels.items()},
        exclude=make_filter(where.exclude),
        kind=ImageKind(where.kind).name if where.kind else None,
        page_images=where.page_images,
    )


def parse_record(image: pb.Image) -> ImageRecord:
    """Convert a message to a record."""
    return parse_fields(
        image,
        ImageRecord,
        page_region=parse_region(image.page_region) if image.HasField("page_region") else None,
        labels={key: tuple(labels.values) for key, labels in image.labels.items()},
        earliest_date=parse_day(image.earliest_date),
        latest_date=parse_day(image.latest_date),
        same_content=tuple(image.same_content),
        show=read_show(image) or Show.FULL,
    )


def write_fields(image: pb.Image, fields: Mapping[str, object]) -> None:
    """Write fields of a record into its message; `WRITABLE_FIELDS` has their names.

    Raises:
        errors.InvalidArgument: A field has a wrong value.
    """
    for key, value in fields.items():
        try:
            if key == "labels":
                for label, values in value.items():  # type: ignore[attr-defined]
                    image.labels[label].values.extend(values)
            elif key == "page_region":
                region = make_region(value)  # type: ignore[arg-type]
                if region is not None:
                    image.page_region.CopyFrom(region)
            elif key == "show":
                image.show = to_message(Show(str(value))) if value else pb.Image.SHOW_UNSPECIFIED
            else:
                setattr(image, key, value)
        except (AttributeError, TypeError, ValueError) as error:
            raise errors.InvalidArgument(f"{key} cannot be {value!r}.", field=key) from error


def make_region(region: Region | tuple[int, int, int, int] | None) -> pb_embedder.Region | None:
    """Convert a rectangle, (x, y, width, height), to its message; None stays None."""
    if region is None:
        return None
    x, y, width, height = region
    return pb_embedder.Region(x=x, y=y, width=width, height=height)


def parse_region(region: pb_embedder.Region) -> Region:
    """Convert a message to a rectangle."""
    return Region(region.x, region.y, region.width, region.height)


def parse_page(response: pb.SearchImagesResponse) -> SearchPage:
    """Convert a message to a page of hits."""
    return parse_fields(
        response,
        SearchPage,
        hits=tuple(map(parse_hit, response.hits)),
    )


def parse_hit(hit: pb.Hit) -> Hit:
    """Convert a message to a hit."""
    return parse_fields(
        hit,
        Hit,
        image=parse_record(hit.image),
        orientation=Orientation(hit.mirrored, hit.rotation),
        relation=parse_relation(hit.relation),
        verification=parse_verification(hit.verification),
        pdq_distance=hit.pdq_distance if hit.HasField("pdq_distance") else None,
        words_similarity=hit.words_similarity if hit.HasField("words_similarity") else None,
        verdict=parse_verdict(hit.verdict) if hit.HasField("verdict") else None,
        page=parse_record(hit.page) if hit.HasField("page") else None,
    )


def parse_compared(response: pb.CompareImagesResponse) -> Compared:
    """Convert a message to a comparison of two images."""
    return parse_fields(
        response,
        Compared,
        hit=parse_hit(response.hit),
    )


def parse_relation(value: int) -> Relation:
    """Convert a relation; one that this client does not know yet becomes UNKNOWN."""
    try:
        return Relation[pb.Hit.Relation.Name(value)]
    except (KeyError, ValueError):
        return Relation.UNKNOWN


def parse_verification(message: pb.Verification) -> Verification:
    """Convert a message to a verification; an unknown state becomes NOT_COMPARED."""
    try:
        state = VerificationState[pb.Verification.State.Name(message.state)]
    except (KeyError, ValueError):
        state = VerificationState.NOT_COMPARED
    return Verification(
        state=state,
        overlaps=tuple(
            parse_fields(
                overlap,
                Overlap,
                homography=tuple(overlap.homography),
                query_polygon=_parse_polygon(overlap.query_polygon),
                image_polygon=_parse_polygon(overlap.image_polygon),
                parts=tuple(_parse_part(part) for part in overlap.parts),
                differences=tuple(
                    parse_fields(each, Difference, part=_parse_part(each.part))
                    for each in overlap.differences
                ),
                agreeing_share=_parse_share(overlap, "agreeing_share"),
                contradicting_share=_parse_share(overlap, "contradicting_share"),
            )
            for overlap in message.overlaps
        ),
    )


def _parse_part(part: pb.OverlapPart) -> OverlapPart:
    return OverlapPart(
        query_polygon=_parse_polygon(part.query_polygon),
        image_polygon=_parse_polygon(part.image_polygon),
    )


def _parse_share(overlap: pb.Overlap, name: str) -> float | None:
    return getattr(overlap, name) if overlap.HasField(name) else None


def _parse_polygon(points: Iterable[pb.Point]) -> tuple[tuple[float, float], ...]:
    return tuple((point.x, point.y) for point in points)


def parse_embeddings(message: pb_embedder.ImageEmbeddings) -> ImageEmbeddings:
    """Convert a message to the embeddings of an image."""
    return parse_fields(
        message,
        ImageEmbeddings,
        embedding=_parse_embedding(message.embedding),
        oriented={
            Orientation(other.mirrored, other.rotation): _parse_embedding(other.embedding)
            for other in message.oriented_embeddings
        },
    )


def _parse_embedding(embedding: pb_embedder.Embedding) -> Embedding:
    return parse_fields(embedding, Embedding)


def parse_day(text: str) -> dt.date | None:
    """Convert a day as YYYY-MM-DD; returns None for an empty text."""
    return dt.date.fromisoformat(text) if text else None
