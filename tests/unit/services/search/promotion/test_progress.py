"""The speed of a promotion, and the time that is left."""

from __future__ import annotations

import pytest

from halftone.services.search.promotion.progress import Progress
from halftone.v1 import models_pb2


class Clock:
    def __init__(self):
        self.now = 1_000.0

    def __call__(self):
        return self.now


def test_the_speed_after_a_resumption_leaves_out_what_was_done_before():
    promotion, clock = models_pb2.Promotion(), Clock()
    progress = Progress(promotion, clock=clock)
    progress.begin(total=1_000)
    for _ in range(10):
        clock.now += 0.01
        progress.add(50, embedded=0, failed=0)
    assert (promotion.images_done, promotion.images_per_second, promotion.seconds_left) == (
        (500, 0.0, 0.0)
    )
    for _ in range(5):
        clock.now += 2.0
        progress.add(20, embedded=20, failed=1)
    assert promotion.images_per_second == pytest.approx(10.0)
    assert promotion.seconds_left == pytest.approx(40.0)
    assert promotion.images_failed == 1


def test_beginning_again_forgets_what_was_counted():
    promotion, clock = models_pb2.Promotion(), Clock()
    progress = Progress(promotion, clock=clock)
    for _ in range(2):
        progress.begin(total=10)
        assert (promotion.images_done, promotion.images_total) == (0, 10)
        assert promotion.images_per_second == promotion.seconds_left == 0.0
        clock.now += 1.0
        progress.add(6, embedded=6, failed=0)
        clock.now += 1.0
        progress.add(6, embedded=6, failed=0)
        assert (promotion.images_done, promotion.images_total) == (12, 12)
        assert promotion.images_per_second == pytest.approx(6.0)
