"""Which ids clusters have: those of the clusters that they come from."""

from __future__ import annotations

import base64
import hashlib
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_ID_LENGTH: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Previous:
    """A cluster as it was. `created` is any number that says which is older."""

    id: str
    created: int
    members: frozenset[bytes]


def identified(
    groups: Sequence[tuple[bytes, ...]], *, previous: list[Previous], taken: Callable[[str], bool]
) -> tuple[list[str], dict[str, str]]:
    """An id for each group, and what becomes of the ids that none has."""
    group_of = {node: number for number, members in enumerate(groups) for node in members}
    claims: dict[int, list[Previous]] = defaultdict(list)
    heirs: dict[str, int] = {}
    for before in previous:
        shares: dict[int, int] = defaultdict(int)
        for node in before.members:
            if node in group_of:
                shares[group_of[node]] += 1
        if shares:
            # The larger part; of equal parts that of the first member.
            heir = min(shares, key=lambda number: (-shares[number], number))
            heirs[before.id] = heir
            claims[heir].append(before)
    ids = [
        min(claims[number], key=lambda before: (before.created, before.id)).id
        if number in claims
        else ""
        for number in range(len(groups))
    ]
    used = {before.id for before in previous}
    for number, members in enumerate(groups):
        if not ids[number]:
            ids[number] = _new_id(members[0], used=used, taken=taken)
            used.add(ids[number])
    kept = set(ids)
    retired = {
        before.id: ids[heirs[before.id]] if before.id in heirs else ""
        for before in previous
        if before.id not in kept
    }
    return ids, retired


def _new_id(first: bytes, *, used: set[str], taken: Callable[[str], bool]) -> str:
    """Ten to type, from the first member: the same again where everything is made anew."""
    attempt = 0
    while True:
        digest = hashlib.blake2b(
            first + attempt.to_bytes(4, "big"), digest_size=_ID_LENGTH
        ).digest()
        found = base64.b32encode(digest).decode().lower()[:_ID_LENGTH]
        if found not in used and not taken(found):
            return found
        attempt += 1
