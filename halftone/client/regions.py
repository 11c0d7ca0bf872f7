"""The calls that return pixels: thumbnails and parts of pictures, with their types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypedDict

from halftone.client.calls import Call, make_call
from halftone.client.conversions import make_region, parse_region
from halftone.client.records import Thumbnail
from halftone.core import errors
from halftone.v1 import search_pb2 as pb

if TYPE_CHECKING:
    from halftone.imaging.images import Region

_REQUEST: Final = pb.GetImageRegionRequest
_QUALITIES: Final = {
    "default": _REQUEST.QUALITY_UNSPECIFIED,
    "color": _REQUEST.COLOR,
    "gray": _REQUEST.GRAY,
    "bitonal": _REQUEST.BITONAL,
}
_FORMATS: Final = {"jpg": _REQUEST.JPEG, "png": _REQUEST.PNG, "webp": _REQUEST.WEBP}


class RegionOptions(TypedDict, total=False):
    """The keyword arguments of `region`. Those that are left out change nothing.

    Attributes:
        region: The part, (x, y, width, height) in pixels of the upright picture.
        share: The part, (x, y, width, height) in shares of the picture's width and height, instead.
        width: Its width in the answer, in pixels before it is turned.
        height: Its height. If only one of the two is given, the other one follows.
        fit: Take the largest size within width and height that keeps the part's proportions.
        upscale: Allow a size that is larger than the part has pixels.
        mirrored: Mirror left to right.
        rotation: Then turn clockwise by 0, 90, 180 or 270 degrees.
        quality: `default`, `color`, `gray` or `bitonal`.
        format: `jpg` (by default), `png` or `webp`.
        compression_quality: How well JPEG and WebP keep details, 1 to 95; 85 by default.
    """

    region: Region | tuple[int, int, int, int] | None
    share: tuple[float, float, float, float] | None
    width: int | None
    height: int | None
    fit: bool
    upscale: bool
    mirrored: bool
    rotation: int
    quality: Literal["default", "color", "gray", "bitonal"]
    format: Literal["jpg", "png", "webp"]
    compression_quality: int | None


@dataclass(frozen=True, kw_only=True)
class ImageRegion:
    """A part of a picture.

    Attributes:
        content: The encoded picture.
        content_type: Its media type, for example `image/jpeg`.
        width: The width of the encoded picture in pixels.
        height: The height of the encoded picture in pixels.
        region: The part that was cut out, in pixels of the upright picture.
        image_width: The width of the whole upright picture in pixels.
        image_height: The height of the whole upright picture in pixels.
        rights: The record's rights, which have to be shown beside the picture.
    """

    content: bytes
    content_type: str
    width: int
    height: int
    region: Region
    image_width: int
    image_height: int
    rights: str


def region(name: str, options: RegionOptions) -> Call[ImageRegion]:
    """Build the call that returns a part of an image (rpc GetImageRegion).

    Raises:
        errors.InvalidArgument: The quality or the format is not known, or the part is given twice.
    """
    quality, encoding = options.get("quality", "default"), options.get("format", "jpg")
    if quality not in _QUALITIES or encoding not in _FORMATS:
        field = "quality" if encoding in _FORMATS else "format"
        known = _QUALITIES if field == "quality" else _FORMATS
        raise errors.InvalidArgument(f"{field}: it must be one of {', '.join(known)}.", field=field)
    area, share = options.get("region"), options.get("share")
    if area is not None and share is not None:
        raise errors.InvalidArgument("Give either region or share.", field="share")
    request = _REQUEST(
        name=name,
        region=make_region(area),
        width=options.get("width"),
        height=options.get("height"),
        fit=options.get("fit", False),
        upscale=options.get("upscale", False),
        mirrored=options.get("mirrored", False),
        rotation=options.get("rotation", 0),
        quality=_QUALITIES[quality],
        format=_FORMATS[encoding],
        compression_quality=options.get("compression_quality"),
    )
    if share is not None:
        x, y, width, height = share
        request.share.CopyFrom(pb.RegionShare(x=x, y=y, width=width, height=height))

    def parse(response: pb.GetImageRegionResponse) -> ImageRegion:
        return ImageRegion(
            content=response.content,
            content_type=response.content_type,
            width=response.width,
            height=response.height,
            region=parse_region(response.region),
            image_width=response.image_width,
            image_height=response.image_height,
            rights=response.rights,
        )

    return make_call(
        "search",
        "GetImageRegion",
        request=request,
        response_class=pb.GetImageRegionResponse,
        parse=parse,
    )


def thumbnail(name: str) -> Call[Thumbnail]:
    """Build the call that returns a small JPEG of an image (rpc GetThumbnail)."""

    def parse(response: pb.GetThumbnailResponse) -> Thumbnail:
        return Thumbnail(
            content=response.content, content_type=response.content_type, rights=response.rights
        )

    request = pb.GetThumbnailRequest(name=name)
    return make_call(
        "search",
        "GetThumbnail",
        request=request,
        response_class=pb.GetThumbnailResponse,
        parse=parse,
    )
