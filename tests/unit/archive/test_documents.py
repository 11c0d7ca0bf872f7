"""Files with several pages become a record for each page."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from halftone.archive import manifests
from halftone.archive.documents import DocumentOptions, expand_rows
from halftone.core import errors
from halftone.imaging import images
from tests.support.pictures.file_cases import GREY, draw_colour, draw_grey
from tests.support.pictures.image_corpus import saved
from tests.support.pictures.pdf_writer import PdfPage, fill, write_pdf
from tests.support.pictures.tiff_writer import DEFLATE, Page, write_tiff

CASES = Path(__file__).parents[4] / "shared" / "cases"
OTHER = draw_grey(7)


def read(folder: Path, name: str, content: bytes, *, columns: str = "", **options):
    """Import a folder of one file as far as the rows."""
    (folder / name).write_bytes(content)
    head, _, values = columns.partition(":")
    lines = f"image_id,file{',' if head else ''}{head}\nx/7,{name}{',' if head else ''}{values}\n"
    (folder / "manifest.csv").write_text(lines)
    rows = manifests.read_manifest(folder, archive="a")
    return list(expand_rows(rows, options=DocumentOptions(**options)))


def decode(row) -> np.ndarray:
    content = row.path.read_bytes() if row.content is None else row.content()
    return np.asarray(images.decode(content, max_pixels=10**8))


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("tiled", [False, True])
def test_each_page_of_a_tiff_is_a_record(tmp_path, big, big_endian, tiled):
    kind = {"compression": DEFLATE, "tiled": tiled, "rows": 64}
    content = write_tiff(
        Page(values=GREY, **kind),
        Page(values=OTHER, **kind),
        Page(values=draw_colour(), **kind),
        big=big,
        big_endian=big_endian,
    )
    rows = read(tmp_path, "7.tif", content, columns="journal:Le Matin")
    assert [row.image_id for row in rows] == ["x/7/p1", "x/7/p2", "x/7/p3"]
    assert [row.image.name for row in rows] == [f"archives/a/images/x/7/p{n}" for n in (1, 2, 3)]
    assert [row.image.page for row in rows] == ["1", "2", "3"]
    assert {row.image.journal for row in rows} == {"Le Matin"}
    assert {row.number for row in rows} == {rows[0].number}
    for row, values in zip(rows, (GREY, OTHER, draw_colour()), strict=True):
        assert (decode(row) == values).all()
    assert sum(len(row.content()) for row in rows) < 1.05 * len(content), "pages are sent twice"


def test_the_page_that_a_row_gives_stays(tmp_path):
    content = write_tiff(Page(values=GREY), Page(values=OTHER))
    rows = read(tmp_path, "7.tif", content, columns="page:12")
    assert [row.image.page for row in rows] == ["12", "12"]


def test_what_has_one_page_keeps_its_id(tmp_path):
    small = np.asarray(Image.fromarray(GREY).resize((51, 38)))
    for content in (
        write_tiff(Page(values=GREY)),
        write_tiff(Page(values=small, kind=1), Page(values=GREY)),
        saved(Image.fromarray(GREY), "PNG"),
    ):
        (row,) = read(tmp_path, "7.tif", content)
        assert (row.image_id, row.content) == ("x/7", None)


def test_the_first_page_alone_on_purpose(tmp_path):
    content = write_tiff(Page(values=GREY), Page(values=OTHER))
    (row,) = read(tmp_path, "7.tif", content, tiff_pages="first")
    assert (row.image_id, row.content) == ("x/7", None)


def _link_last(content: bytes, target: int) -> bytes:
    """Return a little-endian TIFF whose last directory links to an offset."""
    changed = bytearray(content)
    at = 4
    while directory := struct.unpack_from("<L", changed, at)[0]:
        at = directory + 2 + 12 * struct.unpack_from("<H", changed, directory)[0]
    struct.pack_into("<L", changed, at, target)
    return bytes(changed)


def test_pages_of_a_tiff_behind_damage_are_told(tmp_path):
    content = write_tiff(Page(values=GREY), Page(values=OTHER))
    for target in (len(content) + 8, 2**32 - 1):
        *rows, lost = read(tmp_path, "7.tif", _link_last(content, target))
        assert [row.image_id for row in rows] == ["x/7/p1", "x/7/p2"]
        assert (lost.image_id, lost.image, lost.number) == ("x/7", None, rows[0].number)
        assert "behind page 2" in lost.error.message
        assert lost.error.reason == "BAD_FILE"


def test_damage_behind_a_single_page_is_a_note(tmp_path):
    content = write_tiff(Page(values=GREY))
    (row,) = read(tmp_path, "7.tif", _link_last(content, len(content) + 8))
    assert (row.image_id, row.error) == ("x/7", None)
    assert "behind page 1" in row.notes[-1]


def test_a_page_of_jpeg_keeps_its_tables(tmp_path):
    pages = [Image.fromarray(GREY), Image.fromarray(OTHER)]
    content = saved(
        pages[0], "TIFF", save_all=True, append_images=pages[1:], compression="jpeg", quality=95
    )
    rows = read(tmp_path, "7.tif", content)
    for row, values in zip(rows, (GREY, OTHER), strict=True):
        assert np.abs(decode(row).astype(int) - values).max() < 16


def test_a_file_larger_than_a_message_is_sent_page_by_page(tmp_path):
    noise = np.random.default_rng(1).integers(0, 256, (3, 4000, 3000), dtype=np.uint8)
    content = write_tiff(*(Page(values=page) for page in noise))
    assert len(content) > 32 << 20
    rows = read(tmp_path, "7.tif", content)
    assert len(rows) == 3
    assert (decode(rows[2]) == noise[2]).all()


def test_a_picture_that_fills_a_page_is_taken_as_it_is(tmp_path):
    page = fill(Image.fromarray(draw_colour()))
    lossless = fill(Image.fromarray(GREY), lossless=True)
    rows = read(tmp_path, "7.pdf", write_pdf(page, lossless))
    assert [row.image_id for row in rows] == ["x/7/p1", "x/7/p2"]
    assert rows[0].content() == page.jpegs[0]
    assert (decode(rows[1]) == GREY).all()


def test_text_that_cannot_be_seen_changes_nothing(tmp_path):
    page = fill(Image.fromarray(GREY))
    page.content += b" BT /F 12 Tf 3 Tr 20 20 Td (Le Matin) Tj ET"
    (row,) = read(tmp_path, "7.pdf", write_pdf(page))
    assert row.image_id == "x/7"
    assert row.content() == page.jpegs[0]


@pytest.mark.parametrize(
    "change",
    [
        {"content": b"q 300 0 0 200 0 0 cm /I0 Do Q BT /F 40 Tf 20 20 Td (Le Matin) Tj ET"},
        {"content": b"q 150 0 0 100 50 50 cm /I0 Do Q"},
        {"content": b"q -300 0 0 200 300 0 cm /I0 Do Q"},
        {"rotation": 90},
    ],
)
def test_other_pages_are_drawn(tmp_path, change):
    page = fill(Image.fromarray(GREY))
    for name, value in change.items():
        setattr(page, name, value)
    (row,) = read(tmp_path, "7.pdf", write_pdf(page))
    image = Image.open(io.BytesIO(row.content()))
    assert row.content() != page.jpegs[0]
    width, height = (200, 300) if page.rotation else (300, 200)
    assert image.width / image.height == pytest.approx(width / height, rel=0.01)
    assert min(image.size) >= 400, "150 dpi are the least"


def test_a_page_is_drawn_at_the_resolution_of_its_pictures(tmp_path):
    picture = Image.fromarray(np.tile(GREY, (4, 4)))  # 812 pixels on half of 300 points
    page = PdfPage(content=b"q 150 0 0 112 50 50 cm /I0 Do Q", pictures=(picture,))
    (row,) = read(tmp_path, "7.pdf", write_pdf(page))
    assert Image.open(io.BytesIO(row.content())).width == pytest.approx(1624, rel=0.02)


def test_a_resolution_on_purpose(tmp_path):
    (row,) = read(tmp_path, "7.pdf", write_pdf(fill(Image.fromarray(GREY))), pdf_dpi=72)
    assert Image.open(io.BytesIO(row.content())).size == (300, 200)


def test_a_huge_page_is_drawn_within_bounds(tmp_path):
    page = PdfPage(content=b"0 0 9000 9000 re f", size=(14_000, 14_000))
    (row,) = read(tmp_path, "7.pdf", write_pdf(page), pdf_dpi=600)
    width, height = images.size(row.content())
    assert 100_000_000 < width * height <= 120_100_000


WHOLE = write_pdf(fill(Image.fromarray(GREY)))


@pytest.mark.parametrize("content", [b"%PDF-1.7\nnothing else", WHOLE[:60]])
def test_a_damaged_pdf_is_a_rejected_row_that_names_it(tmp_path, content):
    (row,) = read(tmp_path, "7.pdf", content)
    assert row.image is None
    assert row.error.message == "7.pdf is damaged."


def test_a_file_that_goes_meanwhile_is_a_refusal(tmp_path):
    rows = read(tmp_path, "7.tif", write_tiff(Page(values=GREY), Page(values=OTHER)))
    (tmp_path / "7.tif").unlink()
    with pytest.raises(errors.InvalidArgument, match="Cannot read"):
        rows[0].content()


def test_rejected_rows_pass(tmp_path):
    rows = read(tmp_path, "7.tif", b"", columns="journal:x")
    assert [row.image for row in rows] == [None]


@pytest.mark.skipif(not CASES.is_dir(), reason="shared/cases is not here")
def test_the_picture_on_page_two_is_found(tmp_path):
    content = (CASES / "tiff-formats" / "multipage.tif").read_bytes()
    rows = read(tmp_path, "multipage.tif", content)
    assert [decode(row).shape for row in rows] == [(500, 400), (512, 391)]
    whole = images.decode(
        (CASES / "tiff-formats" / "16be_bigtiff.tif").read_bytes(), max_pixels=10**8
    )
    assert np.abs(decode(rows[1]).astype(int) - np.asarray(whole)).max() <= 1
