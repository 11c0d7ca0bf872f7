"""Lists of clusters, and the life of one picture."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from halftone.client import ClusterOrder
from halftone.core import errors
from halftone.rendering import texts, timelines
from halftone.services.web.answers import questions
from halftone.services.web.pages import charts
from halftone.services.web.pages.desk import get_desk
from halftone.services.web.words import sentences

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from halftone.client import ImageRecord

_PAGE: Final = 24
_LONGEST_CAPTION: Final = 2000
_WORD: Final = re.compile(r"\S+")


async def list_clusters(request: Request) -> Response:
    """Answer `GET /clusters`: pictures that were printed more than once."""
    desk = get_desk(request)
    params = request.query_params
    choice = questions.read_choice(params)
    orders = {order.value: order for order in ClusterOrder}
    order = orders.get(params.get("order", ""), ClusterOrder.SIZE)
    least = {key: _read_number(params.get(key, "")) for key in ("size", "journals", "years")}
    page = await desk.client.cluster_page(
        filter=choice.make_filter(),
        order=order,
        min_size=least["size"],
        min_journals=least["journals"],
        min_span_years=least["years"],
        unjudged_first="unjudged" in params,
        page_size=_PAGE,
        page_token=params.get("page", ""),
    )
    jobs = [job async for job in desk.client.cluster_jobs(page_size=1)] if not page.total else []
    kept = [
        *choice.list_fields(),
        *((key, str(value)) for key, value in least.items() if value is not None),
        *([("unjudged", "1")] if "unjudged" in params else []),
    ]

    def make_address(**changes: str) -> str:
        fields = [*kept, ("order", order.value)]
        return "/clusters?" + urlencode(
            [*[(k, v) for k, v in fields if k not in changes], *changes.items()]
        )

    return await desk.renderer.render(
        request,
        "clusters",
        page=page,
        choice=choice,
        order=order.value,
        orders=list(orders),
        least=least,
        unjudged_first="unjudged" in params,
        was_grouped=bool(jobs),
        address=make_address,
    )


def _read_number(text: str) -> int | None:
    if not text:
        return None
    if not text.isdecimal() or len(text) > 6:  # noqa: PLR2004 - digits
        raise errors.InvalidArgument(f"{text[:20]!r} is not a whole number.", field="size")
    return int(text)


@dataclass(frozen=True, kw_only=True)
class PrintingView:
    """A printing on a cluster's page.

    Attributes:
        gap: The time since the printing before, in words.
        caption: Its words, each with whether the earliest printing's caption has it, too.
    """

    printing: timelines.Printing
    gap: str
    caption: list[tuple[str, bool]]


async def show_cluster(request: Request) -> Response:
    """Answer `GET /cluster?name=…`: the printings of a picture in the order of time.

    The name is a cluster's, or that of an image of it.
    """
    desk = get_desk(request)
    cluster = await desk.client.cluster(request.query_params.get("name", ""))
    language = desk.renderer.choose_language(request)
    printings = timelines.list_printings(cluster)
    dated = [each for each in printings if each.span is not None]
    views = []
    before: ImageRecord | None = None
    for printing in printings:
        image = printing.image
        gap = sentences.describe_gap(before, image, language) if before is not None else ""
        first = cluster.first_image
        # In another language every word differs, which says nothing.
        alike = not (image.language and first.language) or image.language == first.language
        caption = mark_words(image.caption, beside=first.caption if alike else image.caption)
        views.append(PrintingView(printing=printing, gap=gap, caption=caption))
        before = image
    weakest = timelines.find_weakest_link(cluster)
    return await desk.renderer.render(
        request,
        "cluster",
        cluster=cluster,
        dated=[view for view in views if view.printing.span is not None],
        undated=[view for view in views if view.printing.span is None],
        line=charts.draw_timeline([(each.number, each.span) for each in dated if each.span]),
        weakest=weakest,
        numbers={each.image.name: each.number for each in printings},
        left_out=max(0, cluster.size - len(cluster.members)),
    )


def mark_words(caption: str, *, beside: str) -> list[tuple[str, bool]]:
    """Return the words of a caption, each with whether another caption has it at its place, too."""
    words = _WORD.findall(texts.flatten(caption)[:_LONGEST_CAPTION])
    others = _WORD.findall(texts.flatten(beside)[:_LONGEST_CAPTION])
    matcher = difflib.SequenceMatcher(None, _fold(others), _fold(words), autojunk=False)
    marked: list[tuple[str, bool]] = [(word, False) for word in words]
    for block in matcher.get_matching_blocks():
        for place in range(block.b, block.b + block.size):
            marked[place] = (words[place], True)
    return marked


def _fold(words: Sequence[str]) -> list[str]:
    return [word.strip(".,;:!?\"'()[]").casefold() or word for word in words]
