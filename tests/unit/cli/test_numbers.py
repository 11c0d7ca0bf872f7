"""Numbers that options do not take are refused in plain words."""

from __future__ import annotations

import click
import pytest

from halftone.cli.numbers import Real, Whole


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        (Whole(0, 65535), "abc", "'abc' is not a valid integer."),
        (Whole(0, 65535), "1.5", "'1.5' is not a valid integer."),
        (Whole(0, 65535), "70000", "70000 is too large; it is to be between 0 and 65535."),
        (Whole(1), "0", "0 is too small; it is to be at least 1."),
        (Real(0), "-0.5", "-0.5 is too small; it is to be at least 0."),
        (Real(0), "abc", "'abc' is not a valid number."),
    ],
)
def test_what_is_no_such_number_is_refused(kind, value, said):
    with pytest.raises(click.BadParameter) as caught:
        kind.convert(value, None, None)
    assert caught.value.message == said


def test_numbers_within_the_bounds_are_taken():
    assert Whole(0, 65535).convert("65535", None, None) == 65535
    assert Whole(1).convert(1, None, None) == 1
    assert Real(0).convert("0.5", None, None) == 0.5
