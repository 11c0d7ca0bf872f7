"""What all handlers share: the client, the dropped pictures, the forms, the renderer."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote

from halftone.services.web.safety import forms

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.datastructures import FormData
    from starlette.requests import Request
    from starlette.responses import Response

    from halftone.client import AsyncClient
    from halftone.core.settings import WebSettings
    from halftone.service.turns import Turns
    from halftone.services.web.answers.importing import Imports
    from halftone.services.web.pages.rendering import Renderer
    from halftone.services.web.safety.visitors import Visitor, Visitors
    from halftone.services.web.uploads import Uploads

AUTHOR_COOKIE: Final = "halftone_author"
_AUTHOR_SECONDS: Final = 365 * 24 * 3600
_MOST_FIELDS: Final = 2000
_FIELD_BYTES: Final = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Desk:
    """The parts of the page's process.

    Attributes:
        turns: Which searches and comparisons run, and which wait.
        wait_seconds: What is answered within this time, refusals above all, gets a status of its
            own; what takes longer is sent when it comes, below what is there already.
    """

    client: AsyncClient
    settings: WebSettings
    uploads: Uploads
    forms: forms.Forms
    renderer: Renderer
    imports: Imports
    visitors: Visitors
    turns: Turns
    wait_seconds: float


def get_desk(request: Request) -> Desk:
    """Return the desk of the application that a request came to."""
    desk: Desk = request.app.state.desk
    return desk


def get_visitor(request: Request) -> Visitor:
    """Return who makes a request to a guarded address."""
    visitor: Visitor = request.scope["halftone.visitor"]
    return visitor


@contextlib.asynccontextmanager
async def read_form(request: Request, *, most_files: int = 0) -> AsyncIterator[FormData]:
    """Yield the fields of a form that this page made for this browser; then close its files.

    Args:
        request: A POST request.
        most_files: The most files that it may bring.

    Raises:
        errors.FailedPrecondition: Another page made the form.
        errors.InvalidArgument: It is larger than its path allows.
    """
    async with request.form(
        max_files=most_files, max_fields=_MOST_FIELDS, max_part_size=_FIELD_BYTES
    ) as form:
        token = request.headers.get(forms.HEADER) or get_text(form, forms.FIELD)
        get_desk(request).forms.check(token, browser=request.scope["halftone.browser"])
        yield form


def get_text(form: FormData, name: str) -> str:
    """Return a field of a form as text; "" if it is missing or a file."""
    value = form.get(name)
    return value if isinstance(value, str) else ""


def keep_author(response: Response, author: str) -> None:
    """Keep the name with which a reader signs verdicts in the reader's browser.

    It is written in per cent, because cookies hold ASCII only and names do not.
    """
    response.set_cookie(
        AUTHOR_COOKIE, quote(author), max_age=_AUTHOR_SECONDS, httponly=True, samesite="strict"
    )


def read_author(request: Request) -> str:
    """Return the name that `keep_author` kept; "" if there is none."""
    return unquote(request.cookies.get(AUTHOR_COOKIE, ""))


def wants_json(request: Request) -> bool:
    """Return whether a script asks, which gets JSON instead of a page."""
    return "application/json" in request.headers.get("accept", "")
