"""Verdicts: reads and takes them back, and lists the pairs on which one helps most."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Final

from halftone.client import Decision
from halftone.core import errors

if TYPE_CHECKING:
    from halftone.client import AsyncClient, Verdict
    from halftone.client.judging import JudgingPage

_MOST_PAIRS: Final = 100
_REPLACED_WITHIN: Final = dt.timedelta(seconds=2)
_MOST_HISTORY: Final = 200


async def list_pairs(client: AsyncClient) -> JudgingPage:
    """Return the pairs that are worth a verdict, at most a hundred, the most helpful first."""
    return await client.pairs_to_judge(page_size=_MOST_PAIRS)


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
