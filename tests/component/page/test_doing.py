"""What people do on the page: search, compare, judge, import, print; also without scripts."""

from __future__ import annotations

import io
import re
import threading
import zipfile
from urllib.parse import unquote

import pytest

from tests.support.client.chromium import SECONDS, Reader
from tests.support.client.fake_clusters import scene

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


def test_a_detail_of_a_printing_is_searched_from_its_card(browser, served, pages):
    """By the keyboard, on a telephone, where the frame is folded away unless it is led to."""
    with Reader(browser, served.address, width=400) as reader:
        page = reader.page
        reader.go(pages["cluster"])
        go_to(page, ".printing a[href$='#part']")
        page.keyboard.press("Enter")
        page.wait_for_url("**#part")
        page.get_by_label("Left", exact=True).fill("100")
        page.get_by_role("button", name="Search this part").press("Enter")
        page.wait_for_url("**region=100*")
        page.get_by_text("Found in").wait_for()
        page.get_by_role("link", name="Search this detail").first.press("Enter")
        page.wait_for_url(re.compile(r"image=.*region=0,0,50,40"))
        page.get_by_text("Found in").wait_for()
        assert not reader.measure_overflow()


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
        # Scripts write the same address with other letters quoted.
        printed = unquote(page.locator("footer .printed").inner_text())
        assert printed.startswith(f"From {unquote(page.url)}, as of")
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


def test_an_open_page_says_that_nobody_answers_any_more(reader, fake):
    page = reader.page
    goes_on = threading.Event()
    fake.import_faults[len(fake.seen) + 1] = lambda: goes_on.wait(SECONDS) and None
    try:
        reader.go("/import")
        page.evaluate(DROP, [list(scene()), "image/jpeg"])
        page.wait_for_url("**/imports/*")
        page.get_by_role("heading", name="Importing").wait_for()
        page.route("**/imports/*", lambda route: route.abort())
        page.get_by_text("The page does not answer.").wait_for()
        page.unroute("**/imports/*")
        page.get_by_text("The page does not answer.").wait_for(state="detached")
        page.get_by_role("button", name="Cancel").click()
        page.get_by_role("heading", name="The import was cancelled").wait_for()
    finally:
        goes_on.set()
        fake.import_faults.clear()
        reader.complaints[:] = [each for each in reader.complaints if "ERR_FAILED" not in each]
