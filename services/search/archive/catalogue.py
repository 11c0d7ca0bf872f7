"""Reads, lists, changes and deletes records, and makes their thumbnails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pydantic import TypeAdapter

from halftone.archive import records, showing
from halftone.core import errors, telemetry
from halftone.core.batches import batched
from halftone.imaging import images
from halftone.service import paging
from halftone.services.search.archive import lookups
from halftone.services.search.archive import payload as payloads
from halftone.services.search.archive.answers import to_answers
from halftone.services.search.archive.listing import list_by_name
from halftone.services.search.store.port import EVERYTHING, AnyOf, Filter, Ids, Stored
from halftone.v1 import search_pb2

if TYPE_CHECKING:
    from collections.abc import Sequence

    from halftone.services.search.archive.parts import Parts

MAX_NAMES: Final = 10_000
"""The most names in one request for deletion."""

_IMAGES: Final = paging.Pager(TypeAdapter(tuple[str, str]), default_size=100)
"""Page positions: the last name of the page before. Names do not depend on the model version."""
_DELETE_CHUNK: Final = 500

_log = telemetry.get_logger(__name__)


class Catalogue:
    """The records of the archive: reads, lists, changes and deletes them."""

    def __init__(self, parts: Parts) -> None:
        self._holdings = parts.holdings
        self._settings = parts.settings
        self._runner = parts.runner
        self._decode_seconds = parts.metrics.histogram(
            "decode_seconds", "Time to decode an image and make its thumbnail"
        )

    # Reading.

    async def get(self, name: str) -> search_pb2.Image:
        """Return a record.

        Raises:
            errors.NotFound: No record has that name.
        """
        return await self._holdings.threads.read("retrieve", self._get, records.parse_name(name))

    def _get(self, name: records.Name) -> search_pb2.Image:
        stored = lookups.get_record(self._holdings.collection, name)
        return to_answers(self._holdings.collection, [stored]).images[stored.id]

    async def list_images(
        self, request: search_pb2.ListImagesRequest
    ) -> search_pb2.ListImagesResponse:
        """Return a page of records, ordered by name."""
        return await self._holdings.threads.read_list("list", self._list, request)

    def _list(self, request: search_pb2.ListImagesRequest) -> search_pb2.ListImagesResponse:
        collection = self._holdings.collection
        page = _IMAGES.read(request)
        condition = payloads.to_filter(request.filter)
        after = None if page.position is None else _to_name(page.position)
        records = list_by_name(collection, condition=condition, after=after, limit=page.size + 1)
        shown = page.cut(records)
        answers = to_answers(collection, shown)
        return search_pb2.ListImagesResponse(
            images=[answers.images[stored.id] for stored in shown],
            next_page_token=page.next_token(
                records, position=lambda stored: payloads.name_of(stored.payload)
            ),
        )

    async def thumbnail(self, name: str) -> search_pb2.GetThumbnailResponse:
        """Return a JPEG thumbnail of at most 512 pixels a side, creating it if needed.

        Raises:
            errors.NotFound: No record has that name, or its picture is missing.
            errors.PermissionDenied: The record does not let its picture be shown.
        """
        parsed = records.parse_name(name)
        return await self._holdings.threads.thumbnail(self._thumbnail, parsed)

    def _thumbnail(self, name: records.Name) -> search_pb2.GetThumbnailResponse:
        payload = lookups.get_shown(self._holdings.collection, name)
        showing.check_shown(
            payloads.show_of(payload), wanted=showing.Show.THUMBNAIL, name=str(name)
        )
        return search_pb2.GetThumbnailResponse(
            content=self._find_thumbnail(payload["sha256"]),
            content_type="image/jpeg",
            rights=payload.get("rights", ""),
        )

    def _find_thumbnail(self, sha256: str) -> bytes:
        blobs = self._holdings.blobs
        try:
            return blobs.get_thumbnail(sha256)
        except errors.NotFound:
            content = blobs.get(sha256)
        limit = self._settings.max_pixels
        with self._decode_seconds.time():
            made = self._runner.run(images.make_thumbnail, content, max_pixels=limit)
        try:
            blobs.put_thumbnail(made, sha256=sha256)
            if not blobs.has(sha256):
                # The picture was deleted meanwhile, so its thumbnail must be deleted, too.
                blobs.delete_made(sha256)
        except errors.HalftoneError as error:
            _log.warning("thumbnail_not_kept", error=error.message)
        return made

    # Changing.

    async def update(self, request: search_pb2.UpdateImageRequest) -> search_pb2.Image:
        """Change the fields of a record that the request's mask names, and return the record.

        Raises:
            errors.NotFound: No record has that name.
            errors.InvalidArgument: The mask or a value is not valid.
        """
        return await self._holdings.threads.write("overwrite_payloads", self._update, request)

    def _update(self, request: search_pb2.UpdateImageRequest) -> search_pb2.Image:
        name = records.parse_name(request.image.name, field="image.name")
        paths = _mask(list(request.update_mask.paths))
        stored = lookups.get_record(self._holdings.collection, name)
        image = payloads.to_image(stored.payload)
        for path in paths:
            image.ClearField(path)
            if path in {"page_region", "labels"}:
                image.MergeFrom(_only(request.image, path=path))
            else:
                setattr(image, path, getattr(request.image, path))
        if "show" in paths and not image.show:
            image.show = search_pb2.Image.FULL
        records.validate(image)
        payload = payloads.replace_fields(stored.payload, payloads.to_payload(image, name=name))
        self._holdings.writer.overwrite_payloads({stored.id: payload})
        changed = Stored(id=stored.id, payload=payload)
        return to_answers(self._holdings.collection, [changed]).images[stored.id]

    async def delete(self, request: search_pb2.DeleteImagesRequest) -> int:
        """Delete records by name or filter, and the bytes that no other record has.

        Returns:
            The number of deleted records. If the request has `validate_only`, nothing is deleted,
            and this is the number of records that would be. Names that do not exist are ignored.

        Raises:
            errors.InvalidArgument: The request has more than `MAX_NAMES` names, or names together
                with a filter or `everything`. Or it has no names, `everything` is not set, and the
                filter is missing or matches everything.
        """
        condition = await self._holdings.threads.read("plan", self._to_delete, request)
        if request.validate_only:
            return await self._holdings.threads.read(
                "count", self._holdings.collection.count, condition
            )
        deleted = 0
        while True:
            # Delete in pieces, so that imports get their turns in the thread for writes.
            count = await self._holdings.threads.write("delete", self._delete_some, condition)
            deleted += count
            if count < _DELETE_CHUNK:
                return deleted

    def _to_delete(self, request: search_pb2.DeleteImagesRequest) -> Filter:
        if bool(request.names) == request.HasField("filter") and not (
            request.everything and not request.names
        ):
            raise errors.InvalidArgument(
                "Exactly one of names and filter must be given.", field="names"
            )
        if request.names:
            if request.everything:
                raise errors.InvalidArgument(
                    "everything: cannot be combined with names.", field="everything"
                )
            if len(request.names) > MAX_NAMES:
                raise errors.InvalidArgument(
                    f"names: at most {MAX_NAMES} at a time.", field="names"
                )
            names = [
                records.parse_name(name, field=f"names[{at}]")
                for at, name in enumerate(request.names)
            ]
            return Filter(must=(Ids(tuple({name.point_id for name in names})),))
        condition = payloads.to_filter(request.filter)
        if condition == EVERYTHING and not request.everything:
            raise errors.InvalidArgument(
                "filter: it matches everything; set `everything` to delete the whole archive.",
                field="filter",
                reason="MATCHES_EVERYTHING",
            )
        return condition

    def _delete_some(self, condition: Filter) -> int:
        scan = self._holdings.collection.scan(filter=condition, page=_DELETE_CHUNK)
        found = [stored for stored, _ in zip(scan, range(_DELETE_CHUNK), strict=False)]
        if found:
            self._hand_down(found)
            self._holdings.writer.delete(found)
        return len(found)

    def _hand_down(self, pages: Sequence[Stored]) -> None:
        """Write into pictures what the pages say for them that are about to be deleted.

        The pictures stay, and without their page more would be shown of them.
        """
        collection = self._holdings.collection
        going = {page.id for page in pages}
        names = tuple(str(payloads.name_of(page.payload)) for page in pages)
        scan = collection.scan(filter=Filter(must=(AnyOf("page_image", names),)))
        for some in batched((each for each in scan if each.id not in going), _DELETE_CHUNK):
            above = lookups.find_pages(collection, some)
            changed = {
                each.id: payload
                for each in some
                if each.id in above
                and (payload := payloads.inherit(each.payload, page=above[each.id].payload))
                != each.payload
            }
            if changed:
                self._holdings.writer.overwrite_payloads(changed)


def _to_name(position: tuple[str, str]) -> records.Name:
    archive, image_id = position
    return records.make_name(archive, image_id=image_id, field="page_token")


def _mask(paths: list[str]) -> tuple[str, ...]:
    if not paths:
        raise errors.InvalidArgument(
            "update_mask: name the fields to write, or `*`.", field="update_mask"
        )
    if paths == ["*"]:
        return payloads.WRITABLE
    for path in paths:
        if path not in payloads.WRITABLE:
            raise errors.InvalidArgument(
                f"update_mask: {path!r} cannot be written; these can: "
                f"{', '.join(payloads.WRITABLE)}.",
                field="update_mask",
            )
    return tuple(paths)


def _only(image: search_pb2.Image, *, path: str) -> search_pb2.Image:
    """Return a copy of a record with only one of its fields."""
    copy = search_pb2.Image()
    if path == "labels":
        for key, labels in image.labels.items():
            copy.labels[key].CopyFrom(labels)
    elif image.HasField("page_region"):
        copy.page_region.CopyFrom(image.page_region)
    return copy
