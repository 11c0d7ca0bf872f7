"""The web application: every address and its handler, in one list."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.routing import Route

from halftone.core import errors
from halftone.core.bugs import conceal_bug
from halftone.services.web.answers.importing import Imports
from halftone.services.web.pages import (
    assets,
    clusters,
    compare,
    imports,
    judge,
    records,
    search,
    work,
)
from halftone.services.web.pages.desk import Desk, get_desk, wants_json
from halftone.services.web.pages.rendering import Renderer
from halftone.services.web.safety.forms import Forms
from halftone.services.web.safety.gate import Gate, Rules
from halftone.services.web.safety.statuses import find_status
from halftone.services.web.uploads import Uploads
from halftone.services.web.words.languages import read_languages

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.responses import Response

    from halftone.client import AsyncClient
    from halftone.core import telemetry
    from halftone.core.settings import WebSettings

_DAY_SECONDS = 24 * 3600.0
# Fields and boundaries of a form, beside its file.
_FORM_BYTES = 1 << 20

ROUTES = (
    Route("/", search.show_home),
    Route("/search", search.show_search),
    Route("/pictures", search.take_picture, methods=["POST"]),
    Route("/pictures/{token}.jpg", assets.show_preview),
    Route("/thumbnail", assets.show_thumbnail),
    Route("/region", assets.show_region),
    Route("/image", records.show_image),
    Route("/images", records.list_images),
    Route("/compare", compare.show_comparison),
    Route("/verdicts", judge.take_verdict, methods=["POST"]),
    Route("/verdicts/undo", judge.undo_verdict, methods=["POST"]),
    Route("/judge", judge.show_queue),
    Route("/clusters", clusters.list_clusters),
    Route("/cluster", clusters.show_cluster),
    Route("/import", imports.show_form),
    Route("/imports", imports.take_files, methods=["POST"]),
    Route("/imports/{id}", imports.show_import),
    Route("/imports/{id}/files", imports.add_files, methods=["POST"]),
    Route("/imports/{id}/start", imports.start_import, methods=["POST"]),
    Route("/imports/{id}/cancel", imports.cancel_import, methods=["POST"]),
    Route("/work", work.show_work),
    Route("/work/clusters", work.start_clusters, methods=["POST"]),
    Route("/work/cancel", work.cancel_job, methods=["POST"]),
    Route("/static/{version}/{name:path}", assets.show_static),
    Route("/healthz", assets.show_health),
)


def make_app(
    settings: WebSettings,
    *,
    client: AsyncClient,
    metrics: telemetry.Metrics,
    wait_seconds: float = 0.15,
) -> Starlette:
    """Return the application.

    Args:
        settings: Its settings.
        client: Asks the services; closed with the application.
        metrics: Gets times and counts of requests.
        wait_seconds: See `Desk`.
    """
    forms = Forms.open(settings.data_directory / "secret")
    uploads = Uploads(
        settings.data_directory / "pictures",
        max_bytes=settings.upload_bytes,
        max_seconds=settings.upload_days * _DAY_SECONDS,
        max_pixels=settings.max_pixels,
        min_free_bytes=settings.min_free_bytes,
    )
    imported = Imports(client, settings=settings)
    rules = Rules(
        hosts=frozenset(settings.hosts),
        most_at_once=settings.max_concurrent_calls,
        body_bytes={
            "": _FORM_BYTES,
            "/pictures": settings.max_image_bytes + _FORM_BYTES,
            "/imports": settings.max_import_bytes + _FORM_BYTES,
        },
    )
    seconds = metrics.histogram(
        "request_seconds", "Time to answer a request", labels=("method", "status")
    )
    in_flight = metrics.gauge("requests_in_flight", "Requests being answered")

    @contextlib.asynccontextmanager
    async def live(_app: Starlette) -> AsyncIterator[None]:
        async with client, imported:
            yield

    app = Starlette(
        routes=ROUTES,
        lifespan=live,
        middleware=[Middleware(Gate, rules=rules, seconds=seconds, in_flight=in_flight)],
        exception_handlers={
            errors.HalftoneError: _show_error,
            HTTPException: _show_http_error,
            Exception: _show_error,
        },
    )
    app.state.desk = Desk(
        client=client,
        settings=settings,
        uploads=uploads,
        forms=forms,
        renderer=Renderer(languages=read_languages(), form_tokens=forms),
        imports=imported,
        wait_seconds=wait_seconds,
    )
    return app


async def _show_error(request: Request, raised: Exception) -> Response:
    """Answer with what went wrong, in a sentence."""
    error = conceal_bug(raised, path=request.url.path)
    status = find_status(error)
    retry_after = getattr(error, "retry_after", None)
    headers = {"Retry-After": str(max(1, round(retry_after)))} if retry_after else {}
    if wants_json(request):
        return JSONResponse({"status": status, "detail": error.message}, status, headers=headers)
    page = await get_desk(request).renderer.render(request, "error", status=status, error=error)
    page.headers.update(headers)
    return page


async def _show_http_error(request: Request, raised: Exception) -> Response:
    """Answer what Starlette itself refuses: unknown addresses, methods, malformed forms."""
    status = raised.status_code if isinstance(raised, HTTPException) else 500
    known = {
        404: errors.NotFound("There is no page at this address."),
        405: errors.InvalidArgument("This address is not called in that way."),
    }
    detail = raised.detail if isinstance(raised, HTTPException) else ""
    error = known.get(status) or errors.InvalidArgument(f"This form cannot be read: {detail}")
    if wants_json(request):
        return JSONResponse({"status": status, "detail": error.message}, status)
    return await get_desk(request).renderer.render(request, "error", status=status, error=error)
