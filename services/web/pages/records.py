"""The page of one image of the archive, and lists of images under a filter."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode, urlsplit

from halftone.client import Filter, Region
from halftone.core import errors
from halftone.services.web.answers import comparing, holdings, questions
from halftone.services.web.pages import charts
from halftone.services.web.pages.desk import get_desk
from halftone.services.web.pages.search import list_facets

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from halftone.client import AsyncClient, ImageRecord

_PAGE: Final = 60
_VERDICTS: Final = 50
_PICTURES: Final = 60
"""The most pictures of a page that are listed; hardly a page has as many."""


async def show_image(request: Request) -> Response:
    """Answer `GET /image?name=…`: what is known of an image, and where to go from it."""
    desk = get_desk(request)
    name = request.query_params.get("name", "")
    image = await desk.client.get(name)
    token = request.query_params.get("verdicts", "")
    region = questions.fit_region(
        questions.read_region(request.query_params), size=(image.width, image.height)
    )
    cluster, verdicts, page, pictures = await asyncio.gather(
        comparing.find_cluster(desk.client, name),
        desk.client.verdict_page(image=name, page_size=_VERDICTS, page_token=token),
        _find_page(desk.client, image),
        desk.client.image_page(filter=Filter(page_images=[name]), page_size=_PICTURES),
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
        page=page,
        place=place_on(page, image) if page else None,
        pictures=sorted(
            ((picture, place_on(image, picture)) for picture in pictures),
            key=lambda each: (each[1] is None, each[1] and (each[1].y, each[1].x)),
        ),
        are_further_pictures=bool(pictures.next_page_token),
    )


async def _find_page(client: AsyncClient, image: ImageRecord) -> ImageRecord | None:
    """Return the page that an image stands on; None if it is on none that the archive has."""
    if not image.page_image:
        return None
    try:
        return await client.get(image.page_image)
    except errors.NotFound:
        return None


def place_on(page: ImageRecord, image: ImageRecord) -> Region | None:
    """Return where an image stands on its page; None if that is not known, or not on the page."""
    if image.page_region is None:
        return None
    x, y, width, height = image.page_region
    width, height = min(width, page.width - x), min(height, page.height - y)
    return Region(x, y, width, height) if width > 0 and height > 0 else None


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
