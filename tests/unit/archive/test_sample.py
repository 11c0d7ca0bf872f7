"""The sample archive and the contact sheets, without the press simulation."""

from __future__ import annotations

import dataclasses
import io

import pytest
from PIL import Image

from halftone.archive import dates, manifests, sample
from halftone.client import Client, Region
from halftone.rendering import contact_sheet
from tests.support.client.fake_search import FakeSearch


def plain(image, *, seed, caption, mirror):
    return image.rotate(seed % 3).resize((120, 90))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "sample"
    sample.make(folder, reprint=plain)
    return folder


def test_its_manifest_is_like_any_other(folder):
    rows = list(manifests.read_manifest(folder, archive="sample"))
    assert [row.error for row in rows if row.error] == []
    assert 60 <= len(rows) <= 80
    for row in rows:
        dates.parse(row.image.date, field="date")


def test_each_photograph_is_printed_in_several_journals_and_others_once(folder):
    by_photograph: dict[str, list[str]] = {}
    for row in manifests.read_manifest(folder, archive="sample"):
        (photograph,) = row.image.labels[sample.PHOTOGRAPH].values
        by_photograph.setdefault(photograph, []).append(row.image.journal)
    for photograph in sample.PHOTOGRAPHS:
        journals = by_photograph.pop(photograph.key)
        assert len(journals) == len(set(journals)) >= 4
        assert sample.query_path(folder, photograph.key).exists()
    assert all(len(journals) == 1 for journals in by_photograph.values())


def test_it_is_made_once(folder):
    def fails(*_arguments, **_options):
        raise AssertionError("it is there already")

    sample.make(folder, reprint=fails)


def test_it_is_the_same_every_time(folder, tmp_path):
    sample.make(tmp_path / "again", reprint=plain)
    manifest = (tmp_path / "again" / "manifest.csv").read_bytes()
    assert manifest == (folder / "manifest.csv").read_bytes()


@pytest.fixture
def section():
    with FakeSearch() as fake, Client(fake.address) as client:
        fake.add("archives/a/images/1", journal="<b>J & K</b>", date="1914", caption="x" * 200)
        fake.add("archives/a/images/2")
        query = Image.new("RGB", (800, 600), "grey")
        page = client.search(query)
        return contact_sheet.fetch_section(
            client,
            query=query,
            hits=page.hits,
            title="A question",
            crop=Region(100, 100, 200, 200),
            is_right=lambda hit: hit.image.image_id == "1",
        )


def test_a_crop_of_a_large_photograph_is_framed_where_it_lies(tmp_path):
    picture = Image.new("L", (2400, 1600), 128)
    picture.paste(16, (1200, 400, 1800, 1200))
    path = tmp_path / "large.jpg"
    picture.save(path)
    with FakeSearch() as fake, Client(fake.address) as client:
        found = contact_sheet.fetch_section(
            client, query=path, hits=(), title="A question", crop=Region(1200, 400, 600, 800)
        )
    part = "searched by the framed part, 1200,400,600,800"
    assert found.query.lines == ("2400 x 1600 pixels", part)
    shown = Image.open(io.BytesIO(found.query.picture)).convert("RGB")
    scale = shown.width / 2400
    at = [
        shown.getpixel((round(x * scale), round(y * scale))) for x, y in ((1500, 800), (600, 800))
    ]
    assert max(at[0]) < 30
    assert min(at[1]) > 190
    red, green, _ = shown.getpixel((round(1500 * scale), round(400 * scale) + 2))
    assert red > green + 60


def test_a_sliver_is_framed_as_well(tmp_path):
    path = tmp_path / "large.jpg"
    Image.new("L", (4000, 3000), 128).save(path)
    with FakeSearch() as fake, Client(fake.address) as client:
        for crop in (Region(1000, 0, 1, 3000), Region(3999, 2999, 1, 1)):
            contact_sheet.fetch_section(client, query=path, hits=(), title="A question", crop=crop)


def test_the_page_is_self_contained_and_escaped(section, tmp_path):
    first, second = section.hits
    turned = dataclasses.replace(first, orientation="mirrored")
    section = dataclasses.replace(section, hits=(turned, second))
    contact_sheet.write_html([section], path=tmp_path / "x.html", title="T")
    page = (tmp_path / "x.html").read_text()
    assert "&lt;b&gt;J &amp; K&lt;/b&gt;" in page
    assert "://" not in page  # base64 may hold the letters of http
    assert page.count("same picture") == page.count("another picture") == 1
    assert page.count('class="tag oriented"') == 1


def test_the_picture_of_it(section, tmp_path):
    contact_sheet.write_png([section, section], path=tmp_path / "x.png", title="T", note="n")
    with Image.open(tmp_path / "x.png") as sheet:
        sheet.load()
        assert sheet.width > 1000
        assert len(sheet.convert("L").getcolors()) > 20
