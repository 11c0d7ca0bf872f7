"""Mends a JPEG that lacks nothing but its end marker, as some scanners and downloads leave it.

libjpeg fills what is missing with grey and says so to nobody. Whether all pixels are there is
therefore found out by two different continuations: if the last pixels differ with them, data are
missing.
"""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING, Final

from PIL import JpegImagePlugin

if TYPE_CHECKING:
    from PIL import Image

_END: Final = b"\xff\xd9"
_CONTINUATIONS: Final = (b"\0" * 64, b"\xff\0" * 64)
"""Bits that are zero, and bits that are one. A last block that lacks a bit takes them."""
_COEFFICIENTS: Final = 64
_PROGRESSIVE: Final = frozenset((0xC2, 0xC6, 0xCA, 0xCE))
_FRAMES: Final = frozenset((*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), 0xCD, 0xCE))
_WITHOUT_LENGTH: Final = frozenset((0x01, *range(0xD0, 0xD9)))
_SCAN: Final = 0xDA


def lacks_end(content: bytes) -> bool:
    """Return whether a JPEG has no end marker at its end."""
    return _END not in content[-1024:]


def mend(content: bytes) -> bytes | None:
    """Return a JPEG with the end marker that it lacks; None if pixels are missing, too.

    It is decoded twice, in full: four bytes a pixel.
    """
    body = content[:-1] if content.endswith(b"\xff") else content
    if not _has_all_scans(body):
        return None
    digests = {_digest(body + more + _END) for more in _CONTINUATIONS}
    return body + _END if len(digests) == 1 else None


def _digest(content: bytes) -> bytes:
    picture = JpegImagePlugin.JpegImageFile(io.BytesIO(content))
    picture.load()
    # Rows are decoded from the top, and one of blocks has at most 32 of pixels.
    last: Image.Image = picture.crop((0, max(0, picture.height - 64), *picture.size))
    return hashlib.sha256(last.tobytes()).digest()


def _has_all_scans(content: bytes) -> bool:
    """Return whether every coefficient of every component has all of its bits."""
    missing: set[tuple[int, int]] = set()
    progressive, at = False, 2
    while (found := content.find(b"\xff", at)) >= 0 and found + 4 <= len(content):
        marker = content[found + 1]
        if marker in (0x00, 0xFF) or marker in _WITHOUT_LENGTH:
            at = found + (1 if marker == 0xFF else 2)  # noqa: PLR2004 - a byte of filling
            continue
        end = found + 2 + int.from_bytes(content[found + 2 : found + 4], "big")
        body = content[found + 4 : end]
        if marker in _FRAMES and len(body) >= 6:  # noqa: PLR2004 - up to the number of components
            progressive = marker in _PROGRESSIVE
            missing = {
                (component, coefficient)
                for component in body[6 : 6 + 3 * body[5] : 3]
                for coefficient in range(_COEFFICIENTS)
            }
        elif marker == _SCAN and body:
            components = body[1 : 1 + 2 * body[0] : 2]
            first, last, bits = (*body[1 + 2 * body[0] :], 0, 0, 0)[:3]
            if not progressive:
                first, last, bits = 0, _COEFFICIENTS - 1, 0
            if not bits & 0x0F:
                missing -= {
                    (component, coefficient)
                    for component in components
                    for coefficient in range(first, last + 1)
                }
        at = max(end, found + 2)
    return not missing
