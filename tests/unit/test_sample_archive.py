"""The sample archive and the contact sheets, without the press simulation."""

from __future__ import annotations

import pytest
from PIL import Image

from halftone import archive, contact_sheet, dates, sample_archive
from halftone.client import Client, Region
from tests.fake_search import FakeSearch


def plain(image, *, seed, caption, mirror):
    return image.rotate(seed % 3).resize((120, 90))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "sample"
    sample_archive.make(folder, reprint=plain)
    return folder


def test_its_manifest_is_like_any_other(folder):
    rows = list(archive.read_manifest(folder, archive="sample"))
    assert [row.error for row in rows if row.error] == []
    assert 60 <= len(rows) <= 80
    for row in rows:
        dates.parse(row.image.date, field="date")


def test_each_photograph_is_printed_in_several_journals_and_others_once(folder):
    by_photograph: dict[str, list[str]] = {}
    for row in archive.read_manifest(folder, archive="sample"):
        (photograph,) = row.image.labels[sample_archive.PHOTOGRAPH].values
        by_photograph.setdefault(photograph, []).append(row.image.journal)
    for photograph in sample_archive.PHOTOGRAPHS:
        journals = by_photograph.pop(photograph.key)
        assert len(journals) == len(set(journals)) >= 4
        assert sample_archive.query_path(folder, photograph.key).exists()
    assert all(len(journals) == 1 for journals in by_photograph.values())


def test_it_is_made_once(folder):
    def fails(*_arguments, **_options):
        raise AssertionError("it is there already")

    sample_archive.make(folder, reprint=fails)


def test_it_is_the_same_every_time(folder, tmp_path):
    sample_archive.make(tmp_path / "again", reprint=plain)
    manifest = (tmp_path / "again" / "manifest.csv").read_bytes()
    assert manifest == (folder / "manifest.csv").read_bytes()


@pytest.fixture
def section():
    with FakeSearch() as fake, Client(fake.address) as client:
        fake.add("archives/a/images/1", journal="<b>J & K</b>", date="1914", caption="x" * 200)
        fake.add("archives/a/images/2")
        query = Image.new("RGB", (800, 600), "grey")
        page = client.search(query)
        return contact_sheet.section_of(
            client,
            query=query,
            hits=page.hits,
            title="A question",
            crop=Region(100, 100, 200, 200),
            is_right=lambda hit: hit.image.image_id == "1",
        )


def test_the_page_is_self_contained_and_escaped(section, tmp_path):
    contact_sheet.write_html([section], path=tmp_path / "x.html", title="T")
    page = (tmp_path / "x.html").read_text()
    assert "&lt;b&gt;J &amp; K&lt;/b&gt;" in page
    assert "http" not in page
    assert page.count("same picture") == page.count("another picture") == 1
    assert page.count('class="tag oriented"') == 1


def test_the_picture_of_it(section, tmp_path):
    contact_sheet.write_png([section, section], path=tmp_path / "x.png", title="T", note="n")
    with Image.open(tmp_path / "x.png") as sheet:
        sheet.load()
        assert sheet.width > 1000
        assert len(sheet.convert("L").getcolors()) > 20
