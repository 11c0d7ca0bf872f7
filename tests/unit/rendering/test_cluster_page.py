"""The page of a cluster: what it says, what it leaves alone, where it lays pictures."""

from __future__ import annotations

import datetime as dt
import html.parser
import itertools
import re

import pytest

from halftone.client import Client
from halftone.rendering import cluster_page, timelines
from halftone.v1 import search_pb2
from tests.support.client.fake_clusters import WIDTH, FakeClusters

NOW = dt.datetime(2025, 5, 6, tzinfo=dt.UTC)
VOID = {"meta", "img", "input", "br", "polygon"}


class Page(html.parser.HTMLParser):
    """Elements with their attributes, and that they are closed in order."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.words = [], [], ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in {"style", "script"}:
            self.words += data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def fake():
    with FakeClusters() as server:
        yield server


@pytest.fixture
def client(fake):
    with Client(fake.address) as connected:
        yield connected


def written(client, name, path):
    found = client.cluster(name)
    pictures = cluster_page.fetch_thumbnails(client, found)
    return cluster_page.write_page(found, pictures=pictures, path=path, now=NOW)


def test_one_file_holds_everything(fake, client, tmp_path):
    names = fake.story()
    path = written(client, names[0], tmp_path / "life.html")
    page = Page(path.read_text())
    assert path.name == "life.html"
    assert list(tmp_path.iterdir()) == [path]
    sources = [image["src"] for image in page.all("img") if "src" in image]
    assert len(sources) == 5
    assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
    for words in ("5 printings in 3 journals, 1898 to 1909", "about 11 years later", "1 May 1898"):
        assert words in page.words
    assert "Earliest known printing" in page.words
    assert "Without a date" in page.words


def test_nothing_is_fetched_and_only_this_script_may_run(fake, client, tmp_path):
    names = fake.story()
    text = written(client, names[0], tmp_path / "life.html").read_text()
    page = Page(text)
    policy = page.all("meta")[2]["content"]
    assert "default-src 'none'" in policy
    assert re.search(r"script-src 'sha256-[A-Za-z0-9+/]{43}='", policy)
    assert not page.all("link")
    assert not any("src" in script for script in page.all("script"))
    # Links lead within the page, or where a record says it came from.
    targets = {anchor["href"] for anchor in page.all("a") if not anchor["href"].startswith("#")}
    assert targets == {"https://archive.example/woche/2.jpg"}


def test_what_records_say_is_text(fake, client, tmp_path):
    evil = "<script>alert(1)</script>\" onload='x' </style>"
    a = fake.add_printing(
        "a", date="1900", journal=evil, caption=evil, page=evil, rights=evil, source_uri=evil
    )
    b = fake.add_printing("b", journal="B", caption="x", source_uri="javascript:alert(1)")
    fake.link(a, b)
    page = Page(written(client, a, tmp_path / "x.html").read_text())
    assert evil in page.words
    assert len(page.all("script")) == 1
    assert not any("onload" in attributes for _, attributes in page.elements)
    assert not any("javascript" in anchor["href"] for anchor in page.all("a"))


def test_pictures_have_words_and_controls_have_labels(fake, client, tmp_path):
    names = fake.story()
    page = Page(written(client, names[0], tmp_path / "x.html").read_text())
    shown = [image for image in page.all("img") if "src" in image]
    assert shown[0]["alt"] == "Printing 1 of 1 May 1898, The Sphere"
    assert shown[4]["alt"] == "Printing 5, journal unknown"
    assert page.all("html")[0]["lang"] == "en"
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for anchor in page.all("a"):
        assert not anchor["href"].startswith("#") or anchor["href"][1:] in ids


def test_a_directory_has_the_pictures_beside_the_page(fake, client, tmp_path):
    names = fake.story()
    path = written(client, names[0], tmp_path / "life")
    assert path == tmp_path / "life" / "index.html"
    pictures = sorted((tmp_path / "life" / "pictures").iterdir())
    assert [picture.name for picture in pictures] == [f"{n:04}.jpg" for n in range(1, 6)]
    assert pictures[0].read_bytes() == fake.thumbnails[names[0]]
    assert "data:image" not in path.read_text()
    assert 'src="pictures/0001.jpg"' in path.read_text()


def numbers(text):
    return [float(value) for value in text.split(",")]


def css(text, x, y):
    """A point through CSS's matrix3d, which is written column by column."""
    m = numbers(text)
    w = m[3] * x + m[7] * y + m[15]
    return (m[0] * x + m[4] * y + m[12]) / w, (m[1] * x + m[5] * y + m[13]) / w


def test_pictures_lie_on_the_earliest_as_their_links_say(fake, client, tmp_path):
    """Thumbnails are half the pictures' size; the earliest printing is 800 by 600 pixels."""
    names = fake.story()
    page = Page(written(client, names[0], tmp_path / "x.html").read_text())
    options = {each["value"]: each for each in page.all("option") if "data-over" in each}
    assert sorted(options) == ["2", "3", "4", "5"]
    mirror, crop = options["2"], options["3"]
    for option in (mirror, crop):
        assert (float(option["data-width"]), float(option["data-height"])) == (720.0, 540.0)
        assert css(option["data-under"], WIDTH, 0) == pytest.approx((720, 0))
    # The left edge of the mirrored printing is the right edge of the picture.
    assert css(mirror["data-over"], 0, 0) == pytest.approx((720, 0), abs=1e-3)
    # The crop is the right half.
    assert css(crop["data-over"], 0, 0) == pytest.approx((360, 0), abs=1e-3)
    assert css(crop["data-over"], 200, 300) == pytest.approx((720, 540), abs=1e-3)
    assert crop["data-outline"].split()[0] == "360.0,0.0"
    # The slider parts what is seen of the other printing: all of the mirror, the crop's half.
    assert (mirror["data-start"], crop["data-start"]) == ("50", "25")
    assert "through 1 other printing" in options["4"]["data-said"]
    assert "through 2 other printings" in options["5"]["data-said"]


def test_a_negative_is_said_to_be_one(fake, client, tmp_path):
    first = fake.add_printing("first", date="1900")
    fake.link(first, fake.add_printing("film", date="1950"), negative=True)
    page = Page(written(client, first, tmp_path / "x.html").read_text())
    assert "Negative" in page.words
    assert "one a negative of the other" in page.words
    option = next(each for each in page.all("option") if each["value"] == "2")
    assert "One is a negative of the other." in option["data-said"]


def test_images_with_the_same_bytes_lie_alike(fake, client, tmp_path):
    """What was found by comparing one of them holds for the other; nothing lies between the two."""
    first, mirror, *_ = fake.story()
    for original, copy, date in ((first, "first", "1920"), (mirror, "mirror", "1921")):
        name = fake.add_printing(copy, date=date, journal="Copies")
        for each in (original, name):
            fake.records[each].content_sha256 = f"bytes of {copy}"
        fake.link(
            *(original, name),
            probability=1.0,
            relation=search_pb2.Hit.SAME_SCAN,
            verified=False,
        )
    page = Page(written(client, first, tmp_path / "x.html").read_text())
    options = {each["value"]: each for each in page.all("option") if "data-over" in each}
    second, same, mirrored = options["2"], options["5"], options["6"]
    assert same["data-over"] == same["data-under"]
    assert same["data-said"] == "No. 5 is the very same file as the earliest printing."
    for key in ("data-over", "data-under", "data-outline"):
        assert mirrored[key] == second[key]
    assert mirrored["data-said"] == second["data-said"].replace("no. 2", "no. 6")
    assert "with a probability of 1.000; the very same file." in page.words
    assert page.words.count("Beside no. 1: the same picture with a probability of 0.998; 40") == 2


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_the_caption_of_a_plate_is_no_title_of_a_picture_on_it(fake, client, share):
    plate = fake.add_printing("plate", date="1900", caption="A house, and the mill of which")
    alone = fake.add_printing("alone", date="1901", caption="A house")
    nameless = fake.add_printing("nameless", date="1899")
    fake.link(plate, alone, query_share=share)
    fake.link(nameless, plate, image_share=share)
    title = cluster_page._choose_title(client.cluster(plate))
    assert title == ("A house" if share < 0.6 else "A house, and the mill of which")
    fake.records[alone].caption = ""
    assert cluster_page._choose_title(client.cluster(plate)) == "A house, and the mill of which"


def test_without_homographies_there_is_no_light_table(fake, client, tmp_path):
    names = fake.story()
    text = written(client, names[5], tmp_path / "x.html").read_text()
    assert "light-table" not in Page(text).words
    assert "<script" not in text
    assert "Not compared by details." in text


def test_a_picture_that_is_gone_is_said(fake, client, tmp_path):
    names = fake.story()
    found = client.cluster(names[0])
    pictures = cluster_page.fetch_thumbnails(client, found)
    del pictures[names[0]]
    page = cluster_page.write_page(found, pictures=pictures, path=tmp_path / "x.html", now=NOW)
    assert "No picture could be had." in page.read_text()


def test_a_picture_that_the_archive_does_not_show_is_not_on_the_page(fake, client, tmp_path):
    names = fake.story()
    fake.records[names[0]].show = search_pb2.Image.NONE
    found = client.cluster(names[0])
    pictures = cluster_page.fetch_thumbnails(client, found)
    assert names[0] not in pictures
    page = cluster_page.write_page(found, pictures=pictures, path=tmp_path / "x.html", now=NOW)
    assert "The archive does not show this picture." in page.read_text()


def test_marks_of_a_lane_do_not_cover_each_other(fake, client):
    names = [
        fake.add_printing(f"n{day}", date=f"1900-01-{day:02}", journal="J") for day in (1, 2, 3)
    ]
    names.append(fake.add_printing("late", date="1950", journal="J"))
    for a, b in itertools.pairwise(names):
        fake.link(a, b)
    axis = cluster_page._place_axis(timelines.list_printings(client.cluster(names[0])))
    (lane,) = axis["lanes"]
    assert [mark["top"] for mark in lane["marks"]] == [0.4, 2.3, 4.2, 0.4]
    assert axis["band"]["label"] == "about 50 years"
    assert all(0 <= mark["left"] <= 100 for mark in lane["marks"])


def test_a_weak_link_beyond_the_table_is_still_shown(fake, client):
    names = [fake.add_printing(f"{number:02}", date="1900") for number in range(22)]
    for a, b in itertools.combinations(names[:-1], 2):
        fake.link(a, b)
    fake.link(names[0], names[-1], probability=0.6)
    found = client.cluster(names[0])
    page = Page(cluster_page.render(found, pictures={}, sources={}, now=NOW))
    assert "The first 200 of 211." in page.words
    assert "The weakest link." in page.words
    assert page.words.count("Weakest link: 0.600") == 2


def test_a_crop_is_one_of_the_two(fake, client, tmp_path):
    """The link's query is no. 3, the crop; the table begins with the earlier printing."""
    names = fake.story()
    words = Page(written(client, names[0], tmp_path / "x.html").read_text()).words
    assert "no. 1 contains no. 3" in words
    assert "crop of" not in words


def test_a_verdict_is_named_as_such(fake, client, tmp_path):
    a = fake.add_printing("a", date="1900", journal="A")
    b = fake.add_printing("b", date="1901", journal="B")
    client.judge(a, b, "same")
    text = Page(written(client, a, tmp_path / "x.html").read_text()).words
    assert "an archivist says: same" in text
    # Nothing was compared: there is no probability to be told.
    assert "Beside no. 1: the same picture; an archivist says: same." in text
    assert "1.000" not in text.partition("What holds them together")[2]
    assert text.count("Judged to be the same") == 2
    assert "Nothing but what archivists said holds them together." in text


def test_what_differs_is_a_layer_with_a_switch_and_a_list(fake, client, tmp_path):
    """The list stands in the printing's card, where it is read without scripts."""
    first, mirror, crop, *_ = fake.story()
    # The crop, a later printing, is the query of its link.
    fake.differ(crop, first, boxes=((10, 20, 110, 80), (410, 20, 510, 80)), share=0.0321)
    fake.differ(crop, first, boxes=((-5, 500, 60, 610), (395, 500, 460, 610)), certainty=0.6)
    # Of the mirrored printing it is the earliest.
    fake.differ(first, mirror, boxes=((0, 0, 100, 50), (700, 0, 800, 50)), certainty=0.8)
    page = Page(written(client, first, tmp_path / "x.html").read_text())
    options = {each["value"]: each for each in page.all("option") if "data-over" in each}
    assert len(options["3"]["data-differing"].split(";")) == 2
    assert options["2"]["data-differing"].startswith("0.0,0.0 90.0,0.0")
    assert options["4"]["data-differing"] == ""
    assert "likely, 3% of the shared part: 0,0,100,50 of no. 1, 700,0,100,50 of no. 2" in page.words
    assert "nearly certain, 3% of the shared part: 410,20,100,60 of no. 1, " in page.words
    assert "10,20,100,60 of no. 3 (x,y,w,h in pixels)" in page.words
    assert "possible, 3% of the shared part: 395,500,65,100 of no. 1, 0,500,60,100" in page.words
    lists = [each.get("id") for each in page.all("ol") if each.get("class") == "differences"]
    assert lists == ["places", "differences-2", "differences-3"]
    # In the card's tag and evidence, and beside the link.
    assert page.words.count("Differs in 2 places") == 1
    assert page.words.count(", differs in 2 places") == 2
    (switch,) = [each for each in page.all("input") if each["id"] == "differing"]
    assert (switch["type"], "checked" in switch) == ("checkbox", True)
    assert "Mark what differs" in page.words


def test_two_that_are_probably_different_have_no_life_in_common(fake, client, tmp_path):
    a = fake.add_printing("a", date="1900", journal="A", caption="A ship")
    b = fake.add_printing("b", date="1901", journal="B", caption="A house")
    fake.link(a, b, probability=0.02, relation=search_pb2.Hit.SHARED_ELEMENTS)
    words = Page(written(client, a, tmp_path / "x.html").read_text()).words
    for said in ("Different pictures", "2 pictures in 2 journals", "What they share"):
        assert said in words
    assert "on elements that pictures share, such as a frame or type" in words
    for unsaid in ("Earliest known printing", "When and where", "What holds them together"):
        assert unsaid not in words
    client.judge(a, b, "same")
    judged = Page(written(client, a, tmp_path / "x.html").read_text()).words
    assert "Earliest known printing" in judged
    assert "Different pictures" not in judged
