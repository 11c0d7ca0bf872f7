"""The queue of the embedder's threads: callers have turns, and so have the requests of each."""

from __future__ import annotations

from halftone.services.embedder.batching.waiting import Request, Turns


def make_request(caller):
    return Request(
        encoder=None,
        deadline=None,
        accepted=0.0,
        items=1,
        size=1,
        outcomes=[None],
        unanswered=1,
        caller=caller,
    )


def test_a_caller_with_many_requests_does_not_keep_another_one_waiting():
    turns = Turns()
    greedy = [make_request("greedy") for _ in range(3)]
    for number, request in enumerate(greedy):
        for entry in "ab":
            turns.add(request, f"{number}{entry}")
    polite = make_request("polite")
    for entry in "ab":
        turns.add(polite, f"p{entry}")
    assert [turns.take() for _ in range(8)] == ["0a", "pa", "1a", "pb", "2a", "0b", "1b", "2b"]
    assert turns.count == 0


def test_a_request_that_is_dropped_leaves_the_others():
    turns = Turns()
    first, second = make_request("a"), make_request("a")
    turns.add(first, "x")
    turns.add(second, "y")
    turns.drop(first)
    turns.drop(first)
    assert turns.count == 1
    assert turns.take() == "y"
    turns.drop(second)
    assert turns.count == 0
