"""What went wrong, in the reader's language."""

from __future__ import annotations

import pytest

from halftone.core import errors
from halftone.services.web.words import problems
from halftone.services.web.words.languages import read_languages
from tests.support.client.fake_search import fails

LANGUAGES = read_languages()
ENGLISH, GERMAN, FRENCH = (LANGUAGES.choose(asked=code, accepted="") for code in ("en", "de", "fr"))


def list_classes(kind=errors.HalftoneError):
    return [kind, *(inner for each in kind.__subclasses__() for inner in list_classes(each))]


@pytest.mark.parametrize("kind", list_classes(), ids=lambda kind: kind.__name__)
def test_every_kind_of_error_has_a_sentence_in_every_language(kind):
    error = kind("What the service says.", reason="A_REASON_NOBODY_KNOWS")
    said = {problems.explain(error, each).said for each in LANGUAGES}
    assert len(said) == 3
    assert all(said)
    assert problems.explain(error, GERMAN).detail == "What the service says."


def test_the_reason_decides_and_not_the_sentence():
    for message in ("content: cut off after 12 bytes.", "Anything else."):
        error = errors.ImageRejected(message, reason="TRUNCATED")
        assert problems.explain(error, GERMAN) == (
            "Die Datei dieses Bildes ist abgeschnitten.",
            message,
        )
    error = errors.ImageRejected("content: cut off after 12 bytes.", reason="CORRUPT")
    assert problems.explain(error, GERMAN).said == "Die Datei dieses Bildes ist beschädigt."


@pytest.mark.parametrize("language", [*LANGUAGES], ids=lambda each: each.code)
def test_what_the_page_says_itself_is_not_said_twice(language):
    error = errors.InvalidArgument("This is one picture, not two.", reason="ONE_PICTURE")
    assert problems.explain(error, language).detail == ""


def test_a_detail_stands_on_one_line():
    error = errors.NotFound("a\n\tb")
    assert problems.explain(error, FRENCH).detail == "a b"
    assert str(problems.explain(error, ENGLISH)) == "This is not here, or not any more. a b"


def test_errors_of_services_are_shown_in_the_readers_language(fake, browser):
    fault = fails(errors.Unavailable("The embedder is shutting down.", reason="DRAINING"))
    fake.faults["GetImage"].extend([fault, fault])
    german = browser.get("/image?name=archives/a/images/x&lang=de")
    assert german.status_code == 503
    assert "Ein Dienst wird gerade beendet." in german.text
    assert '<p class="detail" lang="en">The embedder is shutting down.</p>' in german.text
    told = browser.get(
        "/image?name=archives/a/images/x&lang=fr", headers={"accept": "application/json"}
    ).json()
    assert told["detail"].startswith("Un service est en train")


def test_pages_that_are_not_there_are_so_in_the_readers_language(browser):
    text = browser.get("/nowhere?lang=de").text
    assert "Unter dieser Adresse gibt es keine Seite." in text
    assert "There is no page" not in text
