"""One list of candidates out of several."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

Item = TypeVar("Item", bound="Hashable")


def fuse(lists: Sequence[Sequence[Item]], *, limit: int) -> list[Item]:
    """Orders candidates by the best rank that any list gives them.

    A true match is often first in one channel and nowhere in the others, so ranks are not summed:
    on the press archive the best rank brings 0.96 of all true pairs into the first 50, reciprocal
    rank fusion less. Of equal ranks the earlier list's comes first.

    Args:
        lists: Candidates of each channel, best first. A candidate may come in several lists.
        limit: The most that are returned.
    """
    fused: dict[Item, None] = {}
    for rank in range(max(map(len, lists), default=0)):
        for each in lists:
            if rank < len(each):
                fused.setdefault(each[rank])
        if len(fused) >= limit:
            break
    return list(fused)[: max(0, limit)]
