"""Settings read their own variables, refuse nonsense and cannot change."""

from __future__ import annotations

import os
from pathlib import Path

import pydantic
import pytest

from halftone.core import settings


def test_reads_its_prefix(monkeypatch):
    monkeypatch.setenv("HALFTONE_EMBEDDER_MAX_BATCH", "8")
    monkeypatch.setenv("HALFTONE_SEARCH_PORT", "0")
    assert settings.EmbedderSettings().max_batch == 8
    assert settings.EmbedderSettings().port == 7101
    assert settings.SearchSettings().port == 0


def test_import_roots_are_a_path_list(monkeypatch):
    monkeypatch.setenv("HALFTONE_SEARCH_IMPORT_ROOTS", os.pathsep.join(["/a", "/b c"]))
    assert settings.SearchSettings().import_roots == (Path("/a"), Path("/b c"))


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("HALFTONE_SEARCH_PORT", "70000"),
        ("HALFTONE_SEARCH_STORE", "mongo"),
        ("HALFTONE_SEARCH_IMPORT_BATCH", "65"),
        ("HALFTONE_SEARCH_LOG_LEVEL", "loud"),
    ],
)
def test_refuses_nonsense(monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    with pytest.raises(pydantic.ValidationError):
        settings.SearchSettings()


def test_frozen():
    with pytest.raises(pydantic.ValidationError):
        settings.SearchSettings().port = 1


def refuse(model, **values):
    with pytest.raises(pydantic.ValidationError) as caught:
        model(**values)
    return settings.explain_invalid(caught.value)


def test_what_is_wrong_is_said_without_passwords(monkeypatch):
    monkeypatch.setenv("HALFTONE_SEARCH", "redis://user:pass@word@host:1/0")
    said = refuse(settings.ClientSettings)
    assert said.startswith("HALFTONE_SEARCH=redis://***@host:1/0: ")
    assert "word" not in said
    said = refuse(settings.SearchSettings, qdrant_api_key=["hidden"])
    assert said == "HALFTONE_SEARCH_QDRANT_API_KEY: it is to be a valid string."


def test_a_number_that_is_none_is_refused_in_plain_words(monkeypatch):
    monkeypatch.setenv("HALFTONE_SEARCH_PORT", "abc")
    said = refuse(settings.SearchSettings)
    assert said == "HALFTONE_SEARCH_PORT=abc: it is to be a valid integer."


def test_an_error_that_is_of_no_setting_is_not_explained():
    assert refuse(pydantic.create_model("Other", number=(int, ...)), number="x") == ""
