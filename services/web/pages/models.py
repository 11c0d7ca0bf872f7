"""The page of a model version, and the change to another one."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from starlette.responses import RedirectResponse

from halftone.core import errors
from halftone.services.web.answers import reports
from halftone.services.web.pages.desk import get_desk, get_text, read_form

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from halftone.client import AsyncClient, Promotion

_SECONDS = 5.0


async def show_model(request: Request) -> Response:
    """Answer `GET /model?name=…`: what a version was trained on, and how good it is."""
    desk = get_desk(request)
    version = await desk.client.model_version(request.query_params.get("name", ""))
    return await desk.renderer.render(
        request,
        "model",
        report=reports.read_report(version),
        promotion=await _find_promotion(desk.client),
    )


async def promote(request: Request) -> Response:
    """Answer `POST /work/promotion`: make a version the one that answers."""
    desk = get_desk(request)
    async with read_form(request) as form:
        name, force = get_text(form, "name"), bool(get_text(form, "force"))
    await desk.client.promote(name, force=force)
    return RedirectResponse("/work#promotion-title", 303)


async def _find_promotion(client: AsyncClient) -> Promotion | None:
    """Return the promotion that runs, or the last one; None if there was none."""
    with contextlib.suppress(errors.NotFound):
        return await client.promotion(timeout=_SECONDS)
    return None
