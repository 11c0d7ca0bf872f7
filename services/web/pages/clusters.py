"""Lists of clusters, and the life of one picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from halftone.client import ClusterOrder
from halftone.core import errors
from halftone.rendering import texts, timelines
from halftone.services.web.answers import captions, outlines, questions
from halftone.services.web.pages import charts
from halftone.services.web.pages.desk import get_desk
from halftone.services.web.pages.search import find_detail
from halftone.services.web.words import sentences

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from halftone.client import AsyncClient, ClusterJob

_PAGE: Final = 24
# A page stays below 150 kB.
_PRINTINGS: Final = 36
_LINKS: Final = 100


async def list_clusters(request: Request) -> Response:
    """Answer `GET /clusters`: pictures that were printed more than once."""
    desk = get_desk(request)
    params = request.query_params
    choice = questions.read_choice(params)
    orders = {order.value: order for order in ClusterOrder}
    order = orders.get(params.get("order", ""), ClusterOrder.SIZE)
    least = {
        key: _read_number(params.get(key, ""), field=key) for key in ("size", "journals", "years")
    }
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
    newest = await find_grouping(desk.client)
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
        was_grouped=newest is not None,
        grouping=newest if newest and not newest.state.is_over else None,
        address=make_address,
    )


async def find_grouping(client: AsyncClient) -> ClusterJob | None:
    """Return the newest job that groups the archive; None if there was none."""
    async for job in client.cluster_jobs(page_size=1):
        return job
    return None


def _read_number(text: str, *, field: str) -> int | None:
    if not text:
        return None
    if not text.isdecimal() or len(text) > 6:  # noqa: PLR2004 - digits
        raise errors.InvalidArgument(f"{text[:20]!r} is not a whole number.", field=field)
    return int(text)


@dataclass(frozen=True, kw_only=True)
class PrintingView:
    """A printing on a cluster's page.

    Attributes:
        gap: The time since the printing before, in words.
        detail: What it shares with the earliest one, as it stands in an address; "" if that is all
            or nothing.
    """

    printing: timelines.Printing
    gap: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class JournalView:
    """A journal in which a picture was printed.

    Attributes:
        name: Its name; empty for printings whose journal is not known.
        printings: Its printings in chronological order.
    """

    name: str
    printings: list[timelines.Printing]


async def show_cluster(request: Request) -> Response:
    """Answer `GET /cluster?name=…`: the printings of a picture in the order of time.

    The name is a cluster's, or that of an image of it. Printings come in pages; `from` is the
    number of the first to show.
    """
    desk = get_desk(request)
    params = request.query_params
    cluster = await desk.client.cluster(params.get("name", ""))
    language = desk.renderer.choose_language(request)
    everything = timelines.list_printings(cluster)
    start = min(_read_number(params.get("from", ""), field="from") or 1, max(len(everything), 1))
    shown = everything[start - 1 : start - 1 + _PRINTINGS]
    before = everything[start - 2].image if start > 1 else None
    views = []
    for printing in shown:
        gap = sentences.describe_gap(before, printing.image, language) if before is not None else ""
        views.append(PrintingView(printing=printing, gap=gap, detail=_find_detail(printing)))
        before = printing.image
    spans = [(each.number, each.span) for each in shown if each.span is not None]
    numbers = {each.image.name: each.number for each in everything}
    links = [link for link in cluster.links if link.a in numbers and link.b in numbers]
    weakest = timelines.find_weakest_link(cluster)
    shown_links = links[:_LINKS]
    # The most interesting one is the last.
    shown_links += [link for link in links[_LINKS:] if link == weakest]
    return await desk.renderer.render(
        request,
        "cluster",
        cluster=cluster,
        dated=[view for view in views if view.printing.span is not None],
        undated=[view for view in views if view.printing.span is None],
        line=charts.draw_timeline(spans),
        captions=captions.compare_captions(
            (each.number, each.image.caption, each.image.language) for each in shown
        ),
        printings={each.number: each for each in shown},
        journals=_list_journals(everything),
        weakest=weakest,
        links=shown_links,
        further_links=len(links) - len(shown_links),
        numbers=numbers,
        start=start,
        end=start - 1 + len(shown),
        step=_PRINTINGS,
        left_out=max(0, cluster.size - len(cluster.members)),
    )


def _find_detail(printing: timelines.Printing) -> str:
    link, image = printing.link, printing.image
    if link is None:
        return ""
    is_second = link.b == image.name
    on_image = outlines.outline_image(link) if is_second else outlines.outline_query(link)
    return find_detail(on_image, image)


def _list_journals(printings: Sequence[timelines.Printing]) -> list[JournalView]:
    """Return the journals of printings in the order of their first one, unknown ones last."""
    by_name: dict[str, JournalView] = {}
    for printing in printings:
        name = texts.flatten(printing.image.journal)
        by_name.setdefault(name, JournalView(name=name, printings=[])).printings.append(printing)
    return sorted(by_name.values(), key=lambda journal: not journal.name)
