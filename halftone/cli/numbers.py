"""Numbers as options take them, refused in plain words.

Click's own ranges say of `abc` that it "is not a valid integer range".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from typing import Any


class Whole(click.IntRange):
    """A whole number between two bounds."""

    name = "integer"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Any:  # click's signature
        """Return the number.

        Raises:
            click.BadParameter: It is none, or lies outside the bounds.
        """
        number = click.INT.convert(value, param, ctx)
        problem = _find_problem(number, bounds=self)
        if problem:
            self.fail(problem, param, ctx)
        return number


class Real(click.FloatRange):
    """A number between two bounds."""

    name = "number"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Any:  # click's signature
        """Return the number.

        Raises:
            click.BadParameter: It is none, or lies outside the bounds.
        """
        try:
            number = float(value)
        except ValueError:
            self.fail(f"{value!r} is not a valid number.", param, ctx)
        problem = _find_problem(number, bounds=self)
        if problem:
            self.fail(problem, param, ctx)
        return number


def _find_problem(number: float, *, bounds: Whole | Real) -> str:
    """Return what is wrong with a number that is out of bounds, or ""."""
    low, high = bounds.min, bounds.max
    if (low is None or number >= low) and (high is None or number <= high):
        return ""
    allowed = f"between {low} and {high}" if high is not None else f"at least {low}"
    size = "small" if low is not None and number < low else "large"
    return f"{number} is too {size}; it is to be {allowed}."
