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
