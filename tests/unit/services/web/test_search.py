"""Dropping a picture, and what a search answers."""

from __future__ import annotations

import html
import io
import os
import re
import time
from urllib.parse import parse_qs, urlsplit

import pytest
from PIL import Image

from halftone.core import errors
from halftone.v1 import search_pb2
from tests.support.client import page
from tests.support.client.fake_clusters import FakeClusters, scene
from tests.support.client.fake_search import fails


def drop(browser, content=None, **fields):
    files = {"file": ("found.jpg", content or scene(), "image/jpeg")}
    return browser.post_form("/pictures", page="/", files=files, **fields)


def test_a_dropped_picture_has_an_address_that_another_browser_can_open(fake, tmp_path):
    with page.opened(fake, tmp_path / "web") as browser:
        answer = drop(browser)
        assert answer.status_code == 303
        address = answer.headers["location"]
        assert re.fullmatch(r"/search\?picture=[a-z2-7]{32}", address)
        # The same picture has the same address, and other pictures have others.
        assert drop(browser).headers["location"] == address
        assert drop(browser, scene(mirrored=True)).headers["location"] != address
    with page.opened(fake, tmp_path / "web") as other:
        found = other.get(address)
        assert found.status_code == 200
        assert "Found in" in found.text
        preview = re.search(r'src="(/pictures/[^"]+)"', found.text)[1]
        shown = other.get(preview)
        assert shown.headers["content-type"] == "image/jpeg"
        assert Image.open(io.BytesIO(shown.content)).size == (400, 300)


def test_a_script_is_told_the_address(browser):
    token = page.find_token(browser.get("/").text)
    answer = browser.post(
        "/pictures",
        files={"file": ("a", scene(), "image/jpeg")},
        headers={"accept": "application/json", "x-form-token": token},
    )
    assert answer.json()["address"].startswith("/search?picture=")


@pytest.mark.parametrize("content", [b"<svg onload=alert(1)>", b"GIF89a", b"x"])
def test_what_is_no_picture_is_refused_in_a_sentence_and_not_kept(browser, tmp_path, content):
    answer = drop(browser, content)
    assert answer.status_code == 400
    assert 'class="lead"' in answer.text
    assert not list(tmp_path.rglob("*.picture"))


def test_a_picture_that_is_too_large_is_refused_while_it_arrives(fake, tmp_path):
    with page.opened(fake, tmp_path, max_image_bytes=1000) as browser:
        answer = drop(browser, bytes(2 << 20))
        assert answer.status_code == 413
        assert "too much" in answer.text


def test_hits_say_what_they_are_and_how_sure_it_is(fake, browser):
    fake.likely = 0.995
    text = browser.get(f"/search?image={fake.names[0]}").text
    assert (
        "<strong>Almost surely the same picture</strong>: it contains the searched picture" in text
    )
    assert "0.995" in text
    # The shared part is drawn on the hit, in pixels of the full picture.
    assert '<polygon class="shared" points="0.0,0.0 50.0,0.0' in text


def test_a_detail_of_a_hit_is_searched_by_its_shared_part(fake, browser):
    text = browser.get(f"/search?image={fake.names[0]}").text
    found = re.findall(r'<a href="(/[^"]+)">(Search this detail|Search a part of it)</a>', text)
    # What was not compared shares nothing that is known; its picture is framed by hand.
    assert len(found) == len(fake.names) - 1
    assert [said for _, said in found[:2]] == ["Search this detail", "Search a part of it"]
    first, second = (html.unescape(address) for address, _ in found[:2])
    fake.requests.clear()
    detail = browser.get(first).text
    request = next(
        each for each in fake.requests if isinstance(each, search_pb2.SearchImagesRequest)
    )
    region = request.region
    assert (region.x, region.y, region.width, region.height) == (0, 0, 50, 40)
    name = parse_qs(urlsplit(first).query)["image"][0]
    width = fake.records[name].width
    assert f'name="w" type="number" inputmode="numeric" min="0" max="{width}" value="50"' in detail
    path, _, anchor = second.partition("#")
    assert f'id="{anchor}" action="/search"' in browser.get(path).text


def test_a_part_of_a_record_is_framed_without_a_script(fake, browser):
    text = browser.get(f"/image?name={fake.names[0]}&region=10,20,9000,200").text
    assert 'data-region="10,20,790,200"' in text
    numbers = re.findall(r'<input name="([xywh])"[^>]* value="(\d+)"', text)
    assert numbers == [("x", "10"), ("y", "20"), ("w", "790"), ("h", "200")]


def test_the_searched_part_is_in_the_address_and_in_the_search(fake, browser):
    name = fake.names[0]
    answer = browser.get(f"/search?image={name}&x=10&y=20&w=300&h=200")
    assert (
        answer.headers["location"]
        == f"/search?image={name.replace('/', '%2F')}&region=10%2C20%2C300%2C200"
    )
    browser.get(answer.headers["location"])
    request = next(
        each for each in fake.requests if isinstance(each, search_pb2.SearchImagesRequest)
    )
    assert (request.region.x, request.region.width) == (10, 300)


def test_a_filter_reaches_the_search_and_stays_in_every_link(fake, browser):
    address = f"/search?image={fake.names[0]}&journal=The+Sphere&date=1898/1920&caption=house"
    text = browser.get(address).text
    request = next(
        each for each in fake.requests if isinstance(each, search_pb2.SearchImagesRequest)
    )
    assert list(request.filter.journals) == ["The Sphere"]
    assert (request.filter.date.start, request.filter.date.end) == ("1898/1920", "1898/1920")
    assert request.filter.caption_text == "house"
    assert 'value="The Sphere" checked' in text
    assert 'value="1898/1920"' in text


def test_facets_of_a_field_are_counted_without_that_field(fake, browser):
    text = browser.get(f"/search?image={fake.names[0]}&journal=The+Sphere").text
    assert 'name="journal" value="Die Woche"' in text
    asked = [each for each in fake.requests if isinstance(each, search_pb2.CountFacetsRequest)]
    assert [tuple(each.filter.journals) for each in asked] == [("The Sphere",)]


def test_years_are_bars_that_lead_to_their_pictures(fake, browser):
    text = browser.get("/images").text
    bars = re.findall(r'<a href="/images\?date=([^"]+)" aria-label="([^"]+)"', text)
    assert 2 < len(bars) <= 32
    assert bars[0][1].startswith("1898: ")
    assert (
        sum(
            int(number) if number != "one" else 1
            for _, said in bars
            for number in re.findall(r": (\w+)", said)
        )
        == 6
    )
    chosen = browser.get(f"/images?date={bars[0][0]}").text
    assert re.search(r'<a href="/images\?"[^>]+ class="chosen"', chosen)


@pytest.mark.parametrize("fields", ["date=yesterday", "region=1,2,3", "region=a,b,c,d", "label=x"])
def test_a_wrong_field_is_a_refusal_that_names_it(fake, browser, fields):
    answer = browser.get(f"/search?image={fake.names[0]}&{fields}")
    assert answer.status_code == 400
    assert "<h1>" in answer.text


def test_nothing_found_says_what_was_looked_through(fake, browser):
    fake.likely = 0.0
    text = browser.get(f"/search?image={fake.names[0]}").text
    assert "No other printing was found." in text
    assert re.search(r"7 pictures were looked through\s+of 4 journals, from 1898 to 1921", text)


def test_furniture_is_said_to_be_furniture(fake, browser):
    fake.likely = 0.02
    original = fake._search

    def search(request):
        response = original(request)
        response.hits[0].relation = search_pb2.Hit.SHARED_ELEMENTS
        return response

    fake._search = search
    text = browser.get(f"/search?image={fake.names[0]}").text
    assert "One other picture shares printed furniture only" in text
    assert "Another picture that shares printed furniture" in text


def test_a_search_that_fails_late_says_so_on_the_page(fake, tmp_path):
    fake.faults["SearchImages"].append(fails(errors.Unavailable("The embedder does not answer.")))
    with page.opened(fake, tmp_path, wait_seconds=0.0) as browser:
        answer = browser.get(f"/search?image={fake.names[0]}")
    assert answer.status_code == 200
    assert "The embedder does not answer." in answer.text


def test_a_search_that_is_refused_in_time_has_the_status_of_it(fake, tmp_path):
    fake.faults["SearchImages"].append(fails(errors.Unavailable("The embedder does not answer.")))
    with page.opened(fake, tmp_path, wait_seconds=60.0) as browser:
        assert browser.get(f"/search?image={fake.names[0]}").status_code == 503


def test_an_expired_picture_says_how_its_address_works_again(browser):
    answer = browser.get("/search?picture=" + "a" * 32)
    assert answer.status_code == 404
    assert "Drop it again" in answer.text


def test_expired_pictures_go_while_nobody_drops_any(fake, tmp_path):
    with page.opened(fake, tmp_path / "web") as browser:
        assert drop(browser).status_code == 303
    (kept,) = (tmp_path / "web").rglob("*.picture")
    os.utime(kept, (0, 0))
    with page.opened(fake, tmp_path / "web") as browser:
        end = time.monotonic() + 60
        while kept.exists() or kept.with_suffix(".jpg").exists():
            assert time.monotonic() < end
            browser.get("/healthz")


def test_an_empty_archive_says_what_to_do(tmp_path):
    with FakeClusters() as empty, page.opened(empty, tmp_path) as browser:
        text = browser.get("/").text
        assert "The archive is empty" in text
        assert 'href="/import"' in text
        # It takes pictures itself.
        assert re.search(r'<form class="drop import" action="/imports"[^>]* data-import>', text)


def test_a_page_stays_light_however_many_journals_there_are(fake, browser):
    for number in range(200):
        fake.add_printing(f"x{number}", journal=f"Journal no. {number:03} of a large archive")
    for path in ("/images", f"/search?image={fake.names[0]}"):
        text = browser.get(path).text
        assert len(text) < 150_000
        assert text.count('type="checkbox" name="journal"') == 60
        # The others are typed, and chosen ones are among those that are shown.
        assert 'name="journal" autocomplete' in text
        sign = "&" if "?" in path else "?"
        text = browser.get(f"{path}{sign}journal=Journal+no.+199+of+a+large+archive").text
        assert 'value="Journal no. 199 of a large archive" checked' in text
    text = browser.get(f"/search?image={fake.names[0]}&journal=&label=").text
    assert "checked" not in re.sub(r"<dialog.*?</dialog>", "", text, flags=re.DOTALL)


def test_more_journals_than_are_counted_are_said_to_be_more(fake, browser):
    for number in range(1000):
        fake.add_printing(f"x{number}", journal=f"Journal {number}")
    assert "of more than 1,000 journals" in browser.get("/images").text
    assert "<dd>1,000+</dd>" in browser.get("/").text


def test_labels_that_occur_once_can_be_chosen_and_addresses_are_not_offered(fake, browser):
    for number in range(30):
        name = fake.add_printing(f"labelled/{number}", journal="Die Woche", date="1914")
        labels = fake.records[name].labels
        labels["rubric"].values.append("weekly" if number else "only once")
        labels["original_url"].values.append(f"https://example.org/{number}")
        labels["shelf"].values.append(f"{number:03}")
    text = browser.get("/images").text
    assert 'value="rubric=weekly"' in text
    assert 'value="rubric=only once"' in text
    assert "example.org" not in text
    assert 'value="shelf=' not in text
    # What is not offered can be typed.
    assert "there are the keys original_url, rubric, shelf" in text
    chosen = browser.get("/images?label=shelf=007&label=").text
    assert 'name="label" value="shelf=007" checked' in chosen
    assert "example.org" not in chosen
    record = browser.get("/image?name=archives/a/images/labelled/7").text
    assert 'href="/images?label=shelf%3D007"' in record
