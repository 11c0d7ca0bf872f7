"""Lists of a limited length."""

from __future__ import annotations

import pytest

from halftone.core.batches import batched


@pytest.mark.parametrize("values", [range(5), iter(range(5)), list(range(5))])
def test_the_last_list_is_shorter(values):
    assert list(batched(values, 2)) == [[0, 1], [2, 3], [4]]


def test_nothing_is_no_list():
    assert list(batched((), 2)) == []
