"""Signing in with a key and out again, and the check that stands before every other page."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.responses import JSONResponse, RedirectResponse

from halftone.core import errors, wire
from halftone.services.web.pages.desk import get_desk, get_text, read_form, wants_json
from halftone.services.web.safety import visitors
from halftone.services.web.words import problems

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from halftone.core.keys import Scope

    Handler = Callable[[Request], Awaitable[Response]]


def guard(handler: Handler, *scopes: Scope) -> Handler:
    """Return a handler that asks visitors for a key with scopes first, once there are keys."""

    async def answer(request: Request) -> Response:
        try:
            visitor = await get_desk(request).visitors.admit(request, *scopes)
        except errors.Unauthenticated as error:
            return await _ask_for_key(request, error)
        request.scope["halftone.visitor"] = visitor
        wire.act_for(visitor.id, label=visitor.label)
        return await handler(request)

    return answer


async def show_sign_in(request: Request) -> Response:
    """Answer `GET /sign-in`: the form for a key."""
    return await get_desk(request).renderer.render(
        request, "sign-in", following="/", problem=None, again=False
    )


async def sign_in(request: Request) -> Response:
    """Answer `POST /sign-in`: keep a key in the browser, and lead to the page that asked for it."""
    desk = get_desk(request)
    async with read_form(request) as form:
        key = get_text(form, "key").strip()
        following = visitors.make_local_address(get_text(form, "following"))
    try:
        await desk.visitors.sign_in(key)
    except errors.Unauthenticated as error:
        return await desk.renderer.render(
            request, "sign-in", status=401, following=following, problem=error, again=False
        )
    response = RedirectResponse(following, 303)
    # It goes when the browser is closed: readers share computers.
    response.set_cookie(
        visitors.COOKIE, key, httponly=True, samesite="strict", secure=_is_secure(request)
    )
    return response


async def sign_out(request: Request) -> Response:
    """Answer `POST /sign-out`: forget the key."""
    async with read_form(request):
        response = RedirectResponse("/", 303)
    response.delete_cookie(visitors.COOKIE, httponly=True, samesite="strict")
    # Thumbnails and previews of the archive leave the browser, too.
    response.headers["Clear-Site-Data"] = '"cache"'
    return response


async def _ask_for_key(request: Request, error: errors.Unauthenticated) -> Response:
    headers = {"WWW-Authenticate": "Bearer"}
    if wants_json(request):
        said = problems.explain(error, get_desk(request).renderer.choose_language(request))
        return JSONResponse({"status": 401, "detail": str(said)}, 401, headers=headers)
    is_read = request.method in {"GET", "HEAD"}
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    # Who follows a link from another site has not sent the cookie, which is SameSite=Strict. The
    # same address once more, now asked for by this page, comes with it.
    again = is_read and request.headers.get("sec-fetch-site") == "cross-site"
    page = await get_desk(request).renderer.render(
        request,
        "sign-in",
        status=401,
        following=here if is_read else "/",
        problem=error if visitors.COOKIE in request.cookies else None,
        again=again,
    )
    page.headers.update(headers)
    if visitors.COOKIE in request.cookies:
        page.delete_cookie(visitors.COOKIE, httponly=True, samesite="strict")
    return page


def _is_secure(request: Request) -> bool:
    """Return whether the browser sent the form by HTTPS, which a proxy may have taken off."""
    return urlsplit(request.headers.get("origin", "")).scheme == "https"
