"""Candidates by their best rank."""

from __future__ import annotations

import pytest

from halftone.matching.fusion import fuse


@pytest.mark.parametrize(
    ("lists", "limit", "expected"),
    [
        ([], 5, []),
        ([[], []], 5, []),
        ([["a", "b"]], 5, ["a", "b"]),
        ([["a", "b", "c"], ["d", "a"]], 5, ["a", "d", "b", "c"]),
        ([["a", "b", "c"], ["d", "a"]], 3, ["a", "d", "b"]),
        ([["a"], ["b", "c", "d"]], 10, ["a", "b", "c", "d"]),
        ([["a", "b"]], 0, []),
    ],
)
def test_the_best_rank_in_any_list_counts(lists, limit, expected):
    assert fuse(lists, limit=limit) == expected
