"""Records, comparisons, verdicts, clusters, imports and the work in sight."""

from __future__ import annotations

import datetime as dt
import html
import json
import re
import threading
from urllib.parse import parse_qs, urlsplit

import pytest

from halftone.core import errors
from halftone.services.web.answers.import_files import check_path
from halftone.v1 import clusters_pb2, search_pb2
from tests.support.client import page
from tests.support.client.fake_clusters import scene
from tests.support.client.fake_search import verdict


def test_a_record_leads_to_its_search_its_printings_and_its_archive(fake, browser):
    first = fake.names[0]
    text = browser.get(f"/image?name={first}").text
    assert "The Sphere" in text
    assert "1 May 1898" in text
    assert "A &lt;house&gt;" in text
    assert f'href="/search?image={first}"' in text
    assert "Follow it: 5 printings" in text


def test_two_pictures_are_laid_over_each_other(fake, browser):
    fake.relation = search_pb2.Hit.MIRRORED
    text = browser.get(f"/compare?a={fake.names[0]}&b={fake.names[1]}&view=overlay").text
    assert ': <span class="traits">mirrored' in text
    # Without a script the second picture lies over the first by SVG's own transform.
    affine = re.search(r'transform="matrix\(([^)]+)\)"', text)[1]
    assert [float(value) for value in affine.split()] == pytest.approx([2, 0, 0, 2, 0, 0])


def test_the_whole_picture_of_a_crop_is_found_where_the_crop_began(fake, browser):
    first, second = fake.names[:2]
    text = browser.get(f"/compare?a={first}&b={second}&region=100,50,200,200").text
    matrix = [float(value) for value in re.search(r'data-matrix="([^"]+)"', text)[1].split(",")]
    # The fake's hit is half as large as the part that found it.
    assert matrix == pytest.approx([2, 0, 100, 0, 2, 50, 0, 0, 1])


def test_pictures_without_a_part_in_common_are_shown_side_by_side_only(fake, browser):
    fake.shares = False
    text = browser.get(f"/compare?a={fake.names[0]}&b={fake.names[1]}&view=overlay").text
    assert "data-matrix" not in text
    # A script leads from what is in sight of either picture to a search by it.
    for side, name in (("a", fake.names[0]), ("b", fake.names[1])):
        assert f'data-{side}-search="/search?image={name}"' in text
    assert 'data-view="side"' in text
    assert "view=swipe" not in text


def test_an_image_is_not_compared_with_itself(fake, browser):
    assert browser.get(f"/compare?a={fake.names[0]}&b={fake.names[0]}").status_code == 400


def test_a_dropped_picture_is_compared_with_a_hit(fake, browser):
    files = {"file": ("found.jpg", scene(), "image/jpeg")}
    address = browser.post_form("/pictures", page="/", files=files).headers["location"]
    link = re.search(r'href="(/compare\?picture=[^"]+)"', browser.get(address).text)[1]
    text = browser.get(link.replace("&amp;", "&")).text
    assert "The dropped picture" in text
    assert "Are they the same picture?" not in text  # a verdict needs two records


def judge(fake, browser, decision, **fields):
    first, second = fake.names[:2]
    pair = f"/compare?a={first}&b={second}"
    return browser.post_form(
        "/verdicts", page=pair, a=first, b=second, decision=decision, author="Eva", **fields
    )


def test_a_verdict_is_saved_shown_and_undone(fake, browser):
    answer = judge(fake, browser, "different", note="other hands")
    assert answer.status_code == 303
    text = browser.get(answer.headers["location"]).text
    assert "Saved." in text
    assert "Judged: different pictures (Eva): other hands" in text
    assert 'value="Eva"' in text  # the name is kept for the next one
    (verdict,) = fake._holding()
    assert verdict.decision == clusters_pb2.Verdict.DIFFERENT
    saved = re.search(r'name="verdict" value="([^"]+)"', text)[1]
    undone = browser.post_form(
        "/verdicts/undo", page=answer.headers["location"], a=verdict.a, b=verdict.b, verdict=saved
    )
    assert "Taken back." in browser.get(undone.headers["location"]).text
    assert not fake._holding()


def test_undoing_a_changed_verdict_restores_the_one_before(fake, browser):
    judge(fake, browser, "same", note="same plate")
    answer = judge(fake, browser, "different")
    saved = re.search(r"saved=([^&]+)", answer.headers["location"])[1]
    first, second = fake.names[:2]
    browser.post_form("/verdicts/undo", page="/work", a=first, b=second, verdict=saved)
    (verdict,) = fake._holding()
    assert (verdict.decision, verdict.note) == (clusters_pb2.Verdict.SAME, "same plate")


def test_saved_and_taken_back_are_said_only_while_they_are_true(fake, browser):
    first, second = fake.names[:2]
    saved = judge(fake, browser, "different").headers["location"]
    (given,) = fake.verdicts
    undone = browser.post_form(
        "/verdicts/undo", page=saved, a=first, b=second, verdict=given.name.partition("/")[2]
    ).headers["location"]
    # Whoever opens the first link later is not told that the verdict is kept.
    assert "Saved." not in browser.get(saved).text
    assert 'action="/verdicts/undo"' not in browser.get(saved).text
    assert "Taken back." in browser.get(undone).text
    judge(fake, browser, "same")
    fake.verdicts[-1].create_time.FromDatetime(dt.datetime(2026, 2, 1, tzinfo=dt.UTC))
    assert "Saved." not in browser.get(saved).text
    assert "Taken back." not in browser.get(undone).text
    # Another pair's verdict, and one that never was.
    other = f"/compare?a={first}&b={fake.names[2]}"
    for address in (f"{other}&saved=2", f"{other}&undone=1", f"{other}&saved=x&undone=x"):
        text = browser.get(address).text
        assert "Saved." not in text
        assert "Taken back." not in text


def test_the_queue_says_saved_only_while_it_is_true(fake, browser):
    first = begin(browser)
    a, b = find_pair(first)
    second = judge_here(browser, first).headers["location"]
    done = f"/judge?saved=1&judged_a={a}&judged_b={b}"
    assert "The verdict before is saved." in browser.get(second).text
    assert "Saved." in browser.get(done).text
    browser.post_form("/verdicts/undo", page=second, a=a, b=b, verdict="1")
    assert "The verdict before is saved." not in browser.get(second).text
    assert "Saved." not in browser.get(done).text


def test_the_verdicts_on_a_record_go_on_to_their_end(fake, browser):
    first = fake.names[0]
    for number in range(120):
        fake.verdicts.append(
            verdict(first, f"archives/a/images/other{number:03}", note=f"<{number}>")
        )
    address, seen = f"/image?name={first}", []
    while address:
        text = browser.get(html.unescape(address)).text
        seen += re.findall(r"&lt;(\d+)&gt;", text)
        more = re.search(r'rel="next" href="([^"]+)"', text)
        address = more[1] if more else ""
    assert seen == [str(number) for number in reversed(range(120))]
    assert f'href="/image?name={first}#verdicts">From the beginning' in text


def test_what_is_no_verdict_is_refused(fake, browser):
    assert judge(fake, browser, "maybe").status_code == 400
    assert not fake._holding()


def begin(browser):
    """Begin the queue and return the address of its first pair."""
    start = re.search(
        r'class="button primary" href="(/judge\?go=[^"]+)"', browser.get("/judge").text
    )
    return browser.get(start[1]).headers["location"]


def find_pair(address):
    fields = parse_qs(urlsplit(address).query, keep_blank_values=True)
    return fields["a"][0], fields["b"][0]


def judge_here(browser, address, decision="same"):
    """Judge the pair of a page with all that its form carries; return where that leads."""
    form = re.search(
        r'<form action="/verdicts" method="post">.*?</form>', browser.get(address).text, re.DOTALL
    )
    hidden = re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form[0])
    fields = {name: html.unescape(value) for name, value in hidden}
    answer = browser.post("/verdicts", data={**fields, "decision": decision})
    return browser.get(answer.headers["location"])


def test_the_queue_begins_where_most_hangs_and_leaves_out_what_was_judged(fake, browser):
    text = browser.get("/judge").text
    again, undated = fake.names[3], fake.names[4]
    pairs = re.findall(r'href="(/compare\?a=[^"]+)"', text)
    assert f"a={again}&amp;b={undated}" in pairs[0]
    first = begin(browser)
    assert find_pair(first) == (again, undated)
    assert f"1 of {len(pairs)}" in browser.get(first).text
    second = judge_here(browser, first).headers["location"]
    assert find_pair(second) != find_pair(first)
    shown = browser.get(second).text
    assert "The verdict before is saved." in shown
    assert f"2 of {len(pairs)}" in shown


def test_the_queue_keeps_its_place_while_pairs_are_judged_and_skipped(fake, browser):
    pairs = len(re.findall(r'href="/compare\?a=', browser.get("/judge").text))
    assert pairs > 3
    address, seen = begin(browser), []
    while address.startswith("/compare"):
        seen.append(find_pair(address))
        text = browser.get(address).text
        assert f"{len(seen)} of {pairs}" in text
        if len(seen) % 2:
            address = judge_here(browser, address).headers.get("location", "")
        else:
            skip = re.search(r'href="(/judge[^"]*)" data-key="j"', text)[1]
            address = browser.get(html.unescape(skip)).headers.get("location", "")
    # Every pair came once, and the skipped ones are still there.
    assert len(set(seen)) == len(seen) == pairs
    assert len(re.findall(r'href="/compare\?a=', browser.get("/judge").text)) == pairs // 2


def test_a_verdict_of_the_queue_is_undone_from_the_next_pair(fake, browser):
    first = begin(browser)
    second = judge_here(browser, first).headers["location"]
    form = re.search(
        r'<form action="/verdicts/undo".*?</form>', browser.get(second).text, re.DOTALL
    )[0]
    hidden = re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form)
    fields = {name: html.unescape(value) for name, value in hidden}
    back = browser.post("/verdicts/undo", data=fields).headers["location"]
    assert not fake._holding()
    assert find_pair(back) == find_pair(first)
    assert "Taken back." in browser.get(back).text
    # From there the queue goes on to the same pair as before.
    assert find_pair(judge_here(browser, back).headers["location"]) == find_pair(second)


def test_a_list_of_images_goes_on_to_its_end(fake, browser, tmp_path):
    for number in range(130):
        fake.add_printing(f"{number:03}", journal="Die Woche", date="1914")
    address, seen = "/images?journal=Die+Woche", []
    while address:
        text = browser.get(html.unescape(address)).text
        seen += re.findall(r'<li><article class="tile"[^>]*><a href="/image\?name=([^"]+)"', text)
        more = re.search(r'rel="next" href="([^"]+)"', text)
        address = more[1] if more else ""
    assert len(seen) == len(set(seen)) > 130
    assert 'href="/images?journal=Die+Woche">From the beginning' in text


def test_clusters_are_listed_and_filtered(fake, browser):
    text = browser.get("/clusters").text
    assert "2 pictures" in text
    assert "5 printings" in text
    assert "1 picture" not in browser.get("/clusters?size=3").text.replace("One picture", "")
    assert "One picture" in browser.get("/clusters?size=3").text
    assert browser.get("/clusters?size=x").status_code == 400


def test_an_archive_that_was_not_grouped_can_be(fake, browser):
    fake.links.clear()
    text = browser.get("/clusters").text
    assert "has not been grouped yet" in text
    assert browser.post_form("/work/clusters", page="/clusters").status_code == 303
    assert len(fake.jobs) == 1


def test_the_life_of_a_picture(fake, browser):
    text = browser.get(f"/cluster?name={fake.names[2]}").text
    assert "5 printings in 3 journals, 1898\N{EN DASH}1909" in text
    assert text.index("Earliest found printing") < text.index("3 months later")
    assert "Without a date" in text
    assert "Lay it over no. 1" in text
    journals = text[text.index("The journals") :]
    assert journals.index("The Sphere") < journals.index("Die Woche") < journals.index("Unknown")
    assert "the weakest link that is needed" in text
    # Nothing says that a printing was the first.
    assert "First" not in text


def test_a_detail_of_any_printing_leads_to_a_search(fake, browser):
    first, _, _, again, undated = fake.names[:5]
    part = [search_pb2.Point(x=x, y=y) for x, y in ((40, 30), (260, 30), (260, 90), (40, 90))]
    fake.link(first, again, image_polygon=part, image_share=0.03)
    fake.link(undated, first, query_polygon=part, query_share=0.03)
    text = browser.get(f"/cluster?name={first}").text
    shared = re.findall(r'href="([^"]+)">Search the part shared with no. 1<', text)
    framed = re.findall(r'href="([^"]+)#part">Search a part of it<', text)
    # The earliest one has no other to share with, and of two all is shared.
    assert framed == [f"/image?name={name}" for name in fake.names[:3]]
    assert list(map(html.unescape, shared)) == [
        f"/search?image={name}&region=40,30,220,60" for name in (again, undated)
    ]
    assert 'id="subject-title"' in browser.get(html.unescape(shared[0])).text


def test_the_shared_part_of_two_pictures_is_searched_without_a_script(fake, browser):
    first, second = fake.names[:2]
    text = browser.get(f"/compare?a={first}&b={second}&region=100,50,200,200").text
    links = re.findall(r'href="([^"]+)">(?:Search the shared part|Search a part of it)<', text)
    # The fake says that the whole of the searched part was found, in a quarter of the second.
    assert [html.unescape(each) for each in links] == [
        f"/image?name={first}#part",
        f"/search?image={second}&region=0,0,50,40",
    ]


def test_captions_stand_beside_each_other_with_what_differs_marked(fake, browser):
    for name, caption in zip(fake.names, ("The fleet <leaves>", "The fleet stays"), strict=False):
        fake.records[name].caption, fake.records[name].language = caption, "en"
    text = browser.get(f"/cluster?name={fake.names[0]}").text
    assert "The fleet <del>&lt;leaves&gt;</del> <mark>stays</mark>" in text


def test_a_large_cluster_is_shown_page_by_page_to_its_end(fake, browser):
    first = fake.names[0]
    for number in range(90):
        name = fake.add_printing(
            f"many/{number:02}", journal="Die Woche", date=f"{1910 + number}", caption="x" * 900
        )
        fake.link(first, name)
    address, seen = f"/cluster?name={first}", []
    while address:
        text = browser.get(html.unescape(address)).text
        assert len(text) < 150_000
        seen += re.findall(r'<li id="p(\d+)">', text)
        more = re.search(r'rel="next" href="([^"]+)"', text)
        address = more[1] if more else ""
    assert seen == [str(number) for number in range(1, 96)]
    assert "Without a date" in text
    assert "about one year later" in text
    assert browser.get(f"/cluster?name={first}&from=x").status_code == 400
    assert 'id="p95"' in browser.get(f"/cluster?name={first}&from=9999").text


def test_files_are_imported_and_rejected_ones_listed_with_the_reason(fake, browser, tmp_path):
    files = [
        ("files", ("good.jpg", scene(), "image/jpeg")),
        ("files", ("bad.jpg", b"broken", "image/jpeg")),
    ]
    answer = browser.post_form("/imports", files=files, archive="new")
    text = browser.wait_for(answer.headers["location"], "<h1>Imported</h1>")
    assert "archives/new/images/good.jpg" in fake.records
    assert "bad.jpg" in text
    assert "Not an image." in text
    # What was imported is not kept twice.
    browser.wait_until(lambda: not list((tmp_path / "web" / "imports").rglob("*.jpg")))


def test_an_import_is_known_after_a_restart(fake, tmp_path):
    files = [
        ("files", ("good.jpg", scene(), "image/jpeg")),
        ("files", ("bad.jpg", b"broken", "image/jpeg")),
    ]
    with page.opened(fake, tmp_path / "web") as browser:
        address = browser.post_form("/imports", files=files, archive="new").headers["location"]
        before = browser.wait_for(address, "<h1>Imported</h1>")
    with page.opened(fake, tmp_path / "web") as again:
        after = again.get(address).text
        assert "bad.jpg" in after
        assert "Not an image." in after
        figures = re.compile(r"<dd>\d+</dd>")
        assert figures.findall(after) == figures.findall(before)
        assert f'href="{address}"' in again.get("/work").text


def test_an_import_that_the_page_did_not_finish_is_said_to_be_interrupted(fake, tmp_path):
    held = threading.Event()
    with page.opened(fake, tmp_path / "web") as browser:
        token = page.find_token(browser.get("/import").text)
        headers = {"accept": "application/json", "x-form-token": token}
        address = browser.post("/imports", data={"archive": "a"}, headers=headers).json()["address"]
        files = [("files", ("1.jpg", scene(), "image/jpeg"))]
        browser.post(f"{address}/files", files=files, headers=headers)
        fake.faults["ImportImages"].append(held.wait)
        browser.post(f"{address}/start", headers=headers)
    held.set()
    notes = list((tmp_path / "web" / "imports").glob("*.json"))
    assert [json.loads(note.read_text())["state"] for note in notes] == ["interrupted"]
    # What a process leaves that is killed says that it runs.
    notes[0].write_text(notes[0].read_text().replace("interrupted", "running"))
    (notes[0].parent / "damaged.json").write_text("{")
    with page.opened(fake, tmp_path / "web") as again:
        text = again.get(address).text
        assert "<h1>The import was interrupted</h1>" in text
        assert "data-refresh" not in text
        assert not [path for path in notes[0].parent.iterdir() if path.is_dir()]
        assert again.post(f"{address}/start", headers=headers).status_code in {403, 409}


def test_a_folder_with_a_manifest_is_imported_by_it(fake, browser):
    table = b"image_id,file,journal,date\n1,scans/1.jpg,The Sphere,1914-08\n2,scans/2.jpg,X,never\n"
    token = page.find_token(browser.get("/import").text)
    headers = {"accept": "application/json", "x-form-token": token}
    begun = browser.post("/imports", data={"archive": "press"}, headers=headers).json()
    for path, content in (("press/manifest.csv", table), ("press/scans/1.jpg", scene())):
        files = [("files", (path, content, "application/octet-stream"))]
        assert (
            browser.post(f"{begun['address']}/files", files=files, headers=headers).status_code
            == 200
        )
    started = browser.post(f"{begun['address']}/start", headers=headers)
    text = browser.wait_for(started.json()["address"], "<h1>Imported</h1>")
    assert fake.records["archives/press/images/1"].journal == "The Sphere"
    assert "is not a date" in text
    again = browser.post(f"{begun['address']}/start", headers=headers)
    assert again.status_code == 409


def test_an_import_is_bounded_in_files_and_bytes(fake, tmp_path):
    with page.opened(fake, tmp_path, max_import_files=1, max_import_bytes=3000) as browser:
        files = [("files", (f"{n}.jpg", b"x", "image/jpeg")) for n in range(2)]
        assert browser.post_form("/imports", files=files).status_code == 400
        files = [("files", ("large.jpg", bytes(4000), "image/jpeg"))]
        assert browser.post_form("/imports", files=files).status_code == 413


@pytest.mark.parametrize(
    "name", ["../x", "a/../../x", "", "/", "a\nb", "x" * 500, "a/" + "é" * 200]
)
def test_names_that_lead_out_of_the_folder_are_refused(name):
    with pytest.raises(errors.InvalidArgument):
        check_path(name)


@pytest.mark.parametrize("name", ["x", "/etc/passwd", "a\\b.jpg", "a//b", "1914/08/22.jpg"])
def test_other_names_lie_below_the_folder(name):
    path = check_path(name)
    assert not path.is_absolute()
    assert ".." not in path.parts


def test_the_work_says_what_does_not_answer(fake, browser):
    text = browser.get("/work").text
    assert text.count('class="up"') == 2
    assert "does not answer:" in text
    # Versions come from the model service, which the fake lacks.
    assert "None that can be read." in text


def test_a_stack_without_a_trainer_says_so_and_asks_nobody(fake, tmp_path):
    with page.opened(fake, tmp_path, trainer="") as browser:
        text = browser.get("/work").text
        assert "there is none: this stack runs without training" in text
        assert "does not answer:" not in text
        assert text.count('class="up"') == 2
        assert 'id="training-title"' not in text
        refused = browser.post_form("/work/cancel", page="/work", name="trainingJobs/1")
        assert refused.status_code == 400


def test_a_job_is_started_shown_and_cancelled(fake, browser):
    fake.job_polls = 10**6
    browser.post_form("/work/clusters", page="/work")
    text = browser.get("/work").text
    name = re.search(r'name="name" value="(clusterJobs/[^"]+)"', text)[1]
    assert "data-refresh" in text
    browser.post_form("/work/cancel", page="/work", name=name)
    assert fake.jobs[-1].state == clusters_pb2.ClusterJob.CANCELLED
    assert browser.post_form("/work/cancel", page="/work", name="x").status_code == 400


def test_a_picture_leads_to_its_page_and_a_page_to_its_pictures(fake, browser):
    first, second, third = fake.names[:3]
    page_ = fake.put_on_page(first, (40, 50, 300, 200), page="3", journal="Die <Woche>")
    fake.records[second].page_image = page_
    text = browser.get(f"/image?name={first}").text
    assert "On page 3 of Die &lt;Woche&gt;" in text
    assert f'href="/image?name={page_}"' in text
    assert '<rect class="shared" x="40" y="50" width="300" height="200"/>' in text
    text = browser.get(f"/image?name={page_}").text
    assert "2 pictures on this page" in text
    assert text.count('<rect class="shared"') == 1  # the place of the second is not known
    assert f'href="/image?name={first}"' in text
    assert f'href="/image?name={second}"' in text
    assert f'href="/image?name={third}"' not in text
    text = browser.get(f"/image?name={third}").text
    assert "On page" not in text
    assert "pictures-title" not in text


def test_a_page_that_the_archive_does_not_have_is_named(fake, browser):
    fake.records[fake.names[0]].page_image = "archives/a/images/gone/<3>"
    text = browser.get(f"/image?name={fake.names[0]}").text
    assert "gone/&lt;3&gt;" in text
    assert "not in the archive" in text


@pytest.mark.parametrize(
    ("region", "drawn"),
    [
        ((700, 500, 900, 900), 'x="700" y="500" width="100" height="100"'),
        ((5000, 5000, 10, 10), None),
    ],
)
def test_a_place_is_drawn_as_far_as_it_is_on_the_page(fake, browser, region, drawn):
    page_ = fake.put_on_page(fake.names[0], region)
    assert fake.records[page_].width == 800
    for address in (fake.names[0], page_):
        text = browser.get(f"/image?name={address}").text
        assert ('<rect class="shared"' in text) == bool(drawn)
        assert drawn is None or drawn in text


def test_of_a_page_that_is_not_shown_no_place_is_drawn(fake, browser):
    page_ = fake.put_on_page(fake.names[0], (40, 50, 300, 200))
    fake.records[page_].show = search_pb2.Image.NONE
    assert '<rect class="shared"' not in browser.get(f"/image?name={fake.names[0]}").text


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"page": "3", "journal": "Die Woche"}, "Auf Seite 3: Die Woche"),
        ({"journal": "Die Woche"}, "Auf einer Seite: Die Woche"),
        ({"page": "3"}, "Auf Seite 3<"),
        ({}, "Auf einer Seite<"),
    ],
)
def test_results_and_clusters_say_on_which_page_a_picture_stands(fake, browser, fields, said):
    page_ = fake.put_on_page(fake.names[0], (40, 50, 300, 200), **fields)
    for address in (f"/cluster?name={fake.names[0]}", f"/search?image={fake.names[1]}"):
        text = browser.get(f"{address}&lang=de").text
        assert f'<p class="of-page"><a href="/image?name={page_}">{said.rstrip("<")}' in text, said


def test_the_pictures_of_a_page_are_browsed_and_searched_among(fake, browser):
    first, second = fake.names[:2]
    page_ = fake.put_on_page(first, (40, 50, 300, 200))
    assert f'href="/images?on_page={page_}"' in browser.get(f"/image?name={page_}").text

    def list_names(address):
        found = re.findall(r'href="/image\?name=([^"]+)"', browser.get(address).text)
        return set(found) & {*fake.names, page_}

    assert list_names(f"/images?on_page={page_}") == {first}
    assert list_names("/images?kind=picture") == {first}
    assert list_names("/images?kind=page") == {*fake.names[1:], page_}
    # The form keeps what it does not offer.
    text = browser.get(f"/search?image={second}&on_page={page_}&kind=picture").text
    assert f'<input type="hidden" name="on_page" value="{page_}">' in text
    assert '<input type="hidden" name="kind" value="picture">' in text
    assert browser.get("/images?kind=plate").status_code == 400
