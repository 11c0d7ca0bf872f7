"""The web application: every address and its handler, in one list."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.routing import Route

from halftone.core import errors, telemetry
from halftone.core.bugs import conceal_bug
from halftone.core.keys import Scope
from halftone.service.turns import Turns
from halftone.services.web.answers.importing import Imports
from halftone.services.web.pages import (
    assets,
    clusters,
    compare,
    imports,
    judge,
    keys,
    models,
    records,
    search,
    work,
)
from halftone.services.web.pages.desk import Desk, get_desk, wants_json
from halftone.services.web.pages.rendering import Renderer
from halftone.services.web.safety.forms import Forms
from halftone.services.web.safety.gate import HEALTH, Gate, Rules
from halftone.services.web.safety.statuses import find_status
from halftone.services.web.safety.visitors import Proxy, Visitors
from halftone.services.web.uploads import Uploads
from halftone.services.web.words import problems
from halftone.services.web.words.languages import read_languages

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from halftone.client import AsyncClient
    from halftone.core.settings import WebSettings
    from halftone.imaging.pool.inline import Runner
    from halftone.service.access import Access

_DAY_SECONDS = 24 * 3600.0
_TIDY_SECONDS = 3600.0
# Statuses of what passes: too many at once, a service that starts, a deadline.
_PASSING = frozenset({429, 503, 504})
_log = telemetry.get_logger(__name__)
_REGION_FIELDS = ("region", "x", "y", "w", "h")
# Fields and boundaries of a form, beside its file.
_FORM_BYTES = 1 << 20


class GuardedRoute(Route):
    """An address that asks visitors for scopes, once there are keys.

    Args:
        path: The address.
        handler: Answers visitors who have them.
        scopes: The scopes.
        methods: How it is called; None: it is read.
    """

    def __init__(
        self,
        path: str,
        handler: keys.Handler,
        *,
        scopes: tuple[Scope, ...],
        methods: list[str] | None = None,
    ) -> None:
        super().__init__(path, keys.guard(handler, *scopes), methods=methods)
        self.scopes = scopes


def _show(path: str, handler: keys.Handler, *scopes: Scope) -> Route:
    """Return an address that is read, for visitors with these scopes."""
    return GuardedRoute(path, handler, scopes=scopes)


def _take(path: str, handler: keys.Handler, *scopes: Scope) -> Route:
    """Return an address to which forms are sent, for visitors with these scopes."""
    return GuardedRoute(path, handler, scopes=scopes, methods=["POST"])


# The scopes are those of the calls that a handler makes (`halftone.service.access`).
ROUTES: Sequence[Route] = (
    _show("/", search.show_home, Scope.READ),
    _show("/search", search.show_search, Scope.READ, Scope.SEARCH),
    _take("/pictures", search.take_picture, Scope.SEARCH),
    _show("/pictures/{token}.jpg", assets.show_preview, Scope.SEARCH),
    _show("/thumbnail", assets.show_thumbnail, Scope.READ),
    _show("/region", assets.show_region, Scope.READ),
    _show("/image", records.show_image, Scope.READ),
    _show("/images", records.list_images, Scope.READ),
    _show("/compare", compare.show_comparison, Scope.READ, Scope.SEARCH),
    _take("/verdicts", judge.take_verdict, Scope.JUDGE),
    _take("/verdicts/undo", judge.undo_verdict, Scope.JUDGE),
    _show("/judge", judge.show_queue, Scope.READ),
    _show("/clusters", clusters.list_clusters, Scope.READ),
    _show("/cluster", clusters.show_cluster, Scope.READ),
    _show("/import", imports.show_form, Scope.IMPORT),
    _take("/imports", imports.take_files, Scope.IMPORT),
    _show("/imports/{id}", imports.show_import, Scope.IMPORT),
    _take("/imports/{id}/files", imports.add_files, Scope.IMPORT),
    _take("/imports/{id}/start", imports.start_import, Scope.IMPORT),
    _take("/imports/{id}/cancel", imports.cancel_import, Scope.IMPORT),
    _show("/work", work.show_work, Scope.READ),
    _take("/work/clusters", work.start_clusters, Scope.IMPORT),
    _take("/work/promotion", models.promote, Scope.ADMIN),
    _show("/model", models.show_model, Scope.READ),
    # Which scope it needs depends on the job.
    _take("/work/cancel", work.cancel_job, Scope.READ),
    # These show nothing of the archive.
    Route("/sign-in", keys.show_sign_in),
    Route("/sign-in", keys.sign_in, methods=["POST"]),
    Route("/sign-out", keys.sign_out, methods=["POST"]),
    Route("/static/{version}/{name:path}", assets.show_static),
    Route(HEALTH, assets.show_health),
)


def make_app(
    settings: WebSettings,
    *,
    client: AsyncClient,
    access: Access,
    metrics: telemetry.Metrics,
    runner: Runner | None = None,
    wait_seconds: float = 0.15,
) -> Starlette:
    """Return the application.

    Args:
        settings: Its settings.
        client: Asks the services; closed with the application.
        access: Knows the keys of visitors.
        runner: Decodes dropped pictures; None: in threads.
        metrics: Gets times and counts of requests.
        wait_seconds: See `Desk`.
    """
    forms = Forms.open(settings.data_directory / "secret")
    uploads = Uploads(
        settings.data_directory / "pictures",
        max_bytes=settings.upload_bytes,
        max_seconds=settings.upload_days * _DAY_SECONDS,
        max_pixels=settings.max_pixels,
        runner=runner,
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
            tidying = asyncio.create_task(_tidy(uploads))
            try:
                yield
            finally:
                tidying.cancel()
                uploads.close()

    app = Starlette(
        routes=ROUTES,
        lifespan=live,
        middleware=[
            Middleware(
                Gate, rules=rules, show_error=_show_error, seconds=seconds, in_flight=in_flight
            )
        ],
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
        renderer=Renderer(
            languages=read_languages(),
            form_tokens=forms,
            most_bytes=settings.max_image_bytes,
        ),
        imports=imported,
        visitors=Visitors(access, proxy=_make_proxy(settings)),
        turns=Turns(
            at_once=settings.max_concurrent_searches,
            waiting=settings.max_waiting_searches,
            message="Too many searches at a time. Try again in a moment.",
            reason="TOO_MANY_SEARCHES",
        ),
        wait_seconds=wait_seconds,
    )
    return app


def _make_proxy(settings: WebSettings) -> Proxy | None:
    if not settings.proxy:
        return None
    return Proxy(
        networks=settings.proxy_addresses,
        header=settings.proxy_user_header,
        scopes=frozenset(settings.proxy_scopes),
    )


async def _tidy(uploads: Uploads) -> None:
    """Remove dropped pictures that have expired, now and every hour."""
    while True:
        try:
            await asyncio.to_thread(uploads.remove_expired)
        except OSError as error:
            _log.warning("uploads_not_removed", error=str(error))
        await asyncio.sleep(_TIDY_SECONDS)


async def _show_error(request: Request, raised: Exception) -> Response:
    """Answer with what went wrong, in a sentence."""
    error = conceal_bug(raised, path=request.url.path)
    if isinstance(error, errors.Unauthenticated):
        # The visitor has been let in already; it is this page that the services do not know.
        error = errors.Unavailable(
            "The services do not accept the key of this page. Its operator has to give all of them "
            "the same HALFTONE_SERVICE_KEY.",
            reason="SERVICE_KEY",
        )
    status = find_status(error)
    retry_after = getattr(error, "retry_after", None)
    headers = {"Retry-After": str(max(1, round(retry_after)))} if retry_after else {}
    if wants_json(request):
        return _tell_script(request, error, status=status, headers=headers)
    page = await get_desk(request).renderer.render(
        request,
        "error",
        status=status,
        error=error,
        again=_find_again(request, status=status),
        back=_find_back(request, error),
    )
    page.headers.update(headers)
    return page


def _tell_script(
    request: Request,
    error: errors.HalftoneError,
    *,
    status: int,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Answer a script with what went wrong, in the reader's language."""
    language = get_desk(request).renderer.choose_language(request)
    said = str(problems.explain(error, language))
    return JSONResponse({"status": status, "detail": said}, status, headers=headers)


def _find_again(request: Request, *, status: int) -> str:
    """Return the address at which to try again what may work in a moment; "" if nothing does."""
    if request.method not in {"GET", "HEAD"} or status not in _PASSING:
        return ""
    return request.url.path + (f"?{request.url.query}" if request.url.query else "")


def _find_back(request: Request, error: errors.HalftoneError) -> str:
    """Return the address of the same page without the value that is wrong; "" if none is named."""
    field = getattr(error, "field", "")
    params = request.query_params
    if request.method not in {"GET", "HEAD"} or not isinstance(error, errors.InvalidArgument):
        return ""
    wrong = {*_REGION_FIELDS} if field == "region" else {field}
    kept = [(key, value) for key, value in params.multi_items() if key not in wrong | {"page"}]
    if not wrong & set(params):
        return ""
    return request.url.path + (f"?{urlencode(kept)}" if kept else "")


async def _show_http_error(request: Request, raised: Exception) -> Response:
    """Answer what Starlette itself refuses: unknown addresses, methods, malformed forms."""
    status = raised.status_code if isinstance(raised, HTTPException) else 500
    known = {
        404: errors.NotFound("There is no page at this address.", reason="NO_PAGE"),
        405: errors.InvalidArgument(
            "This address is not called in that way.", reason="WRONG_METHOD"
        ),
    }
    detail = raised.detail if isinstance(raised, HTTPException) else ""
    error = known.get(status) or errors.InvalidArgument(
        f"This form cannot be read: {detail}", reason="BAD_FORM"
    )
    if wants_json(request):
        return _tell_script(request, error, status=status)
    return await get_desk(request).renderer.render(
        request, "error", status=status, error=error, again="", back=""
    )
