"""Pictures wait for the memory that they need."""

from __future__ import annotations

import threading

from halftone.imaging.needs import MemoryBudget, Need


def test_a_budget_bounds_what_is_decoded_at_a_time():
    budget = MemoryBudget(200)
    inside, most = [0], [0]
    lock = threading.Lock()
    # Two at a time there are, however late one comes.
    meeting = threading.Barrier(2, timeout=60)

    def work():
        with budget.reserve(Need(1, 100)):
            with lock:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
            meeting.wait()
            with lock:
                inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    assert (inside, most) == ([0], [2])


def test_what_is_larger_than_the_budget_is_decoded_alone():
    budget = MemoryBudget(1)
    for _ in range(2):
        with budget.reserve(Need(1, 100)):
            assert not budget.take(1, is_over=lambda: True)
    assert budget.take(1, is_over=lambda: True)


def test_who_gives_up_while_waiting_takes_nothing():
    budget = MemoryBudget(100)
    with budget.reserve(Need(1, 60)):
        assert not budget.take(60, is_over=lambda: True)
        assert budget.take(40, is_over=lambda: True)
    budget.free(40)
    assert budget.take(100, is_over=lambda: True)


def test_a_small_picture_does_not_overtake_a_large_one():
    budget = MemoryBudget(100)
    budget.take(60)
    waits = threading.Event()

    def is_over():
        waits.set()
        return False

    large = threading.Thread(target=budget.take, args=(90,), kwargs={"is_over": is_over})
    large.start()
    assert waits.wait(60)
    assert not budget.take(10, is_over=lambda: True)
    budget.free(60)
    large.join(60)
    assert not large.is_alive()
