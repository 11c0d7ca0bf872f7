"""What archivists say of two images, as the client gives it back."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from halftone.v1 import verdicts_pb2 as pb

if TYPE_CHECKING:
    from google.protobuf import timestamp_pb2
    from google.protobuf.message import Message


class Decision(StrEnum):
    """What an archivist says of two images."""

    SAME = "same"
    DIFFERENT = "different"
    UNSURE = "unsure"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What an archivist said of two images.

    Attributes:
        name: `verdicts/{id}`.
        a: Name of an image; the lesser of the two.
        end_time: When a later verdict took its place or it was taken back; None while it holds.
        overruled: It holds, but later verdicts contradict it, so that it has no effect.
        overruled_verdicts: Those that lost their effect by the call that gave this, the newest
            first, at most 100. Only from `Client.judge` and `Client.delete_verdict`.
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

    @property
    def id(self) -> str:
        """The last part of the name."""
        return self.name.rpartition("/")[2]

    @property
    def label(self) -> str:
        """For people, for example `same`, or `same (overruled)` where it has no effect."""
        return f"{self.decision.value} (overruled)" if self.overruled else self.decision.value


def verdict_from(message: pb.Verdict) -> Verdict:
    """The verdict in a message."""
    return Verdict(
        name=message.name,
        a=message.a,
        b=message.b,
        # What this client does not know yet binds nothing that it makes of it.
        decision=decision_from(message.decision) or Decision.UNSURE,
        note=message.note,
        author=message.author,
        create_time=time_of(message, "create_time"),
        end_time=time_of(message, "end_time"),
        overruled=message.overruled,
        overruled_verdicts=tuple(map(verdict_from, message.overruled_verdicts)),
    )


def decision_from(value: int) -> Decision | None:
    """The decision in a message; None where there is none that this client knows."""
    try:
        return Decision[pb.Verdict.Decision.Name(value)]
    except (KeyError, ValueError):
        return None


def time_of(message: Message, name: str) -> dt.datetime | None:
    """A field of a message that is a time, if it is set."""
    if not message.HasField(name):
        return None
    value: timestamp_pb2.Timestamp = getattr(message, name)
    return value.ToDatetime(tzinfo=dt.UTC)
