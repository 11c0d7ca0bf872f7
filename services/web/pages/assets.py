"""What pages are made of: styles, scripts, thumbnails, previews; and this process's health."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from starlette.responses import JSONResponse, Response

from halftone.core import errors
from halftone.services.web.answers import questions
from halftone.services.web.pages.desk import get_desk
from halftone.services.web.pages.rendering import get_static, get_static_version

if TYPE_CHECKING:
    from starlette.requests import Request

_FOREVER: Final = "public, max-age=31536000, immutable"
_WIDEST: Final = 2048
_PICTURE_TYPES: Final = frozenset({"image/jpeg", "image/png", "image/webp"})


async def show_static(request: Request) -> Response:
    """Answer `GET /static/{version}/{name}`."""
    file = get_static().get(request.path_params["name"])
    if file is None:
        raise errors.NotFound("There is no such file.")
    current = request.path_params["version"] == get_static_version()
    cache = _FOREVER if current else "no-cache"
    return Response(file.content, media_type=file.type, headers={"Cache-Control": cache})


async def show_thumbnail(request: Request) -> Response:
    """Answer `GET /thumbnail?name=…`: a picture of the archive, at most 512 pixels a side."""
    thumbnail = await get_desk(request).client.thumbnail(request.query_params.get("name", ""))
    # A page of another type would be opened as one.
    if thumbnail.content_type not in _PICTURE_TYPES:
        raise errors.NotFound("This image has no thumbnail.")
    kept = "private, max-age=86400" if request.query_params.get("v") else "private, no-cache"
    return Response(
        thumbnail.content, media_type=thumbnail.content_type, headers={"Cache-Control": kept}
    )


async def show_region(request: Request) -> Response:
    """Answer `GET /region?name=…&region=x,y,w,h&width=…`: a part of an original, in full detail."""
    params = request.query_params
    part = await get_desk(request).client.region(
        params.get("name", ""),
        region=questions.read_region(params),
        width=_read_width(params.get("width", "")),
        fit=True,
    )
    if part.content_type not in _PICTURE_TYPES:
        raise errors.NotFound("This image cannot be shown.")
    kept = "private, max-age=86400" if params.get("v") else "private, no-cache"
    return Response(part.content, media_type=part.content_type, headers={"Cache-Control": kept})


def _read_width(text: str) -> int:
    """Return the width that is asked for, within what is served."""
    return max(16, min(int(text), _WIDEST)) if text.isdecimal() and len(text) < 6 else _WIDEST  # noqa: PLR2004 - digits


async def show_preview(request: Request) -> Response:
    """Answer `GET /pictures/{token}.jpg`: a dropped picture, at most 1,024 pixels a side.

    With `region=x,y,w,h&width=…` it is a part of it in full detail.
    """
    desk = get_desk(request)
    token = request.path_params["token"]
    region = questions.read_region(request.query_params)
    if region is None:
        content = await asyncio.to_thread(desk.uploads.read_preview, token)
    else:
        width = _read_width(request.query_params.get("width", ""))
        content = await desk.uploads.run(
            desk.uploads.cut_out, token, region=region, longest_side=width
        )
    return Response(
        content, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=86400"}
    )


async def show_health(_request: Request) -> Response:
    """Answer `GET /healthz`: this process takes requests. What it asks may still be starting."""
    return JSONResponse({"status": "SERVING"})
