"""The command line against a search service that keeps its records in memory.

Modules whose commands need another service have fixtures of the same names.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from halftone.cli.app import main
from tests.support.client.fake_search import FakeSearch

NAME = "archives/a/images/one"


@pytest.fixture(autouse=True)
def stacks(monkeypatch):
    """Lists only the stacks of unit tests: commands name every other one that runs."""
    monkeypatch.setenv("HALFTONE_STACKS", str(Path(os.environ["HALFTONE_STACKS"]) / "unit"))


@pytest.fixture
def fake():
    """A search service with two images."""
    with FakeSearch() as server:
        server.add(NAME, journal="The Sphere", date="1914-08", page="3", caption="A ship")
        server.add(NAME + "2", journal="L'Illustration", date="1915", language="fr")
        yield server


@pytest.fixture
def run(fake, tmp_path, monkeypatch):
    """Runs a command against it, in an empty directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HALFTONE_SEARCH", raising=False)

    def invoke(*arguments, server=fake.address, **options):
        words = [*arguments, *(["--server", server] if server else [])]
        return CliRunner().invoke(main, [str(word) for word in words], **options)

    return invoke
