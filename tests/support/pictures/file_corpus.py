"""Files of many formats with many faults, each with its right answer.

Everything is drawn from a seed. An answer is either the pixels that a file must decode to, within a
tolerance, or the reasons with which it must be refused.
"""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, features

from halftone.imaging import images
from tests.support.pictures import expensive
from tests.support.pictures.file_cases import (
    COLOUR,
    DEEP,
    GREY,
    HEIGHT,
    WIDTH,
    Case,
    bad,
    deepen,
    draw_lines,
    encode,
    encode_part,
    good,
)
from tests.support.pictures.file_corpus_tiff import make_deep, make_pages, make_parts, make_tiffs
from tests.support.pictures.image_corpus import chunk, saved
from tests.support.pictures.tiff_writer import DEFLATE, WEBP, Page, write_tiff

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def make_corpus() -> list[Case]:
    """Return all cases. Their names are different."""
    cases = [
        *make_deep(),
        *make_tiffs(),
        *make_parts(),
        *make_pages(),
        *_jpegs(),
        *_jpegs_2000(),
        *_other_formats(),
        *_transparent(),
        *_cut(),
        *_hostile(),
        *_foreign(),
    ]
    assert len({case.name for case in cases}) == len(cases)
    return cases


def _jpegs() -> Iterator[Case]:
    for name, values, options in (
        ("grey", GREY, {}),
        ("colours", COLOUR, {}),
        ("colours without reduction", COLOUR, {"subsampling": 0}),
        ("progressive", COLOUR, {"progressive": True}),
        ("restart markers", GREY, {"restart_marker_rows": 1}),
    ):
        whole = encode(values, "JPEG", quality=97, **options)
        expected = np.asarray(Image.open(io.BytesIO(whole)))
        yield good(f"jpeg, {name}", lambda whole=whole: whole, expected)
        yield good(
            f"jpeg, {name}, without its end marker",
            lambda whole=whole: whole[:-2],
            expected,
        )
        yield good(
            f"jpeg, {name}, without half of its end marker",
            lambda whole=whole: whole[:-1],
            expected,
        )
        for missing in (40, len(whole) // 3):
            yield bad(
                f"jpeg, {name}, without its last {missing} bytes",
                lambda whole=whole, missing=missing: whole[:-missing],
                images.TRUNCATED,
                says="truncated",
            )
    whole = encode(COLOUR, "JPEG", progressive=True)
    last = whole.rindex(b"\xff\xda")
    yield bad("jpeg, progressive, without its last scan", lambda: whole[:last], images.TRUNCATED)


def _jpegs_2000() -> Iterator[Case]:
    for name, values, options, tolerance in (
        ("grey", GREY, {}, 0),
        ("colours", COLOUR, {}, 0),
        ("codestream alone", COLOUR, {"no_jp2": True}, 0),
        ("tiles", COLOUR, {"tile_size": (64, 64)}, 0),
        ("tiles and an offset", GREY, {"offset": (7, 5), "tile_size": (64, 64)}, 0),
        ("two resolutions", GREY, {"num_resolutions": 2}, 0),
        ("lossy", COLOUR, {"irreversible": True, "quality_layers": [8]}, 24),
        ("layers", GREY, {"quality_layers": [20, 8, 0]}, 0),
        ("blocks of 16", GREY, {"codeblock_size": (16, 16)}, 0),
    ):
        yield good(
            f"jpeg 2000, {name}",
            lambda values=values, options=options: encode(values, "JPEG2000", **options),
            values,
            tolerance,
        )
    for bits in DEEP:
        yield good(
            f"jpeg 2000, {bits} of 16 bits",
            lambda bits=bits: encode(deepen(GREY, bits), "JPEG2000"),
            GREY,
            1,
        )
    whole = encode(COLOUR, "JPEG2000")
    for percent in (5, 40, 90):
        yield bad(
            f"jpeg 2000, {percent} percent of it",
            lambda percent=percent: whole[: len(whole) * percent // 100],
            images.TRUNCATED,
        )

    def patch(at: int, form: str, *values: int) -> Callable[[], bytes]:
        def make() -> bytes:
            content = bytearray(encode(GREY, "JPEG2000", no_jp2=True))
            struct.pack_into(form, content, at, *values)
            return bytes(content)

        return make

    coding = encode(GREY, "JPEG2000", no_jp2=True).index(b"\xff\x52")
    yield bad(
        "jpeg 2000, 65,000 x 65,000",
        patch(8, ">8I", 65_000, 65_000, 0, 0, 65_000, 65_000, 0, 0),
        images.TOO_MANY_PIXELS,
        images.TOO_EXPENSIVE,
        says="limit",
    )
    yield bad(
        "jpeg 2000, tiles of one pixel", patch(24, ">II", 1, 1), images.TOO_EXPENSIVE, says="tiles"
    )
    yield bad(
        "jpeg 2000, 16,000 components",
        patch(40, ">H", 16_000),
        images.TOO_EXPENSIVE,
        says="components",
    )
    yield bad(
        "jpeg 2000, 65,535 layers",
        patch(coding + 6, ">H", 65_535),
        images.TOO_EXPENSIVE,
        says="layers",
    )

    def make_blocks() -> bytes:
        content = bytearray(patch(8, ">II", 19_000, 19_000)())
        struct.pack_into(">II", content, 24, 19_000, 19_000)
        struct.pack_into(">BB", content, coding + 10, 0, 0)
        return bytes(content)

    yield bad(
        "jpeg 2000, 22 million blocks", make_blocks, images.TOO_EXPENSIVE, says="blocks in a tile"
    )
    yield bad(
        "jpeg 2000, 10,000 boxes",
        lambda: whole[:12] + b"\0\0\0\x08free" * 10_000 + whole[12:],
        images.TOO_EXPENSIVE,
        says="boxes",
    )
    comment = b"\xff\x64\0\x06\0\1ab"
    yield bad(
        "jpeg 2000, 100,000 comments",
        lambda: coding_comments(comment * 100_000),
        images.TOO_EXPENSIVE,
        says="markers",
    )


def coding_comments(comments: bytes) -> bytes:
    """A codestream with comments before its first tile."""
    content = encode(GREY, "JPEG2000", no_jp2=True)
    at = content.index(b"\xff\x90")
    return content[:at] + comments + content[at:]


def _other_formats() -> Iterator[Case]:
    yield good("png", lambda: encode(COLOUR, "PNG"), COLOUR)
    yield good("webp", lambda: encode(COLOUR, "WEBP", lossless=True), COLOUR)
    yield good("gif", lambda: encode(GREY, "GIF"), GREY)
    yield good("bmp", lambda: encode(COLOUR, "BMP"), COLOUR)
    if features.check("avif"):
        whole = encode(COLOUR, "AVIF", quality=100, subsampling="4:4:4")
        yield good("avif", lambda: whole, COLOUR, 8)
        yield bad("avif, half of it", lambda: whole[: len(whole) // 2], images.TRUNCATED)
        at = whole.index(b"ispe") + 8

        def make_giant() -> bytes:
            return whole[:at] + struct.pack(">II", 60_000, 60_000) + whole[at + 8 :]

        yield bad("avif, 60,000 x 60,000", make_giant, images.TOO_MANY_PIXELS)
        frames = [Image.fromarray(COLOUR), Image.fromarray(255 - COLOUR)]
        yield bad(
            "avif, a film",
            lambda: saved(frames[0], "AVIF", save_all=True, append_images=frames[1:]),
            images.ANIMATED,
        )


def _transparent() -> Iterator[Case]:
    """Drawings on a ground that is not there."""
    for kind in ("PNG", "WEBP", "TIFF"):
        for name, ink in (("white", 255), ("nearly white", 245), ("black", 0)):
            lines = np.asarray(draw_lines(255, 0))
            colour = np.full((HEIGHT, WIDTH, 3), ink, dtype=np.uint8)
            layer = np.dstack([colour, lines])
            paper = 255 if ink == 0 else 0
            share = lines[..., None].astype(float) / 255
            options = {} if kind != "WEBP" else {"lossless": True, "exact": True}
            yield good(
                f"{kind.lower()}, a {name} drawing on a transparent ground",
                lambda layer=layer, kind=kind, options=options: encode(layer, kind, **options),
                np.rint(colour * share + paper * (1 - share)),
                1,
            )
    grey = Image.merge("LA", (Image.new("L", (WIDTH, HEIGHT), 255), draw_lines(255, 0)))
    yield good(
        "png, white and transparent, grey",
        lambda: saved(grey, "PNG"),
        np.asarray(draw_lines(255, 0)),
    )
    opacity = np.full((HEIGHT, WIDTH), 255, dtype=np.uint8)
    opacity[:, 150:] = 0
    photograph = np.dstack([COLOUR, opacity])
    yield good(
        "png, a photograph cut out",
        lambda: encode(photograph, "PNG"),
        np.where(opacity[..., None] > 0, COLOUR, 255),
    )


def _cut() -> Iterator[Case]:
    for name, make in (
        ("png", lambda: encode(COLOUR, "PNG")),
        ("webp", lambda: encode(COLOUR, "WEBP")),
        ("gif", lambda: encode(GREY, "GIF")),
        ("bmp", lambda: encode(COLOUR, "BMP")),
        ("tiff", lambda: write_tiff(Page(values=COLOUR))),
        ("bigtiff, big endian", lambda: write_tiff(Page(values=COLOUR), big=True, big_endian=True)),
        ("tiff, deflate", lambda: write_tiff(Page(values=COLOUR, compression=DEFLATE))),
        (
            "webp in tiff",
            lambda: write_tiff(Page(values=COLOUR, compression=WEBP, compress=encode_part("WEBP"))),
        ),
    ):
        yield bad(
            f"{name}, half of it",
            lambda make=make: make()[: len(make()) // 2],
            images.TRUNCATED,
            says="truncated" if "tiff" not in name else "",
        )


def _hostile() -> Iterator[Case]:
    header = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 0, 0, 0, 0)
    yield bad(
        "png, 40,000 x 40,000",
        lambda: b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IEND", b""),
        images.TOO_MANY_PIXELS,
        says="HALFTONE_MAX_PIXELS",
    )
    lossless = bytes([0x2F]) + (16_382 | 16_382 << 14).to_bytes(4, "little") + bytes(16)
    body = b"WEBPVP8L" + struct.pack("<I", len(lossless)) + lossless
    yield bad(
        "webp, 16,383 x 16,383, lossless",
        lambda: b"RIFF" + struct.pack("<I", len(body)) + body,
        images.TOO_MANY_PIXELS,
        says="Pillow reads",
    )
    yield bad("tiff, a tile of 40,000 x 40,000", expensive.make_large_tile, images.TOO_EXPENSIVE)
    yield bad("tiff, 65,000 tags", expensive.make_tags, images.TOO_EXPENSIVE)
    yield bad("tiff, 4 million strips", expensive.make_strips, images.TOO_EXPENSIVE)
    yield bad(
        "tiff, thumbnails without end",
        make_circle,
        images.TOO_SMALL,
        images.CORRUPT,
        images.TRUNCATED,
    )


def make_circle() -> bytes:
    """A directory that links to itself and says that it is a thumbnail."""
    content = bytearray(write_tiff(Page(values=GREY[:4, :4], kind=1)))
    (start,) = struct.unpack_from("<L", content, 4)
    (count,) = struct.unpack_from("<H", content, start)
    struct.pack_into("<L", content, start + 2 + 12 * count, start)
    return bytes(content)


def _foreign() -> Iterator[Case]:
    for name, content in (
        ("pdf", b"%PDF-1.7\n%\xe2\xe3"),
        ("postscript", b"%!PS-Adobe-3.0 EPSF-3.0\n"),
        ("photoshop", b"8BPS\0\1" + bytes(20)),
        ("djvu", b"AT&TFORM" + bytes(20)),
        ("jpeg xl", b"\xff\x0a" + bytes(20)),
        ("mp4", b"\0\0\0\x18ftypmp42" + bytes(20)),
        ("heif of an unknown codec", b"\0\0\0\x18ftypmif1\0\0\0\0mif1hevx" + bytes(20)),
    ):
        yield bad(
            name, lambda content=content: content, images.UNSUPPORTED_FORMAT, says="not supported"
        )
    yield bad("empty", lambda: b"", images.EMPTY)
    yield bad("text", lambda: b"Le Petit Parisien, 22 August 1914", images.NOT_AN_IMAGE)
    yield bad("dds", lambda: saved(Image.fromarray(COLOUR), "DDS"), images.NOT_AN_IMAGE)
    yield bad("tga", lambda: encode(COLOUR, "TGA"), images.NOT_AN_IMAGE)
    yield bad("sgi", lambda: encode(COLOUR, "SGI"), images.NOT_AN_IMAGE)
    yield bad("pcx", lambda: encode(COLOUR, "PCX"), images.NOT_AN_IMAGE)
