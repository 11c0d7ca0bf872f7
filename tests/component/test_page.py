"""The page as a process of its own, in a real browser, before a service that is a fake."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
import zipfile
from urllib.parse import quote

import pytest

from tests.support import hostile
from tests.support.client import chromium
from tests.support.client.chromium import Reader
from tests.support.client.fake_clusters import scene
from tests.support.client.fake_models import METRICS, SPEC, FakeModels


class Served:
    """`python -m halftone.services.web` on free ports."""

    def __init__(self, directory, *, search, **environment):
        self.log = directory / "web.log"
        variables = {
            "HALFTONE_WEB_PORT": "0",
            "HALFTONE_WEB_METRICS_PORT": "0",
            "HALFTONE_WEB_SEARCH": search,
            "HALFTONE_WEB_EMBEDDER": search,
            "HALFTONE_WEB_TRAINER": "127.0.0.1:1",
            "HALFTONE_WEB_DATA_DIRECTORY": str(directory / "data"),
        }
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "halftone.services.web"],
                env=os.environ | variables | environment,
                stderr=log,
            )

    def __enter__(self):
        end = time.monotonic() + 120
        while not (found := re.search(r'"port": (\d+)', self.log.read_text())):
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < end, "it does not listen"
            time.sleep(0.02)
        self.address = f"http://127.0.0.1:{found[1]}"
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def fake():
    with FakeModels() as server:
        server.names = server.story()
        server.add_version("new/2", spec=SPEC, metrics=METRICS)
        server.add_version("old/1", active=True)
        yield server


@pytest.fixture(scope="module")
def served(fake, tmp_path_factory):
    with Served(tmp_path_factory.mktemp("page"), search=fake.address) as served:
        yield served


@pytest.fixture(scope="module")
def browser():
    with chromium.started() as browser:
        yield browser


@pytest.fixture
def reader(browser, served):
    with Reader(browser, served.address) as reader:
        yield reader
        assert not reader.complaints
        assert reader.hosts <= {served.address.removeprefix("http://")}


@pytest.fixture
def pages(fake):
    first, second = fake.names[:2]
    return {
        "home": "/",
        "search": f"/search?image={first}",
        "browse": "/images",
        "record": f"/image?name={first}",
        "compare": f"/compare?a={first}&b={second}",
        "overlay": f"/compare?a={first}&b={second}&view=overlay",
        "judge": "/judge",
        "clusters": "/clusters",
        "cluster": f"/cluster?name={first}",
        "import": "/import",
        "work": "/work",
        "model": "/model?name=new/2",
        "sign-in": "/sign-in",
        "error": "/nowhere",
    }


DROP = """
async ([bytes, type, name]) => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([new Uint8Array(bytes)], name ?? "found.jpg", {type}));
  for (const name of ["dragenter", "dragover", "drop"]) {
    document.body.dispatchEvent(
      new DragEvent(name, {dataTransfer: transfer, bubbles: true, cancelable: true}));
  }
}
"""


@pytest.mark.slow
def test_what_a_historian_does(reader, browser, served, fake):
    page = reader.page
    reader.go("/")
    page.evaluate(DROP, [list(scene()), "image/jpeg"])
    page.wait_for_url("**/search?picture=*")
    page.get_by_text("Found in").wait_for()

    # A part of it, by the arrow keys; the four numbers follow.
    frame = page.locator(".crop-frame")
    frame.focus()
    page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press("ArrowRight")
    assert page.get_by_label("Left", exact=True).input_value() != "0"
    page.keyboard.press("Enter")
    page.wait_for_url("**region=*")
    page.get_by_text("Found in").wait_for()
    link = page.url

    # Only one journal.
    page.get_by_label(re.compile("Die Woche")).check()
    page.wait_for_url("**journal=Die+Woche*")
    page.get_by_text("Found in").wait_for()
    assert page.locator(".card .journal").all_inner_texts()[0] == "Die Woche"

    # The link leads somebody else to the same.
    with Reader(browser, served.address) as other:
        other.page.goto(link)
        other.page.get_by_text("Found in").wait_for()
        assert other.page.get_by_label("Left", exact=True).input_value() != "0"

    # Compare two records, in each view, and judge by a key.
    first, second = fake.names[:2]
    reader.go(f"/compare?a={first}&b={second}")
    for place, name in enumerate(("side", "overlay", "swipe", "blink", "difference"), start=1):
        page.keyboard.press(str(place))
        page.locator(f".stage.{name}").wait_for()
        assert f"view={name}" in page.url
    page.keyboard.press("d")
    page.get_by_text("Saved.").wait_for()
    assert len(fake._holding()) == 1
    page.reload()
    page.get_by_text("Judged: different pictures").wait_for()
    page.keyboard.press("z")
    page.get_by_text("Taken back.").wait_for()
    assert not fake._holding()

    # Follow the picture.
    page.get_by_role("link", name="All its printings").first.click()
    page.get_by_role("heading", name=re.compile("5 printings")).wait_for()


def test_what_is_dropped_on_the_import_goes_into_the_archive(reader, fake):
    page = reader.page
    reader.go("/import")
    page.get_by_label("Into the archive").fill("dropped")
    page.evaluate(DROP, [list(scene(mirrored=True)), "image/jpeg"])
    page.get_by_role("heading", name="Imported").wait_for()
    assert "archives/dropped/images/found.jpg" in fake.records
    del fake.records["archives/dropped/images/found.jpg"]


def test_a_zip_file_dropped_on_the_search_can_only_be_meant_for_the_archive(reader, fake):
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("1914/1.jpg", scene(mirrored=True))
    page = reader.page
    reader.go("/")
    page.evaluate(DROP, [list(zipped.getvalue()), "application/zip", "press.zip"])
    page.get_by_text("Ready to be imported: press.zip").wait_for()
    page.get_by_label("Into the archive").fill("dropped")
    page.get_by_role("button", name="Import", exact=True).click()
    page.get_by_role("heading", name="Imported").wait_for()
    assert fake.records.pop("archives/dropped/images/1914/1.jpg")


def test_keys_are_listed_and_can_be_switched_off(reader, pages):
    page = reader.page
    reader.go(pages["compare"])
    page.locator(".stage.side").wait_for()
    page.keyboard.press("?")
    page.get_by_label("Use these keys").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("2")
    assert page.locator(".stage.side").count() == 1
    page.keyboard.press("?")
    page.get_by_label("Use these keys").check()
    page.keyboard.press("Escape")
    page.keyboard.press("2")
    page.locator(".stage.overlay").wait_for()


def test_what_is_in_sight_of_a_comparison_can_be_searched_by(reader, pages):
    page = reader.page
    reader.go(pages["compare"])
    page.locator(".stage.side").focus()
    for _ in range(6):
        page.keyboard.press("+")
    page.get_by_role("link", name="in sight of the second picture").click()
    page.wait_for_url(re.compile(r"/search\?image=.*region="))
    page.get_by_text("Found in").wait_for()
    # It is a part: less wide than the picture.
    width = page.get_by_label("Width", exact=True)
    assert 16 <= int(width.input_value()) < int(width.get_attribute("max"))


def test_the_keyboard_alone_reaches_what_the_pointer_does(reader):
    page = reader.page
    reader.go("/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "file"


def go_to(page, selector: str) -> None:
    """Press Tab until an element has the focus, and see that a reader sees where it is."""
    for _ in range(150):
        page.keyboard.press("Tab")
        if page.evaluate("(selector) => document.activeElement.matches(selector)", selector):
            break
    else:
        pytest.fail(f"Tab does not lead to {selector}")
    seen = page.evaluate(
        "(() => { const style = getComputedStyle(document.activeElement);"
        " return style.outlineStyle !== 'none' || style.boxShadow !== 'none'; })()"
    )
    assert seen, f"nobody sees that {selector} has the focus"


@pytest.mark.slow
def test_the_whole_way_is_gone_by_the_keyboard_alone(reader, fake, tmp_path):
    (tmp_path / "found.jpg").write_bytes(scene())
    page = reader.page
    reader.go("/")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # past the head of the page
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
    chooser.value.set_files(tmp_path / "found.jpg")
    page.wait_for_url("**/search?picture=*")
    page.get_by_text("Found in").wait_for()

    go_to(page, ".crop-frame")
    page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press("Enter")
    page.wait_for_url("**region=*")
    page.get_by_text("Found in").wait_for()

    # A filter; the next page goes on from the same box.
    go_to(page, 'input[name=journal][value="Die Woche"]')
    page.keyboard.press("Space")
    page.wait_for_url("**journal=Die+Woche*")
    page.get_by_text("Found in").wait_for()
    assert page.evaluate("document.activeElement.value") == "Die Woche"

    # The first result, compared, in another view, nearer; then all its printings.
    page.keyboard.press("j")
    page.keyboard.press("c")
    page.wait_for_url(re.compile(r"/compare\?"))
    page.keyboard.press("2")
    page.locator(".stage.overlay").wait_for()
    go_to(page, ".stage")
    page.keyboard.press("+")
    page.wait_for_url("**at=*")
    go_to(page, "a[href^='/cluster']")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/cluster\?"))
    go_to(page, "a[data-compare]")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/compare\?"))

    # A note is typed without meaning anything else; then the verdict, and its end.
    go_to(page, "input[name=note]")
    page.keyboard.type("sd?")
    assert not page.locator("dialog[open]").count()
    go_to(page, "button[value=different]")
    page.keyboard.press("Enter")
    page.get_by_text("Saved.").wait_for()
    assert [verdict.note for verdict in fake._holding()] == ["sd?"]
    page.keyboard.press("z")
    page.get_by_text("Taken back.").wait_for()
    assert not fake._holding()


def test_what_is_in_sight_stays_in_the_address(browser, served, pages):
    """And leads somebody else to the same."""
    find = "getComputedStyle(document.querySelector('.pane.over img')).transform"
    with Reader(browser, served.address) as reader:
        reader.go(pages["overlay"])
        reader.page.locator(".stage").focus()
        for key in ("+", "+", "ArrowRight"):
            reader.page.keyboard.press(key)
        reader.page.get_by_label("How much of the second picture").fill("0.25")
        reader.page.wait_for_url("**share=0.25*")
        link, seen = reader.page.url, reader.page.evaluate(find)
    with Reader(browser, served.address) as other:
        other.page.goto(link)
        other.page.locator(".stage.overlay").wait_for()
        numbers, others = (
            [float(number) for number in re.findall(r"-?[0-9.]+(?:e-?[0-9]+)?", text)]
            for text in (seen, other.page.evaluate(find))
        )
        assert others == pytest.approx(numbers, abs=2)
        assert other.page.locator(".pane.over").evaluate("(pane) => pane.style.opacity") == "0.25"
        other.page.get_by_role("button", name="Fit").click()
        other.page.wait_for_url(re.compile(r"compare\?(?!.*at=)"))


def test_nothing_blinks_where_no_motion_is_wanted(browser, served, pages):
    with Reader(browser, served.address, reduced_motion="reduce") as reader:
        reader.go(pages["overlay"].replace("overlay", "blink"))
        reader.page.locator(".stage.blink").wait_for()
        moving = "document.querySelector('halftone-compare').timer"
        assert not reader.page.evaluate(moving)
        reader.page.get_by_role("button", name="First picture / Second picture").click()
        assert reader.page.locator(".pane.over").evaluate("(pane) => pane.style.visibility")
        assert not reader.page.evaluate("document.getAnimations().length")


def test_paper_gets_what_is_there_to_read_and_its_address(reader, pages):
    page = reader.page
    for name in ("search", "record", "compare", "cluster"):
        reader.go(pages[name])
        if name == "search":
            page.get_by_text("Found in").wait_for()
        if name == "compare":
            page.locator(".stage.side").wait_for()
        page.emulate_media(media="print", color_scheme="dark")
        assert (
            not page.locator("nav, button, input, .stage, .crop-frame")
            .locator("visible=true")
            .count()
        )
        assert page.locator("footer .printed").inner_text().startswith(f"From {page.url}, as of")
        assert page.locator("main img").locator("visible=true").count()
        assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
        page.emulate_media(media="screen", color_scheme="light")
        assert not page.locator(".printed").locator("visible=true").count()


def test_it_works_without_scripts(browser, served, tmp_path):
    (tmp_path / "found.jpg").write_bytes(scene())
    with Reader(browser, served.address, java_script_enabled=False) as reader:
        page = reader.page
        reader.go("/")
        page.locator("#file").set_input_files(tmp_path / "found.jpg")
        page.get_by_role("button", name="Search").click()
        page.get_by_text("Found in").wait_for()
        page.get_by_label("Left", exact=True).fill("100")
        page.get_by_role("button", name="Search this part").click()
        page.wait_for_url("**region=100*")
        page.locator(".card a.picture").first.click()
        page.get_by_role("link", name=re.compile("Overlay")).click()
        assert page.locator(".laid.overlay svg image").count() == 2


@pytest.fixture
def states(pages, fake):
    """Addresses of what pages look like when something else is the case."""
    first = fake.names[0]
    return {
        "a part": f"/search?image={first}&region=20,20,300,200&journal=Die+Woche&date=1890/1950",
        "nothing found": f"/search?image={first}&journal=None+such",
        "no date": "/images?date=yesterday",
        "swipe": pages["overlay"].replace("overlay", "swipe"),
        "blink": pages["overlay"].replace("overlay", "blink"),
        "difference": pages["overlay"].replace("overlay", "difference"),
        "saved": f"{pages['compare']}&saved=x",
        "of the queue": f"{pages['compare']}&place=2&left=3&saved=x&judged_a={first}&judged_b=x",
        "taken back": f"{pages['compare']}&undone=1",
        "no such cluster": "/clusters?size=999",
        "gone": "/imports/0",
    }


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


@pytest.mark.slow
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


def test_it_stops_when_it_is_told_to(fake, tmp_path):
    with Served(tmp_path, search=fake.address) as served:
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(60) == 0


def test_the_services_are_called_with_their_own_secret(fake, tmp_path):
    """And not with the key of whoever starts the page."""
    secret = "k" * 40
    environment = {
        "HALFTONE_SERVICE_KEY": secret,
        "HALFTONE_KEYS_FILE": str(tmp_path / "keys.json"),
        "HALFTONE_KEY": "mine",
    }
    with Served(tmp_path, search=fake.address, **environment) as served:
        urllib.request.urlopen(f"{served.address}/images", timeout=60).read()  # noqa: S310 - http
    assert ("authorization", f"Bearer {secret}") in fake.metadata[-1]


def test_an_open_address_is_refused_at_the_start(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "halftone.services.web"],
        env=os.environ | {"HALFTONE_WEB_HOST": "0.0.0.0", "HALFTONE_WEB_PORT": "0"},  # noqa: S104
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 1
    assert "OPEN_ADDRESS" in done.stderr
