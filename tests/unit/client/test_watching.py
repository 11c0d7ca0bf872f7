"""What is told while a promotion is watched, and how long a lost stream is opened again."""

from __future__ import annotations

import pytest

from halftone.client import PromotionState, RetryPolicy, models
from halftone.client.watching import Watch
from halftone.core import errors
from halftone.v1 import models_pb2 as pb


@pytest.fixture
def watch():
    policy = RetryPolicy(attempts=3, first_pause=0.01)
    return Watch(call=models.watch(), policy=policy, on_retry=lambda: None)


def message(number="1", *, revision, state="EMBEDDING"):
    return pb.Promotion(id=number, revision=revision, state=state)


def test_each_state_is_told_once(watch):
    assert watch.take(message(revision=1)).revision == 1
    assert watch.take(message(revision=1)) is None
    assert watch.take(message(revision=3)).revision == 3
    assert watch.take(message(revision=2)) is None
    assert not watch.is_over
    ended = watch.take(message(revision=4, state="SUCCEEDED"))
    assert ended.state is PromotionState.SUCCEEDED
    assert watch.is_over


def test_another_promotion_is_news_whatever_its_revision(watch):
    watch.take(message("1", revision=9))
    assert watch.take(message("2", revision=1)).id == "2"


def test_only_news_makes_up_for_lost_streams(watch):
    """A service that dies after each answer would otherwise be asked for ever."""
    lost = errors.Unavailable("gone")
    watch.take(message(revision=1))
    watch.pause_after(lost)
    watch.take(message(revision=1))
    watch.pause_after(lost)
    with pytest.raises(errors.Unavailable):
        watch.pause_after(lost)
    watch.take(message(revision=2))
    watch.pause_after(lost)


def test_a_stream_that_has_lasted_long_is_opened_again_at_once(watch):
    for _ in range(5):
        assert watch.pause_after(errors.DeadlineExceeded("600 s are over")) == 0
