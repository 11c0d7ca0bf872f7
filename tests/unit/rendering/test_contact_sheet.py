"""Contact sheets: what they show, and that nothing is covered or runs off the edge."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from halftone.client import Client, Difference, Overlap, Region, Verification
from halftone.rendering import contact_sheet, fonts
from halftone.v1 import search_pb2
from tests.support.client.fake_search import JPEG, FakeSearch


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


def test_rights_stand_below_a_picture_and_a_hidden_one_is_not_on_the_sheet(tmp_path):
    hidden = "archives/a/images/2"
    with FakeSearch() as fake, Client(fake.address) as client:
        fake.add("archives/a/images/1", rights="Stadtarchiv <Neustedt>")
        fake.add(hidden, show=search_pb2.Image.NONE)
        page = client.search(hidden)
        found = contact_sheet.fetch_section(
            client, query=hidden, hits=page.hits, title="A question"
        )
    assert found.query.picture != JPEG
    assert [hit.picture == JPEG for hit in found.hits] == [True]
    contact_sheet.write_html([found], path=tmp_path / "x.html", title="Hits")
    assert "Stadtarchiv &lt;Neustedt&gt;" in (tmp_path / "x.html").read_text()
    bare = dataclasses.replace(
        found, hits=tuple(dataclasses.replace(hit, rights="") for hit in found.hits)
    )
    for name, section in (("with", found), ("without", bare)):
        contact_sheet.write_png([section], path=tmp_path / f"{name}.png", title="Hits")
    heights = []
    for name in ("with", "without"):
        with Image.open(tmp_path / f"{name}.png") as sheet:
            heights.append(sheet.height)
    assert heights[0] > heights[1]


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


def make_card(**fields):
    buffer = io.BytesIO()
    Image.new("L", (400, 400), 128).save(buffer, format="JPEG")
    return contact_sheet.Card(picture=buffer.getvalue(), title="J", **fields)


def draw(tmp_path, **fields):
    section = contact_sheet.SearchSection(
        **{"title": "Q", "note": "", "query": make_card(), "hits": (), **fields}
    )
    contact_sheet.write_png([section], path=tmp_path / "x.png", title="T")
    with Image.open(tmp_path / "x.png") as sheet:
        return np.asarray(sheet.convert("L")).astype(int)


def test_a_badge_covers_no_picture(tmp_path):
    """The grey of the square picture is seen whole below the badge."""
    sheet = draw(tmp_path, hits=(make_card(badge="0.997 a relation that is as long as a card"),))
    query, hit = sheet[:, :210], sheet[:, 235:430]
    for part in (query, hit):
        grey = np.abs(part - 128) < 4
        rows = grey[grey.sum(axis=1) > 100]
        columns = rows.any(axis=0)
        assert len(rows) == columns.sum() > 140
        assert rows[:, columns].mean() > 0.98
    tag = '<span class="badge">'
    section = contact_sheet.SearchSection(
        title="Q", note="", query=make_card(), hits=(make_card(badge="0.997"),)
    )
    contact_sheet.write_html([section], path=tmp_path / "x.html", title="T")
    page = (tmp_path / "x.html").read_text()
    assert "position: absolute" not in page
    assert page.index(tag) < page.rindex("<img ")


def test_an_unlikely_hit_is_dimmed(tmp_path):
    sheet = draw(tmp_path, hits=(make_card(faint=True),))
    assert np.any(np.abs(sheet[:, :210] - 128) < 4)
    assert not np.any(np.abs(sheet[:, 235:430] - 128) < 4)


def test_a_long_command_stays_on_the_sheet(tmp_path):
    short = draw(tmp_path)
    command = "halftone search --journal 'The Larkhaven Courier' " * 8
    long = draw(tmp_path, title="/a/path/" + 300 * "x", note=command)
    assert long.shape[1] == short.shape[1]
    assert long.shape[0] > short.shape[0] + 60
    paper = short[0, 0]
    assert np.all(long[:, -30:] == paper)


class TestWrap:
    def test_breaks_between_words(self):
        font = fonts.load(15)
        text = "a few words that are too long for one line of so many pixels"
        lines = fonts.wrap(text, font=font, width=120)
        assert " ".join(lines) == text
        assert len(lines) > 3
        assert all(font.getlength(line) <= 120 for line in lines)

    def test_breaks_a_path_anywhere(self):
        font = fonts.load(15)
        path = "/home/somebody/" + 60 * "p"
        lines = fonts.wrap(f"search {path} here", font=font, width=120)
        assert "".join(lines).replace(" ", "") == f"search{path}here"
        assert all(font.getlength(line) <= 120 for line in lines)

    def test_nothing_is_a_line_of_nothing(self):
        assert fonts.wrap("", font=fonts.load(15), width=9) == [""]
        assert fonts.wrap("x", font=fonts.load(15), width=1) == ["x"]


def test_a_likely_hit_that_differs_is_tagged(tmp_path):
    whole = Overlap(inlier_count=20, homography=(), differences=(Difference(), Difference()))
    tags = []
    with FakeSearch() as fake, Client(fake.address) as client:
        fake.add("archives/a/images/1")
        (hit,) = client.search(Image.new("RGB", (80, 60))).hits
        for probability in (0.9, 0.1):
            differing = dataclasses.replace(
                hit, probability=probability, verification=Verification(overlaps=(whole,))
            )
            section = contact_sheet.fetch_section(
                client, query=Image.new("RGB", (80, 60)), hits=[differing], title="Q"
            )
            contact_sheet.write_html([section], path=tmp_path / "x.html", title="T")
            tags.append((tmp_path / "x.html").read_text().count(">differs in 2 places</span>"))
    assert tags == [1, 0]


def test_what_is_said_of_a_hit_that_differs_fits_below_it(tmp_path):
    fields = {"lines": ("date", "caption"), "orientation": "mirrored", "right": True}
    plain = draw(tmp_path, hits=(make_card(**fields),))
    differing = draw(tmp_path, hits=(make_card(differing="differs in 2 places", **fields),))
    assert differing.shape[0] > plain.shape[0]
    # The lowest line of text is whole: paper is below it.
    assert np.ptp(differing[-6:, 230:430]) < 12
    ink = (differing[:, 235:430] < 200).any(axis=1)
    assert np.flatnonzero(ink).max() > plain.shape[0] - 20
