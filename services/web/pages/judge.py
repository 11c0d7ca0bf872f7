"""Verdicts of archivists: the form's answer, undoing, and the queue of pairs worth one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.responses import JSONResponse, RedirectResponse

from halftone.services.web.answers import judging
from halftone.services.web.pages.compare import AUTHOR_COOKIE, read_place
from halftone.services.web.pages.desk import (
    get_desk,
    get_text,
    get_visitor,
    read_form,
    wants_json,
)
from halftone.services.web.pages.rendering import make_compare_url

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

_YEAR_SECONDS: Final = 365 * 24 * 3600
_SHOWN: Final = 24


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
        place = read_place(get_text(form, "queue"))
    if place is None:
        address = make_compare_url(a, b, saved=verdict.id)
    else:
        address = f"/judge?go={place}&saved={verdict.id}"
    if wants_json(request):
        response: Response = JSONResponse({"verdict": verdict.id, "address": address})
    else:
        response = RedirectResponse(address, 303)
    response.set_cookie(
        AUTHOR_COOKIE, author, max_age=_YEAR_SECONDS, httponly=True, samesite="strict"
    )
    return response


async def undo_verdict(request: Request) -> Response:
    """Answer `POST /verdicts/undo`: take a verdict back, and lead to its pair."""
    desk = get_desk(request)
    async with read_form(request) as form:
        a, b = get_text(form, "a"), get_text(form, "b")
        await judging.take_back(desk.client, get_text(form, "verdict"), a=a, b=b)
        place = read_place(get_text(form, "queue"))
    fields = {} if place is None else {"queue": str(place)}
    return RedirectResponse(make_compare_url(a, b, undone="1", **fields), 303)


async def show_queue(request: Request) -> Response:
    """Answer `GET /judge`: the pairs worth a verdict; with `go=N`, lead to one of them."""
    desk = get_desk(request)
    page = await judging.list_pairs(desk.client)
    pairs = page.pairs
    place = read_place(request.query_params.get("go"))
    saved = request.query_params.get("saved", "")
    if place is not None and pairs:
        place = min(place, len(pairs) - 1)
        pair = pairs[place]
        fields = {
            "queue": str(place),
            "left": str(page.total),
            **({"saved": saved} if saved else {}),
        }
        return RedirectResponse(make_compare_url(pair.a.name, pair.b.name, **fields), 303)
    return await desk.renderer.render(
        request, "judge", pairs=pairs[:_SHOWN], total=page.total, saved=saved
    )
