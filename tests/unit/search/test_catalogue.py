"""Thumbnails whose pictures go while they are made."""

from __future__ import annotations

import hashlib

import pytest

from halftone import telemetry
from halftone.settings import SearchSettings
from services.search.blobs import Blobs
from services.search.catalogue import Catalogue
from services.search.holdings import Holdings
from services.search.store import Stored
from tests.unit.search.conftest import name, picture

CONTENT = picture(1)
SHA = hashlib.sha256(CONTENT).hexdigest()


class _OneRecord:
    """A collection that has a record under every name."""

    model_version = "fake/1"
    holds_interpreter = False

    def retrieve(self, ids, *, vectors=False):
        assert not vectors
        return {each: Stored(id=each, payload={"sha256": SHA}) for each in ids}


class _DeletedMeanwhile(Blobs):
    """A picture that is deleted between reading it and keeping its thumbnail."""

    def put_thumbnail(self, content, *, sha256):
        super().delete(sha256)
        super().put_thumbnail(content, sha256=sha256)


class _ImportedAgain(_DeletedMeanwhile):
    """And that is imported again as soon as it was seen to be gone."""

    def has(self, sha256):
        there = super().has(sha256)
        super().put(CONTENT, sha256=sha256)
        return there


@pytest.mark.parametrize(
    ("kind", "left"), [(Blobs, 2), (_DeletedMeanwhile, 0), (_ImportedAgain, 1)]
)
async def test_of_a_picture_that_goes_meanwhile_no_thumbnail_stays(tmp_path, kind, left):
    blobs = kind(str(tmp_path / "blobs"))
    blobs.put(CONTENT, sha256=SHA)
    metrics = telemetry.Metrics(service="test")
    holdings = Holdings(blobs=blobs, metrics=metrics)
    holdings.open(_OneRecord())
    catalogue = Catalogue(holdings=holdings, settings=SearchSettings(), metrics=metrics)
    assert await catalogue.thumbnail(name(1))
    holdings.close()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == left
    if left:
        assert blobs.get(SHA) == CONTENT
