"""Writes small PDFs of any content, page by page."""

from __future__ import annotations

import io
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image


@dataclass(kw_only=True)
class PdfPage:
    """A page to be written.

    Attributes:
        content: Its operators. The pictures are called `/I0`, `/I1` …, the font `/F`.
        pictures: The pictures on it, which are kept as JPEG, or losslessly with `lossless`.
        size: Width and height in points.
        lossless: Whether pictures are kept as they are.
        rotation: By how many degrees the page is shown turned.
    """

    content: bytes
    pictures: tuple[Image.Image, ...] = ()
    size: tuple[int, int] = (300, 200)
    lossless: bool = False
    rotation: int = 0
    jpegs: list[bytes] = field(default_factory=list)


def fill(picture: Image.Image, **options: object) -> PdfPage:
    """Return a page that is one picture."""
    return PdfPage(content=b"q 300 0 0 200 0 0 cm /I0 Do Q", pictures=(picture,), **options)


def write_pdf(*pages: PdfPage) -> bytes:
    """Return a PDF of some pages."""
    objects: list[bytes] = []

    def add(body: bytes) -> int:
        objects.append(body)
        return len(objects)

    add(b"<< /Type /Catalog /Pages 2 0 R >>")
    add(b"")
    font = add(b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>")
    kids = []
    for page in pages:
        names = b""
        for number, picture in enumerate(page.pictures):
            names += b"/I%d %d 0 R " % (number, add(_write_picture(picture, page)))
        stream = add(b"<< /Length %d >> stream\n%s\nendstream" % (len(page.content), page.content))
        kids.append(
            add(
                b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 %d %d] /Contents %d 0 R /Rotate %d "
                b"/Resources << /XObject << %s>> /Font << /F %d 0 R >> >> >>"
                % (*page.size, stream, page.rotation, names, font)
            )
        )
    listed = b" ".join(b"%d 0 R" % kid for kid in kids)
    objects[1] = b"<< /Type /Pages /Kids [%s] /Count %d >>" % (listed, len(kids))
    return _join(objects)


def _write_picture(picture: Image.Image, page: PdfPage) -> bytes:
    if page.lossless:
        data, kind = zlib.compress(picture.tobytes()), b"FlateDecode"
    else:
        stream = io.BytesIO()
        picture.save(stream, "JPEG", quality=92)
        data, kind = stream.getvalue(), b"DCTDecode"
        page.jpegs.append(data)
    colours = b"DeviceGray" if picture.mode == "L" else b"DeviceRGB"
    return (
        b"<< /Type /XObject /Subtype /Image /Width %d /Height %d /ColorSpace /%s "
        b"/BitsPerComponent 8 /Filter /%s /Length %d >> stream\n%s\nendstream"
        % (*picture.size, colours, kind, len(data), data)
    )


def _join(objects: list[bytes]) -> bytes:
    content, places = b"%PDF-1.7\n", []
    for number, body in enumerate(objects, start=1):
        places.append(len(content))
        content += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    count = len(objects) + 1
    head = b"xref\n0 %d\n0000000000 65535 f \n" % count
    end = b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF" % (count, len(content))
    return content + head + table + end
