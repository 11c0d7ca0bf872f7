"""Verdicts of archivists: the form's answer, undoing, and the queue of pairs worth one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from starlette.responses import JSONResponse, RedirectResponse

from halftone.services.web.answers import judging
from halftone.services.web.pages.clusters import find_grouping
from halftone.services.web.pages.desk import (
    get_desk,
    get_text,
    get_visitor,
    keep_author,
    read_form,
    wants_json,
)
from halftone.services.web.pages.rendering import make_compare_url

if TYPE_CHECKING:
    from starlette.datastructures import QueryParams
    from starlette.requests import Request
    from starlette.responses import Response

_PAGE: Final = 24


async def take_verdict(request: Request) -> Response:
    """Answer `POST /verdicts`: keep a verdict, and lead back to the pair or on to the next."""
    desk = get_desk(request)
    async with read_form(request) as form:
        a, b, author = get_text(form, "a"), get_text(form, "b"), get_text(form, "author").strip()
        verdict = await desk.client.judge(
            a,
            b,
            judging.read_decision(get_text(form, "decision")),
            note=get_text(form, "note").strip(),
            # Whoever has a key signs by it, whatever name the form gives.
            author=get_visitor(request).label or author,
        )
        place = judging.read_place(form)
    if place is None:
        address = make_compare_url(a, b, saved=verdict.id)
    else:
        fields = {**place.list_next(), "saved": verdict.id, "judged_a": a, "judged_b": b}
        address = "/judge?" + urlencode(fields)
    if wants_json(request):
        response: Response = JSONResponse({"verdict": verdict.id, "address": address})
    else:
        response = RedirectResponse(address, 303)
    keep_author(response, author)
    return response


async def undo_verdict(request: Request) -> Response:
    """Answer `POST /verdicts/undo`: take a verdict back, and lead to its pair."""
    desk = get_desk(request)
    async with read_form(request) as form:
        a, b = get_text(form, "a"), get_text(form, "b")
        undone = get_text(form, "verdict")
        await judging.take_back(desk.client, undone, a=a, b=b)
        place = judging.read_place(form)
    fields = {} if place is None else place.list_fields()
    return RedirectResponse(make_compare_url(a, b, undone=undone, **fields), 303)


def _read_saved(params: QueryParams) -> dict[str, str]:
    """Return which verdict was given on which pair; empty unless all of it is known."""
    saved = {key: params.get(key, "") for key in ("saved", "judged_a", "judged_b")}
    return saved if all(saved.values()) else {}


async def show_queue(request: Request) -> Response:
    """Answer `GET /judge`: pairs worth a verdict. With `go=N`, lead to the first of them.

    `page` is a token of the queue, which keeps its place while pairs are judged.
    """
    desk = get_desk(request)
    params = request.query_params
    token = params.get("page", "")
    number = judging.read_number(params.get("go"))
    saved = _read_saved(params)
    page = await desk.client.pairs_to_judge(
        page_size=_PAGE if number is None else 1, page_token=token
    )
    if not page.pairs and token:
        return RedirectResponse("/judge?" + urlencode(saved), 303)
    if number is not None and page.pairs:
        pair = page.pairs[0]
        place = judging.Place(
            number=number, left=page.remaining, here=token, following=page.next_page_token
        )
        fields = {**place.list_fields(), **saved}
        return RedirectResponse(make_compare_url(pair.a.name, pair.b.name, **fields), 303)
    if saved and not await judging.is_kept(
        desk.client, saved["saved"], a=saved["judged_a"], b=saved["judged_b"]
    ):
        saved = {}
    newest = None if page.pairs else await find_grouping(desk.client)
    return await desk.renderer.render(
        request,
        "judge",
        page=page,
        token_here=token,
        saved=saved,
        was_grouped=newest is not None,
        grouping=newest is not None and not newest.state.is_over,
    )
