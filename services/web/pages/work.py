"""The work in sight: services, jobs and models, and buttons that start and cancel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import RedirectResponse

from halftone.core import errors
from halftone.core.keys import Scope
from halftone.services.web.answers import working
from halftone.services.web.pages.desk import get_desk, get_text, get_visitor, read_form

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response


async def show_work(request: Request) -> Response:
    """Answer `GET /work`. While anything runs, the page loads itself again."""
    desk = get_desk(request)
    visitor = get_visitor(request)
    has_trainer = bool(desk.settings.trainer)
    work = await working.look(
        desk.client, with_training=visitor.may(Scope.TRAIN), has_trainer=has_trainer
    )
    imports = desk.imports.list() if visitor.may(Scope.IMPORT) else []
    running = work.is_running or any(not each.state.is_over for each in imports)
    return await desk.renderer.render(
        request, "work", work=work, imports=imports, has_trainer=has_trainer, refresh=running
    )


async def start_clusters(request: Request) -> Response:
    """Answer `POST /work/clusters`: group the archive; a job that runs already goes on."""
    desk = get_desk(request)
    async with read_form(request):
        await desk.client.build_clusters()
    return RedirectResponse("/work", 303)


async def cancel_job(request: Request) -> Response:
    """Answer `POST /work/cancel`: stop a job, by its name."""
    desk = get_desk(request)
    async with read_form(request) as form:
        name = get_text(form, "name")
    visitor = get_visitor(request)
    if name.startswith("clusterJobs/"):
        visitor.check(Scope.IMPORT)
        await desk.client.cancel_cluster_job(name)
    elif name.startswith("trainingJobs/") and desk.settings.trainer:
        visitor.check(Scope.TRAIN)
        await desk.client.cancel_training_job(name)
    elif name == "promotion":
        visitor.check(Scope.ADMIN)
        await desk.client.cancel_promotion()
    else:
        raise errors.InvalidArgument("There is no job of that name.", field="name")
    return RedirectResponse("/work", 303)
