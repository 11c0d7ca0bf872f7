"""Outages: how long is waited from the first failure on, and until when."""

from __future__ import annotations

import time

import pytest

from halftone.core import errors
from halftone.services.search.archive import patience
from halftone.services.search.archive.patience import Outage


@pytest.fixture
def hasty(monkeypatch):
    monkeypatch.setattr(patience, "_PAUSE", 0.001)


def test_before_a_failure_all_of_the_patience_is_left():
    assert Outage(seconds=30).left() == 30


def test_an_outage_counts_from_its_first_failure_until_an_answer():
    outage = Outage(seconds=30)
    now = time.monotonic()
    outage.begin(since=now - 20)
    outage.begin(since=now)
    assert 5 < outage.left() <= 10
    outage.end()
    assert outage.left() == 30
    outage.begin(since=now - 40)
    assert outage.left() == 0


async def test_waiting_ends_with_the_patience(hasty):
    outage = Outage(seconds=30)
    error = errors.Unavailable("gone")
    await outage.wait(error)
    ended = Outage(seconds=30)
    ended.begin(since=time.monotonic() - 31)
    with pytest.raises(errors.Unavailable, match="gone"):
        await ended.wait(error)


async def test_a_full_disk_is_not_waited_for():
    with pytest.raises(errors.StorageFull):
        await Outage(seconds=30).wait(errors.StorageFull("full"))


async def test_the_check_ends_the_work(hasty):
    def check():
        raise errors.Cancelled("ended")

    with pytest.raises(errors.Cancelled):
        await Outage(seconds=30, check=check).wait(errors.Unavailable("gone"))
