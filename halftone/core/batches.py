"""Cuts what is to be worked through into lists of a limited length."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

T = TypeVar("T")


def batched(values: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield values in lists of `size`; the last one may be shorter. As in `itertools` of 3.12."""
    remaining = iter(values)
    while batch := list(itertools.islice(remaining, size)):
        yield batch
