"""Page scans as a source: every profile's pictures become records where they are."""

from __future__ import annotations

import contextlib
import io
import random
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from halftone.archive.pages import Kind
from halftone.archive.pages.model import Unit
from halftone.archive.pages.placing import Override
from halftone.archive.sources import Layout, Options, PageOptions, find_kind, open_source
from halftone.core import errors
from tests.support.pages.profiles import BNF, BNL, METAE, NDNP, PROFILES, SBB
from tests.support.pictures.printed_pages import printed_page, scene


def read(folder, **options):
    pages = PageOptions(**options) if options else None
    source = open_source(folder, archive="press", options=Options(pages=pages))
    return source, list(source.rows)


def regions(rows):
    return {
        row.image_id: tuple(
            getattr(row.image.page_region, key) for key in ("x", "y", "width", "height")
        )
        for row in rows
        if row.image is not None and row.image.page_image
    }


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
def test_each_profile(profile, tmp_path):
    assert find_kind(profile.write(tmp_path)).name == "pages"
    source, rows = read(tmp_path)
    assert [row.error for row in rows] == [None] * len(rows), source.remarks
    assert source.remarks == []
    page = rows[0]
    assert (page.content, page.image.page_image) == (None, "")
    assert page.image.page == profile.page
    found = {row.image_id: row for row in rows if row.image.page_image}
    assert regions(rows) == {name: each.region for name, each in profile.pictures.items()}
    for row in rows:
        assert (row.image.journal, row.image.date) == (profile.journal, profile.date)
        assert row.image.language == profile.language
    for name, expected in profile.pictures.items():
        image = found[name].image
        assert image.page_image == f"archives/press/images/{name.rpartition('/')[0]}"
        assert image.caption == expected.caption, name
        assert list(image.labels["found_by"].values) == [expected.found_by]
        cut = Image.open(io.BytesIO(found[name].content()))
        with Image.open(found[name].path) as scan:
            x, y, width, height = expected.region
            part = scan.convert("L").crop((x, y, x + width, y + height))
        difference = np.abs(np.asarray(cut, dtype=float) - np.asarray(part, dtype=float))
        assert cut.size == (width, height)
        assert difference.mean() < 2


def test_pictures_are_found_by_layout_where_only_words_are_described(tmp_path):
    NDNP.write(tmp_path)
    printed_page([(scene(1), (300, 60))]).save(tmp_path / "0001.tif")
    _, rows = read(tmp_path)
    assert [row.image_id for row in rows] == ["0001", "0001/b1"]
    page, picture = (row.image for row in rows)
    assert (page.journal, page.date, page.page) == (NDNP.journal, NDNP.date, "A1")
    region = picture.page_region
    found = (region.x, region.y, region.width, region.height)
    assert found == pytest.approx((300, 60, 480, 360), abs=40)
    assert list(picture.labels["found_by"].values) == ["layout"]
    _, without = read(tmp_path, layout=Layout.NEVER)
    assert [row.image_id for row in without] == ["0001"]


def test_scans_without_descriptions_are_pages_when_told_so(tmp_path):
    for number in (10, 2):
        printed_page([(scene(number), (300, 60))]).save(tmp_path / f"{number}.png")
    assert find_kind(tmp_path) is None
    _, rows = read(tmp_path, layout=Layout.AUTO)
    assert [row.image_id for row in rows] == ["2", "2/b1", "10", "10/b1"]
    assert [row.image.page for row in rows] == ["1", "1", "2", "2"]
    assert [row.number for row in rows] == [1, 2, 3, 4]


def test_reading_again_gives_the_same_bytes(tmp_path):
    BNF.write(tmp_path)
    contents = [[row.content() for row in read(tmp_path)[1] if row.content] for _ in range(2)]
    assert contents[0] == contents[1]


def test_two_tones_are_kept_without_loss(tmp_path):
    SBB.write(tmp_path)
    scan = tmp_path / "OCRmaster" / "F_001.tif"
    with Image.open(scan) as image:
        image.convert("1").save(scan, compression="group4")
    _, rows = read(tmp_path)
    row = next(row for row in rows if row.content)
    cut = Image.open(io.BytesIO(row.content()))
    assert cut.format == "PNG"
    region = row.image.page_region
    with Image.open(scan) as image:
        box = (region.x, region.y, region.x + region.width, region.y + region.height)
        assert cut.convert("L").tobytes() == image.crop(box).convert("L").tobytes()


def test_a_turned_scan_is_cut_upright(tmp_path):
    """Boxes are on the page as one sees it, whatever way the camera was held."""
    BNF.write(tmp_path)
    scan = tmp_path / "images" / "T0000001.jpg"
    with Image.open(scan) as image:
        upright = image.convert("L")
        exif = Image.Exif()
        exif[0x0112] = 6
        upright.transpose(Image.Transpose.ROTATE_90).save(scan, quality=95, exif=exif)
    _, rows = read(tmp_path)
    assert regions(rows) == {name: each.region for name, each in BNF.pictures.items()}
    row = next(row for row in rows if row.content)
    cut = np.asarray(Image.open(io.BytesIO(row.content())), dtype=float)
    part = np.asarray(upright.crop((100, 100, 500, 400)), dtype=float)
    assert np.abs(cut - part).mean() < 4


def test_advertisements_and_tables_become_records_when_asked_for(tmp_path):
    METAE.write(tmp_path)
    _, rows = read(tmp_path, kinds=(Kind.ADVERTISEMENT, Kind.TABLE))
    named = {row.image_id.rpartition("/")[2]: row.image for row in rows[1:]}
    assert list(named) == ["P1_CB00001", "P1_CB00002", "P1_CB00003"]
    assert list(named["P1_CB00002"].labels["kind"].values) == ["table"]
    assert "kind" not in named["P1_CB00001"].labels


def test_boxes_that_do_not_fit_end_it_with_what_would(tmp_path):
    """Nothing is yielded, and following the advice gives the right places."""
    BNL.write(tmp_path)
    text = tmp_path / "text" / "0001.xml"
    text.write_text(
        text.read_text()
        .replace("<MeasurementUnit>mm10", "<MeasurementUnit>pixel")
        .replace('<Page ID="P1"', '<Page ID="P1" WIDTH="500" HEIGHT="750"')
    )
    source = open_source(tmp_path, archive="press")
    with pytest.raises(errors.InvalidArgument, match="--alto-unit mm10") as raised:
        next(source.rows)
    assert raised.value.reason == "BOXES_OUTSIDE"
    assert "would fit" in raised.value.message
    _, rows = read(tmp_path, override=Override(unit=Unit.MM10))
    assert regions(rows) == {name: each.region for name, each in BNL.pictures.items()}
    _, rows = read(tmp_path, override=Override(scale=0.5))
    assert regions(rows) == {name: each.region for name, each in BNL.pictures.items()}


def write_misfit(folder):
    """Write an issue the boxes of which are not in pixels as they say."""
    BNL.write(folder)
    text = folder / "text" / "0001.xml"
    text.write_text(
        text.read_text()
        .replace("<MeasurementUnit>mm10", "<MeasurementUnit>pixel")
        .replace('<Page ID="P1"', '<Page ID="P1" WIDTH="500" HEIGHT="750"')
    )


def test_a_later_issue_whose_boxes_do_not_fit_costs_itself_only(tmp_path):
    SBB.write(tmp_path / "1890")
    write_misfit(tmp_path / "1891")
    SBB.write(tmp_path / "1892")
    _, rows = read(tmp_path)
    (bad,) = [row for row in rows if row.error]
    assert bad.image_id.startswith("1891/")
    assert "--alto-unit mm10" in bad.error.message
    assert bad.error.reason == "BOXES_OUTSIDE"
    assert {row.image_id[:4] for row in rows if row.image} == {"1890", "1892"}
    assert [row.number for row in rows] == list(range(1, len(rows) + 1))


def test_the_first_issue_stops_it_if_its_boxes_do_not_fit(tmp_path):
    write_misfit(tmp_path / "1889")
    SBB.write(tmp_path / "1890")
    source = open_source(tmp_path, archive="press")
    with pytest.raises(errors.InvalidArgument, match="--alto-unit mm10"):
        next(source.rows)


def test_a_page_that_cannot_be_used_costs_itself_only(tmp_path):
    BNF.write(tmp_path / "a")
    SBB.write(tmp_path / "b")
    (tmp_path / "a" / "images" / "T0000001.jpg").write_bytes(b"no picture")
    _, rows = read(tmp_path)
    bad = [row for row in rows if row.error]
    assert [row.image_id for row in bad] == ["a/images/T0000001"]
    assert len(rows) == 4


def test_a_description_that_is_an_attack_costs_itself_only(tmp_path):
    SBB.write(tmp_path / "b")
    bad = tmp_path / "a" / "page.xml"
    bad.parent.mkdir()
    bad.write_text('<!DOCTYPE alto [<!ENTITY a "b">]><alto>&a;</alto>')
    scene(3).save(tmp_path / "a" / "page.png")
    source, rows = read(tmp_path, layout=Layout.NEVER)
    assert any("declares entities" in remark for remark in source.remarks)
    assert [row.image_id for row in rows if not row.error][-1] == "a/page"


def test_scans_that_are_missing_are_told(tmp_path):
    BNF.write(tmp_path)
    (tmp_path / "images" / "T0000001.jpg").unlink()
    scene(3).save(tmp_path / "cover.png")
    source, rows = read(tmp_path)
    assert [row.image_id for row in rows] == ["cover"]
    assert "a page has no scan here: [1]" in source.remarks[0]


def test_derivatives_of_a_page_are_one_page(tmp_path):
    METAE.write(tmp_path)
    shutil.copytree(tmp_path / "Viewing", tmp_path / "thumbs")
    with Image.open(tmp_path / "Viewing" / "18911010-0001.jpg") as image:
        image.resize((80, 120)).save(tmp_path / "thumbs" / "18911010-0001.jpg")
    _, rows = read(tmp_path)
    assert [row.image_id for row in rows] == [
        "Viewing/18911010-0001",
        "Viewing/18911010-0001/P1_CB00001",
    ]


def test_pictures_too_small_to_compare_are_left_out_and_told(tmp_path):
    BNF.write(tmp_path)
    text = tmp_path / "alto" / "X0000001.xml"
    text.write_text(text.read_text().replace('HEIGHT="200" WIDTH="200"', 'HEIGHT="5" WIDTH="200"'))
    source, rows = read(tmp_path)
    assert len(rows) == 2
    assert "too small to be compared" in source.remarks[0]


def test_no_scans_is_an_error(tmp_path):
    with pytest.raises(errors.InvalidArgument, match="holds no scans"):
        read(tmp_path, layout=Layout.AUTO)


def test_issues_whose_files_have_the_same_names(tmp_path):
    for year in ("1890", "1891"):
        SBB.write(tmp_path / year / "issue")
    (tmp_path / "1891" / "issue" / "SBB_mets.xml").unlink()
    _, rows = read(tmp_path)
    assert [row.error for row in rows] == [None] * 6
    assert all(row.path.is_relative_to(tmp_path / row.image_id[:4]) for row in rows)
    assert [row.image.journal for row in rows[2::3]] == ["Le Volkszeitung", ""]


def test_hidden_folders_and_links_are_left_alone(tmp_path):
    SBB.write(tmp_path / "issue")
    shutil.copytree(tmp_path / "issue", tmp_path / ".cache")
    (tmp_path / "linked").symlink_to(tmp_path / "issue", target_is_directory=True)
    (tmp_path / "loose.tif").symlink_to(tmp_path / "issue" / "OCRmaster" / "F_001.tif")
    _, rows = read(tmp_path)
    assert [row.image_id for row in rows] == [
        f"issue/OCRmaster/F_001{name}" for name in ("", "/B2", "/B3")
    ]


NONSENSE = (
    "-1",
    "1e308",
    "nan",
    "0",
    "",
    "x",
    "9" * 400,
    "../../etc/passwd",
    "%00",
    "..",
    "[]",
    "<",
)


def damage(text: str, generator: random.Random) -> str:
    """Replace values by nonsense, and leave out or repeat parts."""
    for _ in range(generator.randint(1, 4)):
        values = list(re.finditer(r'(?<=")[^"]*(?=")|[0-9]+', text))
        start = generator.randrange(len(text))
        end = start + generator.randint(1, 200)
        if generator.random() < 0.6 and values:
            start, end = generator.choice(values).span()
            text = text[:start] + generator.choice(NONSENSE) + text[end:]
        elif generator.random() < 0.5:
            text = text[:start] + text[end:]
        else:
            text = text[:end] + text[start:]
    return text


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
def test_damaged_descriptions_are_refused_or_read_and_never_crash(profile, tmp_path):
    generator = random.Random(profile.name)
    profile.write(tmp_path)
    descriptions = [path for path in tmp_path.rglob("*") if path.suffix in {".xml", ".json"}]
    whole = {path: path.read_text(encoding="utf-8") for path in descriptions}
    for _ in range(40):
        for path, text in whole.items():
            path.write_text(damage(text, generator), encoding="utf-8")
        with contextlib.suppress(errors.HalftoneError):
            _, rows = read(tmp_path, layout=Layout.NEVER)
            assert all(row.error or row.image for row in rows)


def test_further_pages_of_a_scan_are_not_lost_without_a_word(tmp_path):
    SBB.write(tmp_path)
    scan = tmp_path / "OCRmaster" / "F_001.tif"
    with Image.open(scan) as image:
        first = image.convert("L")
    first.save(scan, save_all=True, append_images=[Image.new("L", first.size, 90)] * 2)
    source, rows = read(tmp_path)
    assert len(rows) == 3
    assert source.remarks == [f"{scan} has 3 pages; only the first is imported."]
    assert [row.notes for row in rows] == [tuple(source.remarks), (), ()]


def test_every_scan_with_further_pages_is_listed(tmp_path):
    """However many there are: the remarks stop after a few."""
    for number in range(25):
        # Copies: Pillow keeps with a picture how it was saved last, by whatever test.
        first, second = scene(3).copy(), scene(4).copy()
        first.save(tmp_path / f"{number}.tif", save_all=True, append_images=[second])
    source, rows = read(tmp_path, layout=Layout.NEVER)
    assert len(source.remarks) < 25
    assert [row.image_id for row in rows if row.notes] == [str(number) for number in range(25)]


def test_each_pdf_among_page_scans_is_rejected(tmp_path):
    SBB.write(tmp_path / "1890")
    scene(3).save(tmp_path / "1890" / "extra.pdf")
    scene(3).save(tmp_path / "supplement.PDF")
    # A copy of a page, as many libraries keep beside it, is no page of its own.
    (tmp_path / "1890" / "pdf").mkdir()
    scene(3).save(tmp_path / "1890" / "pdf" / "F_001.pdf")
    _, rows = read(tmp_path)
    bad = [row for row in rows if row.error]
    assert [row.image_id for row in bad] == ["1890/extra.pdf", "supplement.PDF"]
    assert all("is a PDF among page scans" in row.error.message for row in bad)
    assert [row.number for row in rows] == list(range(1, len(rows) + 1))
