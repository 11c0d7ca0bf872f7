"""Mends a JPEG that lacks nothing but its end marker, as some scanners and downloads leave it.

libjpeg fills what is missing with grey and says so to nobody. Whether all pixels are there is
therefore found out by three continuations: if any pixels differ with them, data are missing. These
lie where the file was cut, and what comes below them is the same grey with all. Where a file has
restart markers, these are counted: after the last one that is there, libjpeg makes everything grey,
whatever comes.
"""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING, Final

from PIL import JpegImagePlugin

if TYPE_CHECKING:
    from collections.abc import Iterator

_END: Final = b"\xff\xd9"
_CONTINUATIONS: Final = (b"", b"\0" * 64, b"\xff\0" * 64)
"""Nothing, bits that are zero, and bits that are one. A block that lacks a bit takes them, and with
nothing becomes grey."""
_COEFFICIENTS: Final = 64
_ROWS: Final = 64
"""Rows of pixels that are copied at a time."""
_PROGRESSIVE: Final = frozenset((0xC2, 0xC6, 0xCA, 0xCE))
_FRAMES: Final = frozenset((*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), 0xCD, 0xCE))
_WITHOUT_LENGTH: Final = frozenset((0x01, *range(0xD0, 0xD9)))
_SCAN: Final = 0xDA
_INTERVAL: Final = 0xDD


def lacks_end(content: bytes) -> bool:
    """Return whether a JPEG has no end marker at its end."""
    return _END not in content[-1024:]


def mend(content: bytes) -> bytes | None:
    """Return a JPEG with the end marker that it lacks; None if pixels are missing, too.

    It is decoded three times, in full: four bytes a pixel.
    """
    body = content[:-1] if content.endswith(b"\xff") else content
    if not _has_all_scans(body) or not _has_all_restarts(body):
        return None
    digests = {_digest(body + more + _END) for more in _CONTINUATIONS}
    return body + _END if len(digests) == 1 else None


def _digest(content: bytes) -> bytes:
    picture = JpegImagePlugin.JpegImageFile(io.BytesIO(content))
    picture.load()
    digest = hashlib.sha256()
    for top in range(0, picture.height, _ROWS):
        box = (0, top, picture.width, min(picture.height, top + _ROWS))
        digest.update(picture.crop(box).tobytes())
    return digest.digest()


def _list_segments(content: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Yield the segments of a JPEG: marker, bytes, and where what follows begins."""
    at = 2
    while (found := content.find(b"\xff", at)) >= 0 and found + 4 <= len(content):
        marker = content[found + 1]
        if marker in (0x00, 0xFF) or marker in _WITHOUT_LENGTH:
            at = found + (1 if marker == 0xFF else 2)  # noqa: PLR2004 - a byte of filling
            continue
        end = found + 2 + int.from_bytes(content[found + 2 : found + 4], "big")
        at = max(end, found + 2)
        yield marker, content[found + 4 : end], at


def _has_all_scans(content: bytes) -> bool:
    """Return whether every coefficient of every component has a scan, and the last scan data."""
    missing: set[tuple[int, int]] = set()
    progressive, data = False, 0
    for marker, body, data in _list_segments(content):  # noqa: B007 - where the last one ends
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
    return not missing and 0 < data < len(content)


def _has_all_restarts(content: bytes) -> bool:
    """Return whether the last scan has as many restart markers as its blocks need."""
    interval, frame, scan, start = 0, b"", b"", 0
    for marker, body, end in _list_segments(content):
        if marker == _INTERVAL and len(body) >= 2:  # noqa: PLR2004 - a number of two bytes
            interval = int.from_bytes(body[:2], "big")
        elif marker in _FRAMES:
            frame = body
        elif marker == _SCAN:
            scan, start = body, end
    if not interval:
        return True
    try:
        needed = _divide_up(_count_units(frame, scan), interval) - 1
    except (IndexError, ZeroDivisionError, KeyError):
        return False
    data = content[start:]
    return sum(data.count(bytes((0xFF, 0xD0 + number))) for number in range(8)) >= needed


def _count_units(frame: bytes, scan: bytes) -> int:
    """Return how many units of blocks a scan has, between which restart markers may stand."""
    height, width = int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big")
    sampling = {
        frame[at]: (frame[at + 1] >> 4, frame[at + 1] & 0x0F)
        for at in range(6, 6 + 3 * frame[5], 3)
    }
    across = max(each[0] for each in sampling.values())
    down = max(each[1] for each in sampling.values())
    if scan[0] > 1:
        return _divide_up(width, 8 * across) * _divide_up(height, 8 * down)
    # A scan of one component has its blocks one by one.
    own_across, own_down = sampling[scan[1]]
    columns = _divide_up(_divide_up(width * own_across, across), 8)
    return columns * _divide_up(_divide_up(height * own_down, down), 8)


def _divide_up(number: int, by: int) -> int:
    return -(-number // by)
