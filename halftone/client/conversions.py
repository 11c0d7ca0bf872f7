"""Between the client's types and protobuf messages; nothing here touches the network."""

from __future__ import annotations

import datetime as dt
import io
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from halftone.client.types import (
    Compared,
    Embedding,
    Filter,
    Hit,
    ImageEmbeddings,
    ImageRecord,
    Overlap,
    Relation,
    SearchPage,
    Verification,
    VerificationState,
)
from halftone.client.verdicts import verdict_from
from halftone.core import errors
from halftone.core.wire import MAX_IMAGE_BYTES
from halftone.imaging.images import Region
from halftone.imaging.orientations import Orientation
from halftone.v1 import embedder_pb2 as pb_embedder
from halftone.v1 import search_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf import timestamp_pb2

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
)
"""Fields of a record that can be imported and updated."""


def image_bytes(image: bytes | str | Path | Image.Image) -> bytes:
    """An image as it is sent.

    Raises:
        errors.InvalidArgument: The file cannot be read.
        errors.ImageRejected: It is larger than a message may carry.
    """
    if isinstance(image, bytes):
        content = image
    elif isinstance(image, Image.Image):
        content = _encoded(image)
    else:
        try:
            size = Path(image).stat().st_size
            content = Path(image).read_bytes() if size <= MAX_IMAGE_BYTES else b""
        except OSError as error:
            raise errors.InvalidArgument(
                f"Cannot read {image}: {error.strerror or error}.", field="content"
            ) from error
        if size > MAX_IMAGE_BYTES:
            raise _too_large(size, name=str(image))
    if len(content) > MAX_IMAGE_BYTES:
        raise _too_large(len(content), name="The image")
    return content


def _too_large(size: int, *, name: str) -> errors.ImageRejected:
    return errors.ImageRejected(
        f"{name} has {size / 2**20:.1f} MiB; at most {MAX_IMAGE_BYTES // 2**20} MiB can be sent.",
        field="content",
        reason="TOO_MANY_BYTES",
    )


def _encoded(image: Image.Image) -> bytes:
    # PNG keeps every pixel; what PNG cannot hold (CMYK, floats …) becomes RGB first.
    picture = image if image.mode in {"1", "L", "LA", "P", "RGB", "RGBA", "I;16"} else None
    buffer = io.BytesIO()
    (picture or image.convert("RGB")).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def filter_to(where: Filter | None) -> pb.Filter | None:
    """The message of a filter."""
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
        exclude=filter_to(where.exclude),
    )


def record_from(image: pb.Image) -> ImageRecord:
    """The record in a message."""
    return ImageRecord(
        name=image.name,
        journal=image.journal,
        date=image.date,
        page=image.page,
        caption=image.caption,
        language=image.language,
        page_region=_region_from(image.page_region) if image.HasField("page_region") else None,
        source_uri=image.source_uri,
        rights=image.rights,
        labels={key: tuple(labels.values) for key, labels in image.labels.items()},
        earliest_date=_day(image.earliest_date),
        latest_date=_day(image.latest_date),
        content_sha256=image.content_sha256,
        width=image.width,
        height=image.height,
        same_content=tuple(image.same_content),
        create_time=_time(image.create_time) if image.HasField("create_time") else None,
        update_time=_time(image.update_time) if image.HasField("update_time") else None,
    )


def write_fields(image: pb.Image, fields: Mapping[str, object]) -> None:
    """Writes fields of a record, named as in `WRITABLE_FIELDS`, into its message."""
    for key, value in fields.items():
        try:
            if key == "labels":
                for label, values in value.items():  # type: ignore[attr-defined]
                    image.labels[label].values.extend(values)
            elif key == "page_region":
                region = region_to(value)  # type: ignore[arg-type]
                if region is not None:
                    image.page_region.CopyFrom(region)
            else:
                setattr(image, key, value)
        except (AttributeError, TypeError, ValueError) as error:
            raise errors.InvalidArgument(f"{key} cannot be {value!r}.", field=key) from error


def region_to(region: Region | tuple[int, int, int, int] | None) -> pb_embedder.Region | None:
    """The message of a rectangle."""
    if region is None:
        return None
    x, y, width, height = region
    return pb_embedder.Region(x=x, y=y, width=width, height=height)


def _region_from(region: pb_embedder.Region) -> Region:
    return Region(region.x, region.y, region.width, region.height)


def page_from(response: pb.SearchImagesResponse) -> SearchPage:
    """The hits in a message."""
    return SearchPage(
        hits=tuple(map(hit_from, response.hits)),
        next_page_token=response.next_page_token,
        model_version=response.model_version,
        verified_count=response.verified_count,
        out_of_time_count=response.out_of_time_count,
        verdicts_unavailable=response.verdicts_unavailable,
    )


def hit_from(hit: pb.Hit) -> Hit:
    """The hit in a message."""
    return Hit(
        image=record_from(hit.image),
        similarity=hit.similarity,
        orientation=Orientation(hit.mirrored, hit.rotation),
        probability=hit.probability,
        relation=relation_from(hit.relation),
        verification=verification_from(hit.verification),
        pdq_distance=hit.pdq_distance if hit.HasField("pdq_distance") else None,
        words_similarity=hit.words_similarity if hit.HasField("words_similarity") else None,
        verdict=verdict_from(hit.verdict) if hit.HasField("verdict") else None,
    )


def compared_from(response: pb.CompareImagesResponse) -> Compared:
    """The comparison in a message."""
    return Compared(
        hit=hit_from(response.hit),
        model_version=response.model_version,
        verdicts_unavailable=response.verdicts_unavailable,
    )


def relation_from(value: int) -> Relation:
    """How two pictures are related; one that this client does not know yet is UNKNOWN."""
    try:
        return Relation[pb.Hit.Relation.Name(value)]
    except (KeyError, ValueError):
        return Relation.UNKNOWN


def verification_from(message: pb.Verification) -> Verification:
    """The comparison in a message."""
    try:
        state = VerificationState[pb.Verification.State.Name(message.state)]
    except (KeyError, ValueError):
        state = VerificationState.NOT_COMPARED
    return Verification(
        state=state,
        overlaps=tuple(
            Overlap(
                inlier_count=overlap.inlier_count,
                homography=tuple(overlap.homography),
                query_polygon=tuple((point.x, point.y) for point in overlap.query_polygon),
                image_polygon=tuple((point.x, point.y) for point in overlap.image_polygon),
                query_share=overlap.query_share,
                image_share=overlap.image_share,
                mirrored=overlap.mirrored,
                rotation=overlap.rotation,
                scale=overlap.scale,
            )
            for overlap in message.overlaps
        ),
    )


def embeddings_from(found: pb_embedder.ImageEmbeddings) -> ImageEmbeddings:
    """The embeddings in a message."""
    return ImageEmbeddings(
        embedding=_embedding_from(found.embedding),
        oriented={
            Orientation(other.mirrored, other.rotation): _embedding_from(other.embedding)
            for other in found.oriented_embeddings
        },
        width=found.width,
        height=found.height,
    )


def _embedding_from(embedding: pb_embedder.Embedding) -> Embedding:
    return Embedding(
        values=embedding.values,
        dimension=embedding.dimension,
        model_version=embedding.model_version,
    )


def _day(text: str) -> dt.date | None:
    return dt.date.fromisoformat(text) if text else None


def _time(value: timestamp_pb2.Timestamp) -> dt.datetime:
    return value.ToDatetime(tzinfo=dt.UTC)
