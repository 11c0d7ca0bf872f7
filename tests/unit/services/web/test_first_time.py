"""What somebody new to the page stumbled upon: each is said, and leads on."""

from __future__ import annotations

import datetime as dt
import html
import re
from urllib.parse import parse_qs, urlsplit

from halftone.v1 import clusters_pb2


def test_a_wrong_value_leads_back_to_the_same_search_without_it(fake, browser):
    name = fake.names[0]
    answer = browser.get(f"/search?image={name}&journal=Die+Woche&date=14.8.1914&page=x")
    assert answer.status_code == 400
    back = html.unescape(re.search(r'href="([^"]+)">Back without', answer.text)[1])
    assert parse_qs(urlsplit(back).query) == {"image": [name], "journal": ["Die Woche"]}
    assert browser.get(back).status_code == 200
    answer = browser.get("/clusters?journals=many&size=2")
    assert 'href="/clusters?size=2">Back without' in answer.text
    # Where no value is to blame, there is none to leave out.
    assert "Back without" not in browser.get("/image?name=archives/a/images/none").text


def test_pictures_without_a_journal_are_named_by_their_files(fake, browser):
    plain = fake.add_printing("scans/7.jpg")
    other = fake.add_printing("scans/8.jpg")
    fake.link(plain, other, probability=0.91)
    for address in ("/images", "/judge", "/clusters", f"/image?name={plain}"):
        text = browser.get(address).text
        shown = re.sub(r"<[^>]*>", " ", text)
        assert "scans/7.jpg" in shown, address
        assert "Unknown journal" not in shown
        assert "0 journals" not in shown


def test_without_grouping_nothing_is_said_to_be_judged(fake, browser):
    fake.links.clear()
    assert "Nothing is grouped yet" in browser.get("/judge").text
    fake.jobs.append(clusters_pb2.ClusterJob(name="clusterJobs/1", state="RUNNING"))
    assert "is being grouped" in browser.get("/judge").text
    assert "Grouping is under way" in browser.get("/clusters").text
    fake.jobs[-1].state = clusters_pb2.ClusterJob.SUCCEEDED
    assert "There is nothing to judge" in browser.get("/judge").text
    assert "Grouping is under way" not in browser.get("/clusters").text


def test_an_archive_has_a_name_by_rules_that_are_said(browser):
    for language, rule in (("en", "letters from a to z"), ("de", "Buchstaben von a bis z")):
        form = browser.get(f"/import?lang={language}").text
        field = re.search(r'<input id="archive"[^>]*>', form)[0]
        assert rule in re.search(r'title="([^"]+)"', field)[1].replace("Letters", "letters")
        refused = browser.post_form("/imports", page=f"/import?lang={language}", archive="Köln")
        assert refused.status_code == 400
        assert rule in refused.text


def test_the_list_of_imports_says_when_and_what_was_rejected(browser):
    files = [
        ("files", ("a.jpg", b"1", "image/jpeg")),
        ("files", ("b.jpg", b"broken", "image/jpeg")),
    ]
    address = browser.post_form("/imports", archive="press", files=files).headers["location"]
    browser.wait_for(address, "Look at the pictures")
    for page in ("/import", "/work"):
        text = browser.get(page).text
        assert "one rejected" in text
        assert f"{dt.datetime.now(dt.UTC).year}, " in text


def test_numbers_and_colons_are_those_of_the_language(fake, browser):
    compare = f"/compare?a={fake.names[0]}&b={fake.names[1]}&lang="
    assert ">0.987<" in browser.get(compare + "en").text
    assert ">0,987<" in browser.get(compare + "de").text
    french = browser.get(compare + "fr").text
    assert ">0,987<" in french
    assert re.search(r"<h1>[^<:]*\u00a0: <span", french)
