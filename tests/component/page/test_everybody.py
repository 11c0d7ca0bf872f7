"""Nobody is barred from the page, whatever its texts are, and it is light."""

from __future__ import annotations

import io
from urllib.parse import quote

import pytest
from PIL import Image

from tests.support import hostile
from tests.support.client.chromium import Reader
from tests.support.client.fake_search import verdict


@pytest.fixture
def states(pages, fake):
    """Addresses of what pages look like when something else is the case."""
    first, second = fake.names[:2]
    taken_back = verdict(first, second, name="verdicts/6")
    taken_back.end_time.FromJsonString("2026-01-01T12:00:00Z")
    fake.verdicts += [taken_back, verdict(first, second)]
    saved = f"saved=7&judged_a={first}&judged_b={second}"
    yield {
        "a part": f"/search?image={first}&region=20,20,300,200&journal=Die+Woche&date=1890/1950",
        "nothing found": f"/search?image={first}&journal=None+such",
        "no date": "/images?date=yesterday",
        "swipe": pages["overlay"].replace("overlay", "swipe"),
        "blink": pages["overlay"].replace("overlay", "blink"),
        "difference": pages["overlay"].replace("overlay", "difference"),
        "saved": f"{pages['compare']}&saved=7",
        "of the queue": f"{pages['compare']}&place=2&left=3&{saved}",
        "taken back": f"{pages['compare']}&undone=6",
        "no such cluster": "/clusters?size=999",
        "gone": "/imports/0",
    }
    fake.verdicts.clear()


# What opens what is folded away, and the list of keys.
OPEN = """
  for (const details of document.querySelectorAll("details")) details.open = true;
"""


def find_ways_barred(reader, addresses, *, widths, dark=("color-contrast",)):
    """Return what axe finds on pages, in light and in dark, and which are wider than the window."""
    barriers = {}
    for name, path in addresses.items():
        reader.go(path)
        reader.page.evaluate(OPEN)
        found = reader.find_barriers()
        reader.page.emulate_media(color_scheme="dark")
        found += reader.find_barriers(*dark)
        reader.page.emulate_media(color_scheme="light")
        for width in widths:
            reader.page.set_viewport_size({"width": width, "height": 800})
            if reader.measure_overflow():
                found.append(f"wider than {width} pixels")
        reader.page.set_viewport_size({"width": 1024, "height": 800})
        if found:
            barriers[name] = found
    return barriers


@pytest.mark.soak
def test_nothing_stands_in_anybodys_way(browser, served, pages, states):
    """No barrier that axe knows of, in light and in dark, and no page wider than its window."""
    some = {name: states[name] for name in ("a part", "nothing found", "of the queue")}
    with Reader(browser, served.address, reduced_motion="reduce") as reader:
        assert not find_ways_barred(reader, pages | some, widths=(320, 2560))
        reader.page.keyboard.press("?")
        assert not reader.find_barriers()


@pytest.mark.soak
@pytest.mark.parametrize("language", ["en", "de", "fr"])
def test_nothing_stands_in_anybodys_way_in_any_language(
    browser, served, pages, states, hostile_records, language
):
    hostile_one = quote(hostile_records[1])
    addresses = {
        **pages,
        **states,
        "a hostile record": f"/image?name={hostile_one}",
        "hostile printings": f"/cluster?name={hostile_one}",
        "hostile results": f"/search?image={hostile_one}",
    }
    addresses = {
        name: f"{path}{'&' if '?' in path else '?'}lang={language}"
        for name, path in addresses.items()
    }
    with Reader(browser, served.address, reduced_motion="reduce") as reader:
        assert not find_ways_barred(
            reader, addresses, widths=(320, 360, 480, 768, 1280, 1920, 2560), dark=()
        )


@pytest.fixture
def hostile_records(fake):
    """Records whose fields are all hostile; they are printings of one picture."""
    names = [
        fake.add_printing(
            f"{number}/{text[:80]}",
            journal=text,
            caption=text,
            page=text[:200],
            language=text[:40],
            rights=text,
            source_uri=text[:200],
            date="1914",
        )
        for number, text in enumerate(hostile.TEXTS)
    ]
    for name, text in zip(names, hostile.TEXTS, strict=True):
        fake.records[name].labels[text[:60]].values.append(text)
        fake.link(names[0], name)
    yield names
    for name in names:
        del fake.records[name]
    for pair in [pair for pair in fake.links if not set(pair) <= fake.records.keys()]:
        del fake.links[pair]


@pytest.mark.parametrize("step", [6, pytest.param(1, marks=pytest.mark.soak)])
def test_no_text_of_a_record_or_of_an_address_is_more_than_a_text(
    browser, served, hostile_records, step
):
    """All records are on the first pages; the pages of each one are seen for some, or for all."""
    first = quote(hostile_records[0])
    paths = ["/images", f"/search?image={first}", f"/cluster?name={first}"]
    for name in map(quote, hostile_records[1::step]):
        paths += [f"/image?name={name}", f"/compare?a={first}&b={name}"]
    for text in hostile.TEXTS[::step]:
        paths += [f"/images?caption={quote(text)}", f"/search?image={quote(text)}"]
    with Reader(browser, served.address) as reader:
        assert not [fault for path in paths for fault in reader.look(path)]


def test_pages_are_light(reader, pages):
    for name, path in pages.items():
        answer = reader.page.request.get(reader.address + path)
        assert len(answer.body()) < 100_000, name


def test_the_searched_picture_beside_a_hit_is_small(browser, served, fake):
    """Also a very wide one, whose words stand beside it and not one letter a line."""
    wide = io.BytesIO()
    Image.new("L", (512, 90), 128).save(wide, "JPEG")
    name = fake.add_printing("0/wide", thumbnail=wide.getvalue())
    fake.overlap = {"query_share": 0.1}
    try:
        with Reader(browser, served.address) as reader:
            reader.go(f"/search?image={name}&lang=de")
            reader.page.locator(".inset").first.wait_for()
            for width, media in ((360, "screen"), (1280, "screen"), (794, "print")):
                reader.page.set_viewport_size({"width": width, "height": 800})
                reader.page.emulate_media(media=media)
                hit, inset, words = (
                    reader.page.locator(f".card:has(.inset) {each}").first.bounding_box()
                    for each in (".picture img", ".inset img", ".inset > span:last-child")
                )
                assert inset["width"] < hit["width"] / 2
                assert words["height"] < 60, "one letter a line"
                assert not reader.measure_overflow()
    finally:
        fake.overlap = {}
        del fake.records[name], fake.thumbnails[name]
