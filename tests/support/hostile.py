"""Uploads and texts that somebody sends who means harm, or whose scanner broke."""

from __future__ import annotations

import functools
import io
import random
import struct
import zipfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image, PngImagePlugin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SCRIPT = "<script>window.ran = true</script>"
# What would run, or reach another host, if a page took it for more than a text.
TEXTS = (
    SCRIPT,
    f'"><img src=x onerror="window.ran = true">{SCRIPT}',
    f"'><svg onload='window.ran = true'>{SCRIPT}</svg>",
    f"</title></textarea></style></script>{SCRIPT}",
    "javascript:window.ran=true",
    '" autofocus onfocus="window.ran = true" x="',
    "{{ 7 * 7 }}{% for x in y %}${7 * 7}#{7 * 7}",
    "<link rel=stylesheet href=http://elsewhere.invalid/x.css>",
    "<meta http-equiv=refresh content='0;url=http://elsewhere.invalid/'>",
    "<base href=http://elsewhere.invalid/>",
    "<form action=http://elsewhere.invalid/><button>OK",
    "\u202ereversed\u202d\u2066isolated\u2069 \u200b\ufeff",
    "\r\nSet-Cookie: owned=1\r\n\r\n<h1>split",
    "\x1b[2J\x07\x00\x08 controls",
    "z\u0300\u0301\u0302" * 60,
    "\N{ARABIC LETTER ALEF}\N{HEBREW LETTER ALEF}\N{CJK UNIFIED IDEOGRAPH-56FE}\U0001f5bc",
    "w" * 3000,
    "a b " * 600,
    "../../etc/passwd",
    "%00%0d%0a%2e%2e%2f",
    "' OR 1=1 --",
    "]]><!ENTITY x SYSTEM 'file:///etc/passwd'>",
    "-->",
    "&lt;script&gt;&#x3c;",
)


@dataclass(frozen=True, kw_only=True)
class Upload:
    """A file and how its form describes it."""

    kind: str
    name: str
    content: bytes
    type: str = "image/jpeg"


def make_uploads(count: int, *, seed: int = 0) -> Iterator[Upload]:
    """Yield hostile uploads, every kind in turn and each one different. They are small."""
    random_ = random.Random(seed)
    kinds = list(_KINDS.items())
    for number in range(count):
        kind, make = kinds[number % len(kinds)]
        name = _NAMES[number % len(_NAMES)].replace("#", str(number))
        yield Upload(kind=kind, name=name, content=make(random_), type=_TYPES[number % len(_TYPES)])


_TYPES = ("image/jpeg", "text/html", "image/svg+xml", "application/x-msdownload", "", "x" * 200)
_NAMES = (
    "#.jpg",
    "#.html",
    "../../#.jpg",
    f"{SCRIPT}#.jpg",
    "\u202egpj.exe#.jpg",
    "a\r\nX-Injected: 1\r\n#.jpg",
    '"; filename="other#.png',
    "\N{CJK UNIFIED IDEOGRAPH-56FE}#.tif",
    "n" * 2000 + "#.jpg",
    "CON.#",
)


@functools.cache
def _encode(kind: str) -> bytes:
    picture = Image.effect_noise((160, 120), 64)
    out = io.BytesIO()
    picture.convert("RGB" if kind == "WEBP" else "L").save(out, format=kind)
    return out.getvalue()


_FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "GIF", "BMP")


def _truncate(random_: random.Random) -> bytes:
    content = _encode(random_.choice(_FORMATS))
    return content[: random_.randrange(1, len(content))]


def _flip(random_: random.Random) -> bytes:
    content = bytearray(_encode(random_.choice(_FORMATS)))
    for _ in range(random_.choice((1, 8, 64))):
        # Most of what decides lies at the beginning.
        end = random_.choice((64, 400, len(content)))
        content[random_.randrange(min(end, len(content)))] = random_.randrange(256)
    return bytes(content)


def _make_markup(random_: random.Random) -> bytes:
    return (
        random_.choice(
            (
                f"<!doctype html>{SCRIPT}",
                f'<svg xmlns="http://www.w3.org/2000/svg" onload="window.ran=true">{SCRIPT}</svg>',
                '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><x>&a;</x>',
                "GIF89a=1;window.ran=true;//",
                "%PDF-1.7 /JS (window.ran = true)",
                "#!/bin/sh\ntouch /tmp/ran\n",
            )
        ).encode()
        + str(random_.random()).encode()
    )


def _make_polyglot(random_: random.Random) -> bytes:
    """Return a picture that is something else, too."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(f"{random_.random()}.html", SCRIPT)
    jpeg, gif, png = (_encode(kind) for kind in ("JPEG", "GIF", "PNG"))
    comment = SCRIPT.encode() + str(random_.random()).encode()
    segment = b"\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", comment.decode())
    out = io.BytesIO()
    Image.open(io.BytesIO(png)).save(out, format="PNG", pnginfo=text)
    return random_.choice(
        (
            jpeg + packed.getvalue(),
            jpeg[:2] + segment + jpeg[2:],
            jpeg + comment,
            gif[:-1] + b"\x21\xfe" + bytes([len(comment)]) + comment + b"\x00\x3b",
            out.getvalue(),
            b"%PDF-1.4\n" + jpeg,
        )
    )


def make_chunk(kind: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _make_bomb(random_: random.Random) -> bytes:
    """Return few bytes that declare, or unpack to, very many pixels."""
    side = random_.choice((20_000, 60_000, 2**31 - 1))
    header = struct.pack(">IIBBBBB", side, side, 8, random_.choice((0, 2, 6)), 0, 0, 0)
    return random_.choice(
        (
            b"\x89PNG\r\n\x1a\n"
            + make_chunk(b"IHDR", header)
            + make_chunk(b"IDAT", _pack_zeros())
            + make_chunk(b"IEND", b""),
            b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0x80, 0, 0) + bytes(6) + b"\x3b",
            _encode("BMP")[:18] + struct.pack("<ii", 2**31 - 1, 2**31 - 1) + _encode("BMP")[26:],
            _encode("TIFF").replace(struct.pack("<H", 160), struct.pack("<H", 65535)),
            # Rows of 10,000 black pixels, thousands of them, in a few kilobytes.
            _pack_black(side=9_990 + random_.randrange(10)),
        )
    )


@functools.cache
def _pack_black(*, side: int) -> bytes:
    out = io.BytesIO()
    Image.new("1", (side, side)).save(out, format="PNG")
    return out.getvalue()


@functools.cache
def _pack_zeros() -> bytes:
    """Return 64 kB that unpack to 64 MiB."""
    return zlib.compress(bytes(1 << 26), 9)


def _make_metadata(random_: random.Random) -> bytes:
    """Return a picture under a heap of metadata, or under one that unpacks to a heap."""
    jpeg, png = _encode("JPEG"), _encode("PNG")
    block = b"Exif\x00\x00" + random_.randbytes(65_000)
    segment = b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block
    profile = b"icc\x00\x00" + _pack_zeros()
    text = b"Comment\x00\x00" + _pack_zeros()
    return random_.choice(
        (
            jpeg[:2] + segment * 20 + jpeg[2:],
            png[:33] + make_chunk(b"iCCP", profile) + png[33:],
            png[:33] + make_chunk(b"zTXt", text) + png[33:],
            png[:33] + make_chunk(b"eXIf", random_.randbytes(100_000)) + png[33:],
        )
    )


def _make_nothing(random_: random.Random) -> bytes:
    return random_.choice((b"", b"\x00", b"\xff\xd8", b"\xff\xd8\xff\xd9", bytes(1000), b"RIFF"))


def _make_noise(random_: random.Random) -> bytes:
    magic = random_.choice(
        (b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"II*\x00", b"GIF89a", b"BM")
    )
    return magic + random_.randbytes(random_.randrange(4000))


_KINDS: dict[str, Callable[[random.Random], bytes]] = {
    "truncated": _truncate,
    "bits flipped": _flip,
    "markup": _make_markup,
    "polyglot": _make_polyglot,
    "bomb": _make_bomb,
    "metadata": _make_metadata,
    "nothing": _make_nothing,
    "noise": _make_noise,
}
