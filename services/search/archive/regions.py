"""Cuts parts out of the pictures of the archive, from the bytes as they were imported.

Looking closely at a picture asks for dozens of its parts within a second, and most formats can only
be decoded as a whole. So the pictures that were decoded last are kept, within a bound of memory,
and calls that need the same one wait for a single decoder.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final, NamedTuple

from cachetools import LRUCache

from halftone.archive import records, showing
from halftone.core import errors, wire
from halftone.imaging import headers, images, regions
from halftone.services.search.archive import lookups
from halftone.services.search.archive import payload as payloads
from halftone.v1 import search_pb2

if TYPE_CHECKING:
    from PIL import Image

    from halftone.services.search.archive.parts import Parts
    from halftone.services.search.store.port import Payload

ORIGINAL_MISSING: Final = "ORIGINAL_MISSING"

_REQUEST: Final = search_pb2.GetImageRegionRequest
_FORMATS: Final = {
    _REQUEST.FORMAT_UNSPECIFIED: "JPEG",
    _REQUEST.JPEG: "JPEG",
    _REQUEST.PNG: "PNG",
    _REQUEST.WEBP: "WebP",
}
_QUALITIES: Final = {
    _REQUEST.QUALITY_UNSPECIFIED: "default",
    _REQUEST.COLOR: "color",
    _REQUEST.GRAY: "gray",
    _REQUEST.BITONAL: "bitonal",
}
_DEFAULT_COMPRESSION: Final = 85


class _Wanted(NamedTuple):
    """The key of a decoded picture: its bytes and the divisor by which it is reduced."""

    sha256: str
    step: int


class _Decoded(NamedTuple):
    """A decoded picture, and whether its format can be decoded at a reduced size."""

    image: Image.Image
    reducible: bool


class Regions:
    """The parts of the archive's pictures. Decodes pictures in threads of its own."""

    def __init__(self, parts: Parts) -> None:
        self._holdings = parts.holdings
        self._settings = parts.settings
        self._runner = parts.runner
        self._lock = threading.Lock()
        self._decoded: LRUCache[_Wanted, _Decoded] = LRUCache(
            parts.settings.regions_memory_bytes, getsizeof=_size
        )
        self._under_way: dict[_Wanted, threading.Lock] = {}
        self._sources = parts.metrics.counter(
            "regions_total",
            "Parts of pictures that were asked for, by where the pixels came from: memory, picture",
            labels=("source",),
        )

    async def get(
        self, request: search_pb2.GetImageRegionRequest
    ) -> search_pb2.GetImageRegionResponse:
        """Return a part of a picture.

        Raises:
            errors.NotFound: No record has that name; or its picture is not kept any more
                (`ORIGINAL_MISSING`).
            errors.PermissionDenied: The record does not let its picture be shown in full.
            errors.InvalidArgument: The part lies outside of the picture, its size is not allowed,
                or the answer would be too large for a message.
        """
        name = records.parse_name(request.name)
        return await self._holdings.threads.cut(self._get, name, request)

    def _get(
        self, name: records.Name, request: search_pb2.GetImageRegionRequest
    ) -> search_pb2.GetImageRegionResponse:
        payload = lookups.get_shown(self._holdings.collection, name)
        showing.check_shown(payloads.show_of(payload), wanted=showing.Show.FULL, name=str(name))
        full = (payload["width"], payload["height"])
        cut = regions.plan(
            full,
            max_pixels=self._settings.max_region_pixels,
            region=_area(request, full=full),
            width=request.width if request.HasField("width") else None,
            height=request.height if request.HasField("height") else None,
            fit=request.fit,
            upscale=request.upscale,
        )
        rights = payload.get("rights", "")
        encoding = _read_format(request)
        content, size = regions.render(
            self._decode(name, payload, step=cut.step),
            cut,
            full=full,
            mirrored=request.mirrored,
            rotation=request.rotation,
            quality=_QUALITIES.get(request.quality, ""),
            format=encoding,
            compression_quality=request.compression_quality
            if request.HasField("compression_quality")
            else _DEFAULT_COMPRESSION,
            rights=rights,
        )
        if len(content) > wire.MAX_IMAGE_BYTES:
            raise errors.InvalidArgument(
                f"The answer {wire.describe_excess(len(content), limit=wire.MAX_IMAGE_BYTES)}; ask "
                "for a smaller size, or for JPEG.",
                field="format",
                reason=images.TOO_MANY_BYTES,
            )
        response = search_pb2.GetImageRegionResponse(
            content=content,
            content_type=regions.FORMATS[encoding],
            width=size[0],
            height=size[1],
            image_width=full[0],
            image_height=full[1],
            rights=rights,
        )
        response.region.x, response.region.y = cut.region.x, cut.region.y
        response.region.width, response.region.height = cut.region.width, cut.region.height
        return response

    def _decode(self, name: records.Name, payload: Payload, *, step: int) -> Image.Image:
        """Return the upright picture of a record, in its full size or reduced by `step`."""
        wanted = _Wanted(payload["sha256"], step)
        with self._lock:
            turn = self._under_way.setdefault(wanted, threading.Lock())
        try:
            with turn:
                found = self._find(wanted)
                self._sources.labels("picture" if found is None else "memory").inc()
                if found is None:
                    found = self._decode_anew(name, payload, step=step)
                    self._keep(wanted, found)
                return found.image
        finally:
            with self._lock:
                # Whoever waits for the lock still has it; who comes later finds the picture.
                self._under_way.pop(wanted, None)

    def _find(self, wanted: _Wanted) -> _Decoded | None:
        with self._lock:
            found = self._decoded.get(wanted)
            if found is None:
                whole = self._decoded.get(wanted._replace(step=1))
                found = None if whole is None or whole.reducible else whole
            return found

    def _keep(self, wanted: _Wanted, decoded: _Decoded) -> None:
        with self._lock:
            if _size(decoded) <= self._decoded.maxsize:
                self._decoded[wanted if decoded.reducible else wanted._replace(step=1)] = decoded

    def _decode_anew(self, name: records.Name, payload: Payload, *, step: int) -> _Decoded:
        try:
            content = self._holdings.blobs.get(payload["sha256"])
        except errors.NotFound as error:
            raise errors.NotFound(
                f"The picture of {name} is not kept here any more, only its record; import it "
                "again to look at it.",
                resource_type="original",
                resource_name=str(name),
                reason=ORIGINAL_MISSING,
            ) from error
        limit = self._settings.max_pixels
        # The smaller side that a picture reduced by `step` has: `decode` reduces as long as it
        # stays at or above the target.
        target = min(payload["width"], payload["height"]) // step
        image = self._runner.run(images.decode, content, max_pixels=limit, target=target)
        return _Decoded(image, reducible=headers.kind_of(content) == "JPEG")


def _area(
    request: search_pb2.GetImageRegionRequest, *, full: tuple[int, int]
) -> tuple[float, float, float, float] | None:
    if request.HasField("region"):
        region = request.region
        return region.x, region.y, region.width, region.height
    if request.HasField("share"):
        share, (width, height) = request.share, full
        return share.x * width, share.y * height, share.width * width, share.height * height
    return None


def _read_format(request: search_pb2.GetImageRegionRequest) -> str:
    if request.format not in _FORMATS or request.quality not in _QUALITIES:
        field = "quality" if request.format in _FORMATS else "format"
        raise errors.InvalidArgument(f"{field}: this one is not known.", field=field)
    return _FORMATS[request.format]


def _size(decoded: _Decoded) -> int:
    image = decoded.image
    return image.width * image.height * len(image.getbands())
