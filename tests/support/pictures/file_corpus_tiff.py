"""TIFF files of the corpus: samples, byte orders, compressions and pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from halftone.imaging import images
from tests.support.pictures.file_cases import (
    COLOUR,
    DEEP,
    GREY,
    SEED,
    Case,
    bad,
    deepen,
    draw_grey,
    draw_lines,
    encode,
    encode_part,
    good,
)
from tests.support.pictures.image_corpus import png, saved
from tests.support.pictures.tiff_writer import DEFLATE, JPEG_2000, NONE, WEBP, Page, write_tiff

if TYPE_CHECKING:
    from collections.abc import Iterator


def make_deep() -> Iterator[Case]:
    """Samples of few bits kept in many."""
    for bits in DEEP:
        for order in (False, True):
            end = "big" if order else "little"
            yield good(
                f"tiff, {bits} of 16 bits, {end} endian",
                lambda bits=bits, order=order: write_tiff(
                    Page(values=deepen(GREY, bits)), big_endian=order
                ),
                GREY,
                1,
            )
        yield good(
            f"tiff, {bits} of 16 bits, white is zero",
            lambda bits=bits: write_tiff(
                Page(values=deepen(255 - GREY, bits), photometric=0, compression=DEFLATE)
            ),
            GREY,
            1,
        )
        yield good(
            f"tiff, {bits} of 16 bits, colours",
            lambda bits=bits: write_tiff(Page(values=deepen(COLOUR, bits))),
            COLOUR,
            1,
        )
        yield good(
            f"tiff, {bits} of 16 bits, colours, deflate, predictor, big endian",
            lambda bits=bits: write_tiff(
                Page(values=deepen(COLOUR, bits), compression=DEFLATE, predictor=True, rows=40),
                big_endian=True,
            ),
            COLOUR,
            1,
        )
        yield good(
            f"png, {bits} of 16 bits",
            lambda bits=bits: png(deepen(GREY, bits), depth=16, colour_type=0),
            GREY,
            1,
        )
        yield good(
            f"png, {bits} of 16 bits, colours",
            lambda bits=bits: png(deepen(COLOUR, bits), depth=16, colour_type=2),
            COLOUR,
            1,
        )
        yield good(
            f"tiff, {bits} of 32 bits",
            lambda bits=bits: saved(Image.fromarray(deepen(GREY, bits).astype(np.int32)), "TIFF"),
            GREY,
            1,
        )
    dark = (deepen(GREY, 12).astype(int) // 2).astype(np.uint16)
    yield good(
        "tiff, dark, 12 of 16 bits by its tag",
        lambda: write_tiff(Page(values=dark // 2, tags={281: (3, (4095,))})),
        np.rint(GREY / 4),
        1,
    )
    yield good(
        "tiff, floats",
        lambda: write_tiff(Page(values=(GREY / 255).astype(np.float32))),
        GREY,
        1,
    )


def make_tiffs() -> Iterator[Case]:
    for big in (False, True):
        for order in (False, True):
            what = f"{'bigtiff' if big else 'tiff'}, {'big' if order else 'little'} endian"
            for tiled in (False, True):
                for compression in (NONE, DEFLATE):
                    name = f"{what}, {'tiles' if tiled else 'strips'}"
                    name += ", deflate" if compression == DEFLATE else ""
                    yield good(
                        name,
                        lambda big=big, order=order, tiled=tiled, compression=compression: (
                            write_tiff(
                                Page(values=COLOUR, compression=compression, tiled=tiled, rows=64),
                                big=big,
                                big_endian=order,
                            )
                        ),
                        COLOUR,
                    )
    for name in ("tiff_lzw", "packbits", "zstd", "lzma"):
        yield good(
            f"tiff, {name}",
            lambda name=name: encode(GREY, "TIFF", compression=name),
            GREY,
        )
    yield good("tiff, jpeg", lambda: encode(GREY, "TIFF", compression="jpeg", quality=95), GREY, 12)
    yield good(
        "tiff, colours in planes",
        lambda: write_tiff(Page(values=COLOUR, planar=True, rows=50)),
        COLOUR,
    )
    yield good(
        "tiff, colours in planes, deflate",
        lambda: write_tiff(Page(values=COLOUR, planar=True, compression=DEFLATE, rows=50)),
        COLOUR,
    )
    for compression in (NONE, DEFLATE):
        yield good(
            f"tiff, 16 bits, colours in planes, method {compression}",
            lambda compression=compression: write_tiff(
                Page(values=deepen(COLOUR, 16), planar=True, compression=compression, rows=50)
            ),
            COLOUR,
            1,
        )
    yield good(
        "tiff, white is zero", lambda: write_tiff(Page(values=255 - GREY, photometric=0)), GREY
    )
    lines = draw_lines(0, 255)
    for name in ("group3", "group4", "packbits", "raw"):
        yield good(
            f"tiff, one bit, {name}",
            lambda name=name: saved(
                lines.convert("1"), "TIFF", compression=None if name == "raw" else name
            ),
            np.asarray(lines),
        )
    large = Image.new("1", (10_200, 13_200), 1)
    ImageDraw.Draw(large).rectangle((2_000, 3_000, 6_000, 9_000), fill=0)
    yield good(
        "tiff, one bit, group4, 10,200 x 13,200",
        lambda: saved(large, "TIFF", compression="group4"),
        np.asarray(large.convert("L")),
    )


def make_parts() -> Iterator[Case]:
    """Strips and tiles that are files themselves."""
    webp, jpeg = encode_part("WEBP", lossless=True), encode_part("JPEG2000", no_jp2=True)
    for tiled in (False, True):
        for big in (False, True):
            what = f"{'tiles' if tiled else 'strips'}, {'bigtiff' if big else 'tiff'}"
            for name, number, compress in (
                ("webp", WEBP, webp),
                ("jpeg 2000", JPEG_2000, jpeg),
            ):
                yield good(
                    f"{name} in {what}",
                    lambda tiled=tiled, big=big, number=number, compress=compress: write_tiff(
                        Page(
                            values=COLOUR,
                            tiled=tiled,
                            rows=64,
                            compression=number,
                            compress=compress,
                        ),
                        big=big,
                        big_endian=big,
                    ),
                    COLOUR,
                )
    whole = write_tiff(Page(values=COLOUR, tiled=True, rows=64, compression=WEBP, compress=webp))
    start = whole.index(b"RIFF")
    yield bad(
        "webp in tiff, damaged",
        lambda: whole[: start + 40] + bytes(60) + whole[start + 100 :],
        images.CORRUPT,
    )
    for number, name in ((50002, "JPEG XL"), (33003, "Aperio"), (4711, "method 4711")):
        yield bad(
            f"tiff, compressed by {name}",
            lambda number=number: write_tiff(
                Page(values=GREY, compression=number, compress=lambda _: b"whatever")
            ),
            images.UNSUPPORTED_FORMAT,
            says=name,
        )


def make_pages() -> Iterator[Case]:
    """Several pictures in a file; the answer is the one that stands for it."""
    other = draw_grey(SEED + 9)
    small = np.asarray(Image.fromarray(GREY).resize((51, 38), Image.Resampling.BOX))
    yield good(
        "tiff, three pages",
        lambda: write_tiff(Page(values=GREY), Page(values=other), Page(values=other)),
        GREY,
    )
    yield good(
        "tiff, a larger second page of other proportions",
        lambda: write_tiff(Page(values=GREY), Page(values=np.tile(other, (5, 2)))),
        GREY,
    )
    for big in (False, True):
        what = "bigtiff" if big else "tiff"
        yield good(
            f"{what}, a thumbnail first, marked",
            lambda big=big: write_tiff(
                Page(values=small, kind=1), Page(values=GREY, kind=0), big=big, big_endian=big
            ),
            GREY,
        )
        yield good(
            f"{what}, a thumbnail first, not marked",
            lambda big=big: write_tiff(Page(values=small), Page(values=GREY), big=big),
            GREY,
        )
        yield good(
            f"{what}, a thumbnail that links to its picture",
            lambda big=big: write_tiff(
                Page(values=small, kind=1, below=(Page(values=GREY, kind=0),)), big=big
            ),
            GREY,
        )
    yield good(
        "tiff, a mask first",
        lambda: write_tiff(Page(values=255 - GREY, kind=4), Page(values=GREY)),
        GREY,
    )
