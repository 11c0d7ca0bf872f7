"""The types of archivists' verdicts on pairs of images, and their conversion."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from halftone.client.messages import parse_fields
from halftone.v1 import verdicts_pb2 as pb

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator


class Decision(StrEnum):
    """A decision of an archivist on two images."""

    SAME = "same"
    DIFFERENT = "different"
    UNSURE = "unsure"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """An archivist's verdict on two images.

    Attributes:
        name: `verdicts/{id}`.
        a: Name of an image, the first of the two in alphabetical order.
        b: Name of the other image.
        end_time: The time when a later verdict replaced it or it was taken back; None while it
            holds.
        overruled: Whether it has no effect although it holds, because later verdicts contradict it.
        overruled_verdicts: The verdicts that lost their effect by the call that returned this one,
            the newest first, at most 100. Only from `Client.judge` and `Client.delete_verdict`.
        replaced_images: Names of those of the two images whose picture is another one than was
            judged; the verdict holds all the same.
    """

    name: str
    a: str
    b: str
    decision: Decision
    note: str = ""
    author: str = ""
    create_time: dt.datetime | None = None
    end_time: dt.datetime | None = None
    overruled: bool = False
    overruled_verdicts: tuple[Verdict, ...] = ()
    replaced_images: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """Return the id: the last part of `name`, which is `verdicts/{id}`."""
        return self.name.rpartition("/")[2]

    @property
    def label(self) -> str:
        """Return the decision for people: `same`, or `same (overruled)` if it has no effect.

        `same (of another picture)` if one of the images has another picture now.
        """
        notes = ["overruled"] * self.overruled
        notes += ["of another picture"] * bool(self.replaced_images)
        return f"{self.decision.value} ({', '.join(notes)})" if notes else self.decision.value


@dataclass(frozen=True, kw_only=True)
class VerdictPage:
    """A page of verdicts, the newest first; iterating over it gives the verdicts.

    Attributes:
        next_page_token: The token of the next page; empty on the last page.
    """

    verdicts: tuple[Verdict, ...]
    next_page_token: str

    def __iter__(self) -> Iterator[Verdict]:
        return iter(self.verdicts)

    def __len__(self) -> int:
        return len(self.verdicts)


def parse_verdict(message: pb.Verdict) -> Verdict:
    """Convert a message to a verdict."""
    return parse_fields(
        message,
        Verdict,
        # A decision that this client does not know yet must not bind anything.
        decision=parse_decision(message.decision) or Decision.UNSURE,
        overruled_verdicts=tuple(map(parse_verdict, message.overruled_verdicts)),
        replaced_images=tuple(message.replaced_images),
    )


def parse_decision(value: int) -> Decision | None:
    """Convert a decision. Return None if none is set, or if this client does not know it."""
    try:
        return Decision[pb.Verdict.Decision.Name(value)]
    except (KeyError, ValueError):
        return None
