"""Names that differ by Unicode's normal form only."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest

from halftone.core.spelling import compose, compose_all, find_spelling

FORMS = ("NFC", "NFD")


@pytest.fixture(params=FORMS)
def form(request):
    return request.param


@pytest.mark.parametrize("asked", FORMS)
def test_a_file_is_found_in_another_form(form, asked, tmp_path):
    """Each part of the path by itself: folders and files come from different machines."""
    for names in (("Überblick", "Vor-Überlegungen.jpg"), ("plain", "é.jpg"), ("Ö", "plain.jpg")):
        folder, file = (unicodedata.normalize(form, name) for name in names)
        (tmp_path / folder).mkdir()
        (tmp_path / folder / file).touch()
        wanted = tmp_path / unicodedata.normalize(asked, "/".join(names))
        found = find_spelling(wanted)
        assert found.samefile(tmp_path / folder / file)
        # As the folder has it, so that it is no other path than what lies there.
        assert found in list((tmp_path / folder).iterdir())


def test_of_two_files_the_one_that_is_named(tmp_path):
    names = [unicodedata.normalize(form, "é.jpg") for form in FORMS]
    for name in names:
        (tmp_path / name).write_text(form_of(name))
    if len(list(tmp_path.iterdir())) < 2:
        pytest.skip("this file system takes both names for one")
    for name in names:
        assert find_spelling(tmp_path / name).read_text() == form_of(name)


def form_of(name: str) -> str:
    return next(form for form in FORMS if unicodedata.is_normalized(form, name))


def test_what_normalising_does_not_bring_back_is_found(tmp_path):
    """The sign of the angstrom is the letter Å in both forms."""
    (tmp_path / "\u212b.jpg").touch()
    assert find_spelling(tmp_path / "\u00c5.jpg").exists()
    assert find_spelling(tmp_path / "A\u030a.jpg").exists()


def test_what_is_not_there_stays_as_it_is(tmp_path, monkeypatch):
    for name in ("é", "é/è/ü.jpg", "plain/é.jpg"):
        assert find_spelling(tmp_path / name) == tmp_path / name
    (tmp_path / "file").touch()
    assert find_spelling(tmp_path / "file" / "é") == tmp_path / "file" / "é"
    monkeypatch.chdir(tmp_path)
    assert find_spelling(Path("ä/b")) == Path("ä/b")


def test_a_file_that_comes_later_is_found(form, tmp_path):
    name = unicodedata.normalize(form, "später-é.jpg")
    other = unicodedata.normalize("NFC" if form == "NFD" else "NFD", name)
    assert not find_spelling(tmp_path / other).exists()
    (tmp_path / name).touch()
    os.utime(tmp_path, ns=(1, 1))  # some file systems note only the second
    assert find_spelling(tmp_path / other).exists()


def test_texts_are_composed():
    assert compose("e\u0301") == "é"
    assert compose("plain") == "plain"
    assert compose_all({"u\u0308": ["e\u0301", {"a": "o\u0302"}, 3, None]}) == {
        "ü": ["é", {"a": "ô"}, 3, None]
    }
