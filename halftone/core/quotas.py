"""What a key may use in a minute, an hour or a day, and how many calls it may have at a time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from halftone.core import errors

if TYPE_CHECKING:
    from collections.abc import Iterable

_QUOTA: Final = re.compile(r"([a-z]+)=([0-9]{1,12})(?:/(minute|hour|day))?")
_SECONDS: Final = {"minute": 60, "hour": 3_600, "day": 86_400}


class Kind(StrEnum):
    """What is counted."""

    SEARCHES = "searches"
    """Searches, comparisons, and pictures sent to the embedder."""
    MEGAPIXELS = "megapixels"
    """Pixels of pictures that were decoded for searches, imports and embeddings, in millions."""
    IMPORTS = "imports"
    """Records sent for import."""
    CONCURRENCY = "concurrency"
    """Calls at a time, streams included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """A bound on what a key may use.

    Attributes:
        kind: What is counted.
        amount: The most of it, at least 1.
        per: `minute`, `hour` or `day`; empty for calls at a time.
    """

    kind: Kind
    amount: int
    per: str = ""

    @property
    def seconds(self) -> int:
        """Return the length of the time in which it is counted; 0 for calls at a time."""
        return _SECONDS.get(self.per, 0)

    def __str__(self) -> str:
        return f"{self.kind}={self.amount}" + (f"/{self.per}" if self.per else "")


def parse_quota(text: str) -> Quota:
    """Return the quota that a text such as `searches=60/minute` or `concurrency=4` describes.

    Raises:
        errors.InvalidArgument: It describes none.
    """
    found = _QUOTA.fullmatch(text.strip().lower())
    kinds = ", ".join(Kind)
    if found is None or found[1] not in set(Kind) or int(found[2]) < 1:
        raise errors.InvalidArgument(
            f"{text!r} is no quota. It is KIND=NUMBER/minute, /hour, /day, or concurrency=NUMBER. "
            f"The kinds are {kinds}.",
            field="quota",
        )
    quota = Quota(kind=Kind(found[1]), amount=int(found[2]), per=found[3] or "")
    if (quota.kind is Kind.CONCURRENCY) is bool(quota.per):
        raise errors.InvalidArgument(
            f"{text!r}: calls at a time are counted without a time, everything else within one.",
            field="quota",
        )
    return quota


def parse_quotas(texts: Iterable[str]) -> tuple[Quota, ...]:
    """Return the quotas that texts describe.

    Raises:
        errors.InvalidArgument: One of them describes none.
    """
    return tuple(parse_quota(text) for text in texts if text.strip())
