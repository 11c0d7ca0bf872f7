"""The page of one image of the archive, and lists of images under a filter."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode, urlsplit

from halftone.services.web.answers import comparing, holdings, questions
from halftone.services.web.pages import charts
from halftone.services.web.pages.desk import get_desk
from halftone.services.web.pages.search import list_facets

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response


_PAGE: Final = 60
_VERDICTS: Final = 50


async def show_image(request: Request) -> Response:
    """Answer `GET /image?name=…`: what is known of an image, and where to go from it."""
    desk = get_desk(request)
    name = request.query_params.get("name", "")
    image = await desk.client.get(name)
    token = request.query_params.get("verdicts", "")
    region = questions.fit_region(
        questions.read_region(request.query_params), size=(image.width, image.height)
    )
    cluster, verdicts = await asyncio.gather(
        comparing.find_cluster(desk.client, name),
        desk.client.verdict_page(image=name, page_size=_VERDICTS, page_token=token),
    )
    return await desk.renderer.render(
        request,
        "image",
        image=image,
        cluster=cluster,
        verdicts=verdicts,
        are_further_verdicts=bool(token),
        region=region,
        source=find_link(image.source_uri),
    )


async def list_images(request: Request) -> Response:
    """Answer `GET /images`: the images under a filter, in the order of their names."""
    desk = get_desk(request)
    choice = questions.read_choice(request.query_params)
    held, choices, images = await asyncio.gather(
        holdings.count_holdings(desk.client, choice),
        holdings.count_choices(desk.client, choice),
        desk.client.image_page(
            filter=choice.make_filter(),
            page_size=_PAGE,
            page_token=request.query_params.get("page", ""),
        ),
    )
    question = questions.Question(choice=choice, page=request.query_params.get("page", ""))

    def make_address(**changes: object) -> str:
        return f"/images?{question.make_query(**changes)}"

    return await desk.renderer.render(
        request,
        "images",
        held=held,
        images=images,
        question=question,
        facets=list_facets(choices.facets),
        years=charts.draw_years(choices.years, question),
        label_keys=choices.label_keys,
        address=make_address,
        filter_fields=urlencode(choice.list_fields()),
    )


def find_link(uri: str) -> str:
    """Return the address of a record's source if a browser may be led there, otherwise "".

    A record's fields are a stranger's: `javascript:` would run in this page.
    """
    try:
        parts = urlsplit(uri)
    except ValueError:
        return ""
    return uri if parts.scheme in {"http", "https"} and parts.netloc else ""
