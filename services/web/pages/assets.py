"""What pages are made of: styles, scripts, thumbnails, previews; and this process's health."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from starlette.responses import FileResponse, JSONResponse, Response

from halftone.core import errors
from halftone.services.web.pages.desk import get_desk
from halftone.services.web.pages.rendering import STATIC

if TYPE_CHECKING:
    from starlette.requests import Request

_FOREVER: Final = "public, max-age=31536000, immutable"
_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_PICTURE_TYPES: Final = frozenset({"image/jpeg", "image/png", "image/webp"})


async def show_static(request: Request) -> Response:
    """Answer `GET /static/{version}/{name}`."""
    path = (STATIC / request.path_params["name"]).resolve()
    if not path.is_relative_to(STATIC) or path.suffix not in _TYPES or not path.is_file():
        raise errors.NotFound("There is no such file.")
    current = request.path_params["version"] == get_desk(request).renderer.static_version
    cache = _FOREVER if current else "no-cache"
    return FileResponse(path, media_type=_TYPES[path.suffix], headers={"Cache-Control": cache})


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


async def show_preview(request: Request) -> Response:
    """Answer `GET /pictures/{token}.jpg`: a dropped picture, at most 1,024 pixels a side."""
    desk = get_desk(request)
    content = await asyncio.to_thread(desk.uploads.read_preview, request.path_params["token"])
    return Response(
        content, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=86400"}
    )


async def show_health(_request: Request) -> Response:
    """Answer `GET /healthz`: this process takes requests. What it asks may still be starting."""
    return JSONResponse({"status": "SERVING"})
