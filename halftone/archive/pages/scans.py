"""Opens page scans: their size, the pictures on them, and the parts that pictures are.

The only module here that decodes pictures. Pictures are found by layout with OpenCV, which comes
with the extra `matching`.
"""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image

from halftone.archive.pages.model import Block, Box, Kind
from halftone.archive.pages.placing import Scan
from halftone.core import errors, wire
from halftone.core.settings import read_max_pixels
from halftone.imaging import images
from halftone.imaging.formats import tiff_pages

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from halftone.imaging.images import Decoded, Region

_MAX_BYTES: Final = 1 << 30
_HELD: Final = 512 << 20  # bytes of decoded scans
_QUALITIES: Final = (95, 88, 75)
_COVERED: Final = 0.5  # of a picture that was found, by lines of text, if it is none
_DPI: Final = range(40, 5_000)
_FORMATS: Final = ("JPEG", "PNG", "TIFF", "JPEG2000", "WEBP", "BMP", "GIF")


def measure(path: Path, *, needs_dpi: bool) -> Scan:
    """Return the size of a scan, from its header.

    Args:
        path: The scan.
        needs_dpi: Whether its resolution is looked for, too.

    Raises:
        errors.ImageRejected: The header cannot be read.
        errors.InvalidArgument: The file cannot be read or is too large.
    """
    content = _read(path)
    return Scan(
        size=images.size(content),
        dpi=_read_dpi(content) if needs_dpi else None,
        pages=tiff_pages.count_pages(content),
    )


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise errors.InvalidArgument(
                f"{path} {wire.describe_excess(path.stat().st_size, limit=_MAX_BYTES)}.",
                field="file",
            )
        return path.read_bytes()
    except OSError as error:
        raise errors.InvalidArgument(
            f"{path} cannot be read: {error.strerror or error}.", field="file"
        ) from error


def _read_dpi(content: bytes) -> float | None:
    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as picture:
            value = picture.info.get("dpi")
    except Exception:  # noqa: BLE001 - Pillow's parsers raise anything; then it is not known
        return None
    try:
        dpi = float(value[0]) if value else 0.0
    except (TypeError, ValueError, IndexError, ZeroDivisionError):
        return None
    # 72 and 96 are what programs write that know nothing.
    return dpi if round(dpi) in _DPI and round(dpi) not in {72, 96} else None


class Scans:
    """Decoded scans, the last few of them kept. Its methods may be called from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[Path, Image.Image] = OrderedDict()

    def cut(self, path: Path, region: Region) -> bytes:
        """Return a part of a scan as a file.

        Parts of two tones become a PNG, which loses nothing and is small; others a JPEG of quality
        95, or less if it were larger than a picture may be.

        Args:
            path: The scan.
            region: The part in pixels of the upright scan.

        Raises:
            errors.ImageRejected: The scan is refused, or the part lies outside of it.
            errors.InvalidArgument: The file cannot be read.
        """
        # One at a time: a scan is large, and the next call is likely for the same one.
        with self._lock:
            part = self._decode_part(path, region)
        if part.mode == "L" and set(np.unique(np.asarray(part))) <= {0, 255}:
            return images.encode(part.convert("1"), "PNG", optimize=True)
        for quality in _QUALITIES:
            content = images.encode(part, "JPEG", quality=quality, subsampling=0)
            if len(content) <= wire.MAX_IMAGE_BYTES:
                break
        return content

    def _decode_part(self, path: Path, region: Region) -> Image.Image:
        image = self._kept.get(path)
        if image is None:
            content = _read(path)
            width, height = images.size(content)
            if 3 * width * height > _HELD:
                # Decoded again for each part, without a converted copy of the whole.
                return images.decode(content, max_pixels=read_max_pixels(), region=region)
            image = images.decode(content, max_pixels=read_max_pixels())
            self._kept[path] = image
            while sum(map(_count_bytes, self._kept.values())) > _HELD:
                self._kept.popitem(last=False)
        x, y, width, height = region
        if x < 0 or y < 0 or x + width > image.width or y + height > image.height:
            raise errors.ImageRejected(
                f"The part {x},{y},{width},{height} does not lie within {path}, which has "
                f"{image.width} x {image.height} pixels.",
                reason=images.REGION_OUTSIDE,
            )
        return image.crop((x, y, x + width, y + height))

    def shrink(self, path: Path, *, side: int) -> Decoded:
        """Return a scan with about `side` pixels or more, whatever is quickest, and its full size.

        Raises:
            errors.ImageRejected: The scan is refused; see `images.decode`.
            errors.InvalidArgument: The file cannot be read.
        """
        return images.decode_sized(_read(path), max_pixels=read_max_pixels(), target=side)

    def find_pictures(self, path: Path, *, texts: Sequence[Box] = ()) -> list[Block]:
        """Return the pictures on a page that nobody described, found by its layout.

        Args:
            path: The scan.
            texts: Boxes of lines of text in pixels of the scan; what is full of them is no picture.

        Raises:
            errors.ImageRejected: The scan is refused.
            errors.FailedPrecondition: OpenCV is not installed.
        """
        try:
            from halftone.imaging import layout  # noqa: PLC0415 - needs the extra `matching`
        except ImportError as error:
            raise errors.FailedPrecondition(
                "Finding pictures on pages by their layout needs OpenCV: "
                "pip install 'halftone-search[matching]', or --layout never."
            ) from error
        # Layout is analysed on a copy of this size in any case.
        image, full = images.decode_sized(
            _read(path), max_pixels=read_max_pixels(), target=layout.SIDE, luminance=True
        )
        across, down = full[0] / image.width, full[1] / image.height
        found = [
            _grow(Box(*map(float, region)).scale(across, down), size=full)
            for region in layout.pictures(image)
        ]
        found = [box for box in found if _cover(box, texts=texts) <= _COVERED]
        # From the top to the bottom, so that their numbers mean something.
        found.sort(key=lambda box: (box.y, box.x))
        return [Block(kind=Kind.PICTURE, box=box, profile="layout") for box in found]


def _grow(box: Box, *, size: tuple[int, int]) -> Box:
    """Return a box in whole pixels, within the scan."""
    left, top = int(box.x), int(box.y)
    right, bottom = min(size[0], round(box.right)), min(size[1], round(box.bottom))
    return Box(left, top, right - left, bottom - top)


def _count_bytes(image: Image.Image) -> int:
    return image.width * image.height * len(image.getbands())


def _cover(box: Box, *, texts: Sequence[Box]) -> float:
    """Return how much of a box lines of text cover."""
    return sum(box.intersect(text).area for text in texts) / max(box.area, 1.0)
