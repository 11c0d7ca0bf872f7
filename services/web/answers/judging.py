"""Verdicts: reads and takes them back, and lists the pairs on which one helps most."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from halftone.client import Decision
from halftone.core import errors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from halftone.client import AsyncClient, Verdict

_DIGITS: Final = 7
_REPLACED_WITHIN: Final = dt.timedelta(seconds=2)
_MOST_HISTORY: Final = 200


@dataclass(frozen=True, kw_only=True)
class Place:
    """A pair's place in the queue, as addresses and forms carry it.

    Attributes:
        number: How many pairs have been looked at, this one included.
        left: The number of pairs from this one on.
        here: The page token by which the queue gave this pair.
        following: The page token of the next pair; empty at the end of the queue.
    """

    number: int
    left: int
    here: str = ""
    following: str = ""

    @property
    def total(self) -> int:
        """Return the number of pairs before, at and behind this place."""
        return self.number - 1 + self.left

    def list_fields(self) -> dict[str, str]:
        """Return the place as fields of an address or of a form."""
        return {
            "place": str(self.number),
            "left": str(self.left),
            "here": self.here,
            "following": self.following,
        }

    def list_next(self) -> dict[str, str]:
        """Return the fields by which `/judge` leads to the next pair; none at the end."""
        if not self.following:
            return {}
        return {"go": str(self.number + 1), "page": self.following}

    def list_previous(self) -> dict[str, str]:
        """Return the fields of the place before, whose next pair is the one that is here."""
        before = Place(number=max(1, self.number - 1), left=self.left + 1, following=self.here)
        return before.list_fields()


def read_place(fields: Mapping[str, object]) -> Place | None:
    """Return the place in the queue that an address or a form carries; None if there is none."""
    number = read_number(fields.get("place"))
    if number is None:
        return None
    here, following = fields.get("here"), fields.get("following")
    return Place(
        number=number,
        left=read_number(fields.get("left")) or 1,
        here=here if isinstance(here, str) else "",
        following=following if isinstance(following, str) else "",
    )


def read_number(value: object) -> int | None:
    """Return a number of a queue, at least 1; None if the value is none."""
    if not isinstance(value, str) or not value.isdecimal() or len(value) > _DIGITS:
        return None
    return max(1, int(value))


def read_decision(text: str) -> Decision:
    """Return the decision of a form's field.

    Raises:
        errors.InvalidArgument: It is none.
    """
    try:
        return Decision(text)
    except ValueError:
        raise errors.InvalidArgument(
            "A verdict is: same, different or unsure.", field="decision"
        ) from None


async def take_back(client: AsyncClient, verdict_id: str, *, a: str, b: str) -> None:
    """Undo a verdict. If it took the place of an earlier one, that one is given again.

    Args:
        client: The client.
        verdict_id: The id of the verdict.
        a: The name of one image of the pair.
        b: The name of the other.

    Raises:
        errors.NotFound: There is no such verdict.
    """
    name = f"verdicts/{verdict_id}"
    earlier = await _find_replaced(client, name, pair={a, b}, image=a)
    await client.delete_verdict(name)
    if earlier is not None:
        await client.judge(
            earlier.a, earlier.b, earlier.decision, note=earlier.note, author=earlier.author
        )


async def is_kept(client: AsyncClient, verdict_id: str, *, a: str, b: str) -> bool:
    """Return whether a verdict holds: it was neither taken back nor replaced.

    An address that says so may be opened long after. Without an answer it is not said.
    """
    verdicts = await _list_newest(client, pair={a, b}, image=a)
    return any(each.id == verdict_id for each in verdicts)


async def is_taken_back(client: AsyncClient, verdict_id: str, *, a: str, b: str) -> bool:
    """Return whether a verdict was taken back, and its pair not judged anew since."""
    history = await _list_newest(client, pair={a, b}, image=a, history=True)
    ended = next((each.end_time for each in history if each.id == verdict_id), None)
    if ended is None:
        return False
    # The one that the verdict had replaced is given again as soon as it is taken back.
    return not any(
        each.create_time and each.create_time > ended + _REPLACED_WITHIN for each in history
    )


async def _list_newest(
    client: AsyncClient, *, pair: set[str], image: str, history: bool = False
) -> list[Verdict]:
    try:
        page = await client.verdict_page(image=image, history=history, page_size=_MOST_HISTORY)
    except errors.HalftoneError:
        return []
    return [each for each in page if {each.a, each.b} == pair]


async def _find_replaced(
    client: AsyncClient, name: str, *, pair: set[str], image: str
) -> Verdict | None:
    """Return the verdict that another one, by its name, replaced; None if there is none."""
    history = []
    async for verdict in client.verdicts(image=image, history=True):
        if {verdict.a, verdict.b} == pair:
            history.append(verdict)
        if len(history) >= _MOST_HISTORY:
            break
    given = next((each for each in history if each.name == name), None)
    if given is None or given.create_time is None:
        return None
    for verdict in history:
        ended = verdict.end_time
        if verdict is given or ended is None:
            continue
        # A verdict that ends when another one begins was replaced by it.
        if abs(ended - given.create_time) <= _REPLACED_WITHIN:
            return verdict
    return None
