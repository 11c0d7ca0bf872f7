"""Takes the pages of a PDF as pictures, by pdfium (the extra `pdf`).

A scanned page is often one picture with or without invisible text over it. That picture is taken as
it lies in the file, JPEG and JPEG 2000 byte for byte. Every other page is drawn, at the resolution
of the pictures on it. pdfium may be called from one thread at a time, so there is one lock.
"""

from __future__ import annotations

import contextlib
import io
import math
import threading
from importlib import util
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from PIL import Image

from halftone.core import errors, wire
from halftone.core.settings import read_max_pixels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SIGNATURE: Final = b"%PDF-"
MOST_PAGES: Final = 10_000
_POINTS: Final = 72
_DPI: Final = (150, 600)
"""The lowest and highest resolution that a page is drawn at when nobody asks for one."""
_MOST_DRAWN_PIXELS: Final = 120_000_000
"""Pixels of a page that is drawn: 360 MB. A larger page is drawn at a lower resolution."""
_WHOLE: Final = 0.95
"""The share of the page that its one picture covers."""
_LEANING: Final = 0.01
_ALIKE: Final = 16.0
"""Grey levels, on average, by which a picture may differ from the page as it is drawn."""
_SMALL: Final = 64
_MOST_OBJECTS: Final = 20_000
_INVISIBLE: Final = 3
_QUALITIES: Final = (95, 85, 70)
_LOCK: Final = threading.Lock()


def is_pdf(head: bytes) -> bool:
    """Return whether a file is a PDF, by its first kilobyte."""
    return SIGNATURE in head[:1024]


def count_pages(path: Path) -> int:
    """Return the number of pages of a PDF.

    Raises:
        errors.InvalidArgument: It cannot be read: pdfium is not installed, it is damaged, asks for
            a password, or has too many pages. The message names the file.
    """
    with _open(path) as document:
        count = len(document)
    if not 1 <= count <= MOST_PAGES:
        raise _refuse(path, f"has {count:,} pages; from 1 to {MOST_PAGES:,} are read")
    return count


def read_page(
    path: Path, *, index: int, dpi: int | None, decode: Callable[[bytes], Image.Image]
) -> bytes:
    """Return a page as an image file.

    Args:
        path: The PDF.
        index: The number of the page, from 0.
        dpi: The resolution to draw it at; None: that of the pictures on it, from 150 to 600. A
            page that is one picture is not drawn without a resolution.
        decode: Decodes an image file at about 64 pixels a side, grey, or refuses it.

    Raises:
        errors.InvalidArgument: The PDF cannot be read.
        errors.ImageRejected: The page is larger than may be.
    """
    with _open(path) as document:
        page = document[index]
        try:
            if dpi is None:
                taken = _take_picture(page, decode=decode)
                if taken is not None:
                    return taken
            return _draw(page, dpi=dpi or _find_dpi(page))
        finally:
            page.close()


@contextlib.contextmanager
def _open(path: Path) -> Iterator[Any]:
    if util.find_spec("pypdfium2") is None:
        raise _refuse(
            path, "is a PDF; the extra pdf reads them: pip install 'halftone-search[pdf]'"
        )
    import pypdfium2  # noqa: PLC0415 - an extra

    with _LOCK:
        try:
            document = pypdfium2.PdfDocument(path)
        except (pypdfium2.PdfiumError, OSError) as error:
            text = str(error).lower()
            why = "asks for a password" if "password" in text else "is damaged"
            raise _refuse(path, why) from error
        try:
            yield document
        except pypdfium2.PdfiumError as error:
            raise _refuse(path, "is damaged") from error
        except MemoryError:
            raise _refuse(path, "takes more memory than there is") from None
        finally:
            document.close()


def _refuse(path: Path, why: str) -> errors.InvalidArgument:
    return errors.InvalidArgument(f"{path.name} {why}.", field="file", reason="BAD_FILE")


def _list_objects(page: Any) -> Iterator[Any]:
    for number, each in enumerate(page.get_objects(max_depth=4)):
        if number == _MOST_OBJECTS:
            return
        yield each


def _take_picture(page: Any, *, decode: Callable[[bytes], Image.Image]) -> bytes | None:
    """Return the file of the picture that a page is, if it is one and looks like the page."""
    picture = _find_picture(page)
    if picture is None:
        return None
    width, height = picture.get_px_size()
    if width * height > read_max_pixels():
        return None
    stream = io.BytesIO()
    try:
        picture.extract(stream)
        content = stream.getvalue()
        small = decode(content)
    except Exception:  # noqa: BLE001 - a picture that cannot be taken is drawn
        return None
    if len(content) > wire.MAX_IMAGE_BYTES:
        return None
    # Masks, tables of tones and parts that are cut off do not lie in the picture itself.
    drawn = page.render(scale=2 * _SMALL / max(page.get_size())).to_pil().convert("L")
    pair = [
        np.asarray(each.convert("L").resize((_SMALL, _SMALL), Image.Resampling.BOX), dtype=float)
        for each in (small, drawn)
    ]
    return content if np.abs(pair[0] - pair[1]).mean() <= _ALIKE else None


def _find_picture(page: Any) -> Any | None:
    """Return the one picture of a page if it covers the page and nothing else can be seen."""
    import pypdfium2.raw as pdfium  # noqa: PLC0415 - an extra

    if page.get_rotation():
        return None
    picture = None
    for each in _list_objects(page):
        if each.type == pdfium.FPDF_PAGEOBJ_IMAGE and picture is None:
            picture = each
        elif each.type == pdfium.FPDF_PAGEOBJ_TEXT:
            if pdfium.FPDFTextObj_GetTextRenderMode(each) != _INVISIBLE:
                return None
        elif each.type != pdfium.FPDF_PAGEOBJ_FORM:
            return None
    if picture is None:
        return None
    left, bottom, right, top = picture.get_bounds()
    width, height = page.get_size()
    a, b, c, d, *_ = picture.get_matrix().get()
    upright = a > 0 and d > 0 and max(abs(b), abs(c)) <= _LEANING * max(a, d)
    inside = max(0.0, min(right, width) - max(left, 0.0)) * max(
        0.0, min(top, height) - max(bottom, 0.0)
    )
    return picture if upright and inside >= _WHOLE * width * height else None


def _find_dpi(page: Any) -> int:
    """Return the highest resolution of the pictures on a page, within limits."""
    import pypdfium2.raw as pdfium  # noqa: PLC0415 - an extra

    found = [float(_DPI[0])]
    for each in _list_objects(page):
        if each.type == pdfium.FPDF_PAGEOBJ_IMAGE:
            left, bottom, right, top = each.get_bounds()
            pixels = math.prod(each.get_px_size())
            area = (right - left) * (top - bottom) / _POINTS**2
            if area > 0:
                found.append(math.sqrt(pixels / area))
    text = any(each.type == pdfium.FPDF_PAGEOBJ_TEXT for each in _list_objects(page))
    return round(min(_DPI[1], max(*found, 300.0 if text else 0.0)))


def _draw(page: Any, *, dpi: int) -> bytes:
    width, height = page.get_size()
    scale = dpi / _POINTS
    most = min(_MOST_DRAWN_PIXELS, read_max_pixels())
    scale = min(scale, math.sqrt(most / max(1.0, width * height)))
    for _ in range(4):
        image = page.render(scale=scale).to_pil()
        content = _encode(image)
        if len(content) <= wire.MAX_IMAGE_BYTES:
            return content
        scale /= math.sqrt(2)
    raise errors.ImageRejected(
        f"The page {wire.describe_excess(len(content), limit=wire.MAX_IMAGE_BYTES)}.",
        field="content",
        reason="TOO_MANY_BYTES",
    )


def _encode(image: Image.Image) -> bytes:
    """Return a JPEG of a page; grey if it has no colours."""
    image = image.convert("RGB")
    red, green, blue = (band.resize((256, 256)) for band in image.split())
    if red.tobytes() == green.tobytes() == blue.tobytes():
        image = image.convert("L")
    content = b""
    for quality in _QUALITIES:
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=quality)
        content = stream.getvalue()
        if len(content) <= wire.MAX_IMAGE_BYTES:
            break
    return content
