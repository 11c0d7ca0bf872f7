"""Imports from the page: choosing files, sending them, and how far an import is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.datastructures import UploadFile
from starlette.responses import JSONResponse, RedirectResponse

from halftone.services.web.pages.desk import get_desk, get_text, read_form, wants_json

if TYPE_CHECKING:
    from starlette.datastructures import FormData
    from starlette.requests import Request
    from starlette.responses import Response

    from halftone.services.web.answers.importing import Import

# A script sends more files one form after the other.
_MOST_FILES: Final = 1000


async def show_form(request: Request) -> Response:
    """Answer `GET /import`: where files are dropped that shall go into the archive."""
    desk = get_desk(request)
    return await desk.renderer.render(request, "import", imports=desk.imports.list())


async def take_files(request: Request) -> Response:
    """Answer `POST /imports`: begin an import. A form without a script brings all files at once."""
    desk = get_desk(request)
    async with read_form(request, most_files=_MOST_FILES) as form:
        new = await desk.imports.begin(archive=get_text(form, "archive").strip() or "default")
        if wants_json(request):
            return JSONResponse({"id": new.id, "address": f"/imports/{new.id}"})
        await desk.imports.add(new, _list_files(form))
        desk.imports.start(new)
    return RedirectResponse(f"/imports/{new.id}", 303)


async def add_files(request: Request) -> Response:
    """Answer `POST /imports/{id}/files`: take further files of an import that is being begun."""
    desk = get_desk(request)
    async with read_form(request, most_files=_MOST_FILES) as form:
        target = desk.imports.get(request.path_params["id"])
        await desk.imports.add(target, _list_files(form))
    return JSONResponse({"files": target.files, "bytes": target.bytes})


async def start_import(request: Request) -> Response:
    """Answer `POST /imports/{id}/start`."""
    desk = get_desk(request)
    async with read_form(request):
        target = desk.imports.get(request.path_params["id"])
        desk.imports.start(target)
    return _lead_to(request, target)


async def cancel_import(request: Request) -> Response:
    """Answer `POST /imports/{id}/cancel`."""
    desk = get_desk(request)
    async with read_form(request):
        target = desk.imports.get(request.path_params["id"])
        await desk.imports.cancel(target)
    return _lead_to(request, target)


async def show_import(request: Request) -> Response:
    """Answer `GET /imports/{id}`: how far an import is, and what was rejected."""
    desk = get_desk(request)
    target = desk.imports.get(request.path_params["id"])
    return await desk.renderer.render(
        request, "imported", imported=target, refresh=not target.state.is_over
    )


def _lead_to(request: Request, target: Import) -> Response:
    address = f"/imports/{target.id}"
    if wants_json(request):
        return JSONResponse({"address": address})
    return RedirectResponse(address, 303)


def _list_files(form: FormData) -> list[UploadFile]:
    return [file for file in form.getlist("files") if isinstance(file, UploadFile)]
