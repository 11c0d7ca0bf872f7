"""A picture whose header was read: its size, what decoding it will take, and its pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from PIL import ExifTags, Image

from halftone.core import errors
from halftone.imaging import caps, conversion, headers, needs, opening, reasons, samples
from halftone.imaging.formats import heif, jpeg2000, jpeg_ends, tiff_pages

if TYPE_CHECKING:
    from PIL import ImageFile

    from halftone.imaging.formats.tiff_parts import PartsFile
    from halftone.imaging.strips import Region

_STRIP_BYTES: Final = 16 << 20
"""What converting strips of a million pixels takes."""
_WEBP_BYTES: Final = 8
"""Bytes a pixel that the decoder of WebP takes besides those of Pillow."""
_MENDING_COPIES: Final = 4
"""Copies of a JPEG's bytes that there are while its end is mended."""


class Source:
    """A file of which the header was read.

    Attributes:
        kind: The format.
        full_size: The width and height of the upright picture in pixels.
    """

    def __init__(self, content: bytes, *, max_pixels: int | None) -> None:
        """Read the header.

        Raises:
            errors.ImageRejected: The file is no picture, is damaged, or has too many pixels.
        """
        self.kind = opening.find_kind(content)
        if self.kind == "TIFF":
            content = tiff_pages.choose(content)
        self._content, self._max_pixels = content, max_pixels
        self._extra = caps.check(self.kind, content)
        self._parts = self._open_parts() if self.kind == "TIFF" else None
        self._picture = self._open() if self._parts is None else None
        self._orientation = self._find_orientation()
        self._draft = ("", (0, 0))
        self._full_mode = "" if self._picture is None else self._picture.mode
        self._widened_bytes = 0
        self.full_size = turn(self._size, self._orientation)

    @property
    def _size(self) -> tuple[int, int]:
        if self._parts is not None:
            return self._parts.size
        assert self._picture is not None  # noqa: S101 - one of them is there
        size: tuple[int, int] = self._picture.size
        return size

    def _open(self) -> ImageFile.ImageFile:
        return opening.open_picture(self._content, kind=self.kind, max_pixels=self._max_pixels)

    def _open_parts(self) -> PartsFile | None:
        return opening.open_parts(
            self._content,
            compression=tiff_pages.find_compression(self._content),
            max_pixels=self._max_pixels,
        )

    def refuse_animation(self) -> None:
        """Refuse a film.

        Raises:
            errors.ImageRejected: It is one (`ANIMATED`).
        """
        # The pages of a TIFF and the views of an MPO are frames to Pillow, too.
        moving = self.kind in ("PNG", "WebP", "GIF") and getattr(
            self._picture, "is_animated", False
        )
        if moving or (self.kind in ("AVIF", "HEIC") and heif.is_sequence(self._content)):
            raise errors.ImageRejected("The picture is animated.", reason=reasons.ANIMATED)

    def reduce(self, wanted: int, *, luminance: bool) -> int:
        """Ask the decoder for a smaller picture.

        Args:
            wanted: By what the sides may be divided at most.
            luminance: Whether colours are not needed.

        Returns:
            By what they will be divided.
        """
        picture = self._picture
        if self.kind == "JPEG" and picture is not None:
            scale = max(step for step in (1, 2, 4, 8) if step <= max(1, wanted))
            width, height = picture.size
            self._draft = (
                "L" if luminance else "",
                (max(1, width // scale), max(1, height // scale)),
            )
            return scale if self._apply_draft(picture) else 1
        if self.kind == jpeg2000.KIND and (header := jpeg2000.read(self._content)):
            reduction = header.find_reduction(wanted)
            assert picture is not None  # noqa: S101 - only a TIFF has parts
            _halve(picture, reduction)
            self._extra = header.measure(reduction)
            return 1 << reduction
        return 1

    def _apply_draft(self, picture: ImageFile.ImageFile) -> bool:
        mode, size = self._draft
        return picture.draft(mode or None, size) is not None

    def measure(self, *, luminance: bool) -> needs.Need:
        """Return what decoding and converting the picture takes.

        Raises:
            errors.ImageRejected: It is more than a picture may take (`TOO_EXPENSIVE`).
        """
        picture = self._parts or self._picture
        assert picture is not None  # noqa: S101 - one of them is there
        extra = self._extra + len(self._content)
        if self._parts is not None:
            extra += self._parts.extra
        width, height = picture.size
        # Pillow turns a TIFF itself.
        tags = getattr(picture, "tag_v2", {})
        turned = self._orientation > 1 or tags.get(ExifTags.Base.Orientation, 1) != 1
        each = needs.count_bytes(picture.mode, luminance=luminance, turned=turned)
        if self.kind == "WebP":
            each += _WEBP_BYTES
        full = self.full_size[0] * self.full_size[1]
        memory = max(each * width * height + extra, self._measure_mending(full))
        if self._max_pixels is not None:
            opening.check_memory(memory, limit=self._max_pixels)
        if self._picture is not None and samples.is_wide(self._picture):
            self._widened_bytes = memory + 4 * (1 + turned) * full + _STRIP_BYTES
            # Larger ones are read if their samples fill the bits.
            if self._may_widen():
                memory = self._widened_bytes
        return needs.Need(full, memory + _STRIP_BYTES)

    def _measure_mending(self, full: int) -> int:
        """Return the bytes that looking for missing pixels takes; 0 if nobody will."""
        if self.kind != "JPEG" or not jpeg_ends.lacks_end(self._content):
            return 0
        each = 1 if self._full_mode == "L" else 4
        return each * full + self._extra + _MENDING_COPIES * len(self._content)

    def _may_widen(self) -> bool:
        most = None if self._max_pixels is None else needs.find_most_bytes(self._max_pixels)
        return most is None or self._widened_bytes <= most

    def _reopen(self) -> ImageFile.ImageFile:
        """Open the file once more, for the low bytes of its samples.

        Raises:
            errors.ImageRejected: There is no memory for them (`TOO_EXPENSIVE`).
        """
        if not self._may_widen():
            raise needs.too_much_memory()
        picture = self._open()
        self._prepare(picture)
        return picture

    def _prepare(self, picture: ImageFile.ImageFile) -> None:
        if self.kind == "TIFF":
            # Otherwise Pillow makes it, and applies its limit of pixels for the whole process.
            size = picture._tile_size  # type: ignore[attr-defined]  # noqa: SLF001 - before it is turned
            picture.im = Image.core.new(picture.mode, size)  # type: ignore[attr-defined]  # Pillow's way

    def decode(self, *, part: Region | None, luminance: bool) -> Image.Image:
        """Return the picture in mode "L" or "RGB", upright, cut to a region.

        Raises:
            errors.ImageRejected: It is damaged, or takes too much memory.
        """
        try:
            if self._parts is not None:
                loaded, inverted, depth = self._parts.load(), False, 0
            else:
                loaded, inverted, depth = self._load()
        except errors.HalftoneError:
            raise
        except MemoryError:
            raise needs.too_much_memory() from None
        except Exception as error:  # Pillow's decoders raise anything on damaged files
            raise self._explain(error) from error
        try:
            return conversion.convert(
                loaded,
                self._orientation,
                inverted=inverted,
                part=part,
                luminance=luminance,
                depth=depth,
            )
        except MemoryError:
            raise needs.too_much_memory() from None

    def _explain(self, error: Exception) -> errors.ImageRejected:
        return opening.explain(
            error,
            kind=self.kind,
            content=self._content,
            picture=self._picture,
            parts=None if self._parts is None else self._parts.list_parts(),
        )

    def _load(self) -> tuple[Image.Image, bool, int]:
        """Return the decoded picture, whether white is zero in it, and how many bits it has."""
        picture, self._picture = self._picture, None
        assert picture is not None  # noqa: S101 - it is decoded once
        wide = samples.is_wide(picture)
        inverted, depth = conversion.is_white_zero(picture), samples.read_depth(picture)
        self._prepare(picture)
        whole = True
        try:
            picture.load()
        except OSError:
            whole = self.kind != "JPEG" or not jpeg_ends.lacks_end(self._content)
            if whole:
                self._picture = picture
                raise
        if not whole:
            # The error, which kept the picture, is gone; the picture goes before the next ones.
            del picture
            picture = self._mend()
        loaded = samples.widen(picture, reopen=self._reopen) if wide else picture
        return loaded, inverted, depth

    def _mend(self) -> ImageFile.ImageFile:
        """Return a JPEG that lacks its end marker, if it lacks nothing else.

        Raises:
            errors.ImageRejected: Pixels are missing, too (`TRUNCATED`).
        """
        whole = jpeg_ends.mend(self._content)
        if whole is None:
            raise errors.ImageRejected(
                "The JPEG file is truncated: its end is missing.", reason=reasons.TRUNCATED
            )
        self._content = whole
        picture = self._open()
        if self._draft[1][0]:
            self._apply_draft(picture)
        picture.load()
        return picture

    def _find_orientation(self) -> int:
        """Return EXIF's orientation, 1 to 8, without decoding; upright if metadata are damaged."""
        if self._parts is not None:
            return self._parts.orientation
        try:
            # Pillow turns a TIFF itself, and its header's size is upright already.
            if self.kind in ("GIF", "BMP", "TIFF", "HEIC", jpeg2000.KIND):
                return 1
            if self.kind == "PNG":
                # Pillow would decode the whole picture to find metadata behind it.
                exif = Image.Exif()
                exif.load(headers.png_exif(self._content))
            else:
                assert self._picture is not None  # noqa: S101 - there are no parts
                exif = self._picture.getexif()
            value = exif.get(ExifTags.Base.Orientation, 1)
            return value if isinstance(value, int) and 1 <= value <= 8 else 1  # noqa: PLR2004  # EXIF's range
        except Exception:  # noqa: BLE001  # Pillow's parsers raise anything on damaged metadata
            return 1


def _halve(picture: ImageFile.ImageFile, times: int) -> None:
    """Have a JPEG 2000 decoded at a reduced resolution.

    Pillow 13 does so by `reduce`, but rounds sizes to the nearest number where OpenJPEG rounds up,
    and then says that the file is broken.
    """
    tile = picture.tile[0]
    codec, _, *others = tile.args  # type: ignore[misc, str-unpack]  # a tuple, as this decoder takes it
    size = tuple(-(-side // (1 << times)) for side in picture.size)
    picture._size = size  # type: ignore[assignment]  # noqa: SLF001 - there is no other way
    picture.tile = [
        tile._replace(extents=(0, 0, *size), args=(codec, times, *others))  # type: ignore[arg-type]
    ]


def turn(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Return the width and height of an upright picture."""
    width, height = size
    return (height, width) if orientation >= 5 else (width, height)  # noqa: PLR2004  # EXIF: 5 to 8 are turned by 90 degrees
