"""Verdicts: gives and takes them back, and finds the pairs on which a verdict helps most."""

from __future__ import annotations

import asyncio
import datetime as dt
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from halftone.client import ClusterOrder, Decision
from halftone.core import errors
from halftone.rendering import timelines

if TYPE_CHECKING:
    from halftone.client import AsyncClient, Cluster, ImageRecord, Link, Verdict

_CLUSTERS: Final = 60
_MOST_DOUBTS: Final = 100
# Nobody has to look at a pair that is surer than this.
_SURE: Final = 0.995
_REPLACED_WITHIN: Final = dt.timedelta(seconds=2)
_MOST_HISTORY: Final = 200


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """A pair that nobody has judged and on which a cluster hangs.

    Attributes:
        weight: How much a verdict on it helps; only for sorting.
    """

    a: ImageRecord
    b: ImageRecord
    link: Link
    cluster: Cluster
    weight: float


async def list_doubts(client: AsyncClient) -> list[Doubt]:
    """Return the pairs that are worth a verdict, the most helpful first.

    These are unjudged links of clusters. A link helps the more, the less probable it is and the
    more printings its cluster has: if the weakest link of a large cluster is wrong, many printings
    are in the wrong place.
    """
    page = await client.cluster_page(order=ClusterOrder.SIZE, page_size=_CLUSTERS)
    weak = sorted(page, key=lambda cluster: cluster.weakest_link)
    found = await asyncio.gather(*(client.cluster(each.name) for each in weak[: _CLUSTERS // 2]))
    doubts = []
    for cluster in found:
        records = {member.image.name: member.image for member in cluster.members}
        for link in timelines.list_inner_links(cluster):
            probability = link.probability
            if timelines.is_certain(link) or probability is None or probability >= _SURE:
                continue
            weight = (1 - probability) * math.log2(cluster.size + 1)
            doubts.append(
                Doubt(
                    a=records[link.a],
                    b=records[link.b],
                    link=link,
                    cluster=cluster,
                    weight=weight,
                )
            )
    doubts.sort(key=lambda doubt: (-doubt.weight, doubt.a.name, doubt.b.name))
    return doubts[:_MOST_DOUBTS]


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
