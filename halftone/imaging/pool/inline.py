"""Runs functions on pictures where they are called, as a pool would."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from halftone.imaging.needs import MemoryBudget

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Runner(Protocol):
    """Runs functions on pictures: a `Pool` in processes of its own, `Inline` in this one."""

    def run(
        self,
        function: Callable[..., T],
        content: bytes,
        /,
        *,
        is_over: Callable[[], bool] | None = None,
        **arguments: Any,
    ) -> T:
        """Call a function with a picture's bytes and return its result; see `Pool.run`."""


class Inline:
    """Runs functions in the calling thread, for programs that read pictures of their own.

    Args:
        budget: Bounds the memory of all threads that decode at the same time.
    """

    def __init__(self, budget: MemoryBudget | None = None) -> None:
        self._budget = budget or MemoryBudget()

    def run(
        self,
        function: Callable[..., T],
        content: bytes,
        /,
        *,
        is_over: Callable[[], bool] | None = None,  # noqa: ARG002 - a thread cannot be killed
        **arguments: Any,
    ) -> T:
        """Call a function and return its result."""
        return function(content, reserve=self._budget.reserve, **arguments)
