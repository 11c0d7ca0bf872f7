"""The pace of what is done in batches, and the lines where there is no terminal."""

from __future__ import annotations

import contextlib
import io
import time

import pytest

from halftone.cli.terminal.progress import Counter, Pace, format_duration


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


def take_batch(pace, clock, *, seconds, count=32):
    """A batch is worked on, then its records are acknowledged one by one."""
    clock.now += seconds
    for _ in range(count):
        clock.now += 0.001
        pace.advance(1)


def test_nothing_is_known_before_the_first_batch(clock):
    pace = Pace(clock=clock)
    clock.now += 100
    assert pace.measure_rate() == 0
    assert pace.estimate_seconds_left(100) is None


def test_the_time_left_is_right_at_every_moment_of_a_batch(clock):
    """It took 16 s for each batch of 32, so 2 images a second, and 68 are left."""
    pace = Pace(clock=clock)
    for _ in range(10):
        take_batch(pace, clock, seconds=15.968)
    ended = clock.now
    for moment in (0, 4, 8, 12, 15):
        clock.now = ended + moment
        assert pace.measure_rate() == pytest.approx(2, rel=0.01)
        assert pace.estimate_seconds_left(320 + 68) == pytest.approx(34 - moment, abs=0.5)


def test_a_rate_follows_what_became_slower(clock):
    """Records that were imported before are acknowledged at once, new ones take their time."""
    pace = Pace(clock=clock)
    for _ in range(100):
        take_batch(pace, clock, seconds=0.6)
    fast = pace.measure_rate()
    for _ in range(12):
        take_batch(pace, clock, seconds=16)
    assert fast == pytest.approx(32 / 0.632, rel=0.1)
    assert pace.measure_rate() == pytest.approx(2, rel=0.1)


def test_what_stands_still_becomes_slow(clock):
    pace = Pace(clock=clock)
    for _ in range(4):
        take_batch(pace, clock, seconds=1)
    clock.now += 400
    assert pace.measure_rate() < 0.5


def test_without_a_terminal_a_line_is_printed_now_and_then():
    stream = io.StringIO()

    def until(words):
        end = time.monotonic() + 100
        while words not in stream.getvalue():
            assert time.monotonic() < end, stream.getvalue()
            time.sleep(0.005)

    with contextlib.redirect_stderr(stream), Counter(line_seconds=0.01) as counter:
        advance = counter.add("Importing", total=2000)
        until("Importing: 0 of 2,000\n")
        advance(1000)
        advance(4, remark="4 rejected")
        until("Importing: 1,004 of 2,000, ")
        until(" left, 4 rejected\n")
        counter.say("A sentence [in brackets].")
        until("A sentence [in brackets].\n")
        advance(996)
        other = counter.add("Comparing", total=3)
        until("Comparing: 0 of 3\n")
        other(3)
    said = stream.getvalue()
    assert "\x1b" not in said
    assert "2,000 of 2,000" not in said


def test_durations_are_short():
    assert [format_duration(seconds) for seconds in (7.4, 750, 7500)] == [
        "0:07",
        "12:30",
        "2:05:00",
    ]
