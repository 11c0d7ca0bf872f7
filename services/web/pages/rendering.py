"""Turns templates into answers, in the reader's language, whole or piece by piece."""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

import jinja2
from markupsafe import Markup
from starlette.responses import HTMLResponse, StreamingResponse

from halftone.archive.showing import Show
from halftone.rendering import texts
from halftone.services.web.safety.visitors import ANYBODY
from halftone.services.web.words import problems, sentences
from halftone.services.web.words.languages import tag_language

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from halftone.client import ImageRecord
    from halftone.services.web.safety import forms
    from halftone.services.web.words.languages import Language, Languages

# The code is reached through a link; what is below a folder is asked of real paths.
FOLDER: Final = Path(__file__).resolve().parents[1]
STATIC: Final = FOLDER / "static"
_STATIC_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
LANGUAGE_COOKIE: Final = "halftone_language"
# A template puts it where what comes next takes a while; what came before is sent there.
_FLUSH: Final = Markup("<!-- -->")
_YEAR_SECONDS: Final = 365 * 24 * 3600


class Renderer:
    """Renders the templates of the page.

    Args:
        languages: The languages to choose from.
        form_tokens: Makes the tokens of forms.
        most_bytes: The most bytes of a picture to search by.
    """

    def __init__(self, *, languages: Languages, form_tokens: forms.Forms, most_bytes: int) -> None:
        self._languages = languages
        self._forms = form_tokens
        self._most_bytes = most_bytes

    def choose_language(self, request: Request) -> Language:
        """Return the reader's language."""
        asked = request.query_params.get("lang") or request.cookies.get(LANGUAGE_COOKIE, "")
        return self._languages.choose(
            asked=asked, accepted=request.headers.get("accept-language", "")
        )

    async def render(
        self, request: Request, template: str, *, status: int = 200, **values: Any
    ) -> Response:
        """Return a page as a whole.

        Args:
            request: What it answers.
            template: The template's name, without `.html.jinja`.
            status: The HTTP status.
            values: What the template shows.
        """
        context = self._make_context(request, {"status": status, **values})
        page = await self._load(template).render_async(context)
        return self._finish(request, HTMLResponse(page, status))

    def stream(self, request: Request, template: str, **values: Any) -> Response:
        """Return a page that is sent piece by piece: up to each `{{ flush }}` at once.

        What the template has to wait for is given as functions that return awaitables. These must
        not raise, because the status has been sent by then.
        """
        context = self._make_context(request, values)

        async def send() -> AsyncIterator[str]:
            pieces: list[str] = []
            async for piece in self._load(template).generate_async(context):
                pieces.append(piece)
                if _FLUSH in piece:
                    yield "".join(pieces)
                    pieces.clear()
            yield "".join(pieces)

        return self._finish(request, StreamingResponse(send(), media_type="text/html"))

    def _load(self, template: str) -> jinja2.Template:
        return make_environment().get_template(f"{template}.html.jinja")

    def _make_context(self, request: Request, values: dict[str, Any]) -> dict[str, Any]:
        language = self.choose_language(request)
        return {
            "_": language.gettext,
            "ngettext": language.ngettext,
            "language": language,
            "languages": [
                (each, "?" + urlencode([*_list_without_language(request), ("lang", each.code)]))
                for each in self._languages
            ],
            "most_bytes": self._most_bytes,
            "token": self._forms.make_token(request.scope["halftone.browser"]),
            "visitor": request.scope.get("halftone.visitor", ANYBODY),
            "path": request.url.path,
            "here": request.url.path + (f"?{request.url.query}" if request.url.query else ""),
            "explain": lambda error: problems.explain(error, language),
            "time_left": lambda seconds: sentences.say_time_left(seconds, language),
            # For paper, where a link is its address.
            "address_here": _find_address(request),
            "now": dt.datetime.now(dt.UTC),
            "format_probability": lambda share: sentences.format_probability(share, language),
            "said_date": lambda image: sentences.describe_date(image, language),
            **values,
        }

    def _finish(self, request: Request, response: Response) -> Response:
        asked = request.query_params.get("lang", "")
        if asked and asked == self.choose_language(request).code:
            response.set_cookie(
                LANGUAGE_COOKIE,
                asked,
                max_age=_YEAR_SECONDS,
                httponly=True,
                samesite="strict",
            )
        return response


def _list_without_language(request: Request) -> list[tuple[str, str]]:
    return [(key, value) for key, value in request.query_params.multi_items() if key != "lang"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticFile:
    """A file that pages are made of.

    Attributes:
        content: Its bytes.
        type: Its media type.
    """

    content: bytes
    type: str


def read_static(directory: Path = STATIC) -> dict[str, StaticFile]:
    """Return the styles, scripts and drawings of a directory by their paths below it.

    They are few and small, so they are kept in memory: no address is ever taken for a path.
    """
    return {
        path.relative_to(directory).as_posix(): StaticFile(
            content=path.read_bytes(), type=_STATIC_TYPES[path.suffix]
        )
        for path in directory.rglob("*")
        if path.suffix in _STATIC_TYPES and path.is_file()
    }


def _find_address(request: Request) -> str:
    """Return the whole address of a page, in no language."""
    url = request.url
    return str(url.remove_query_params("lang") if "lang" in request.query_params else url)


@functools.cache
def get_static() -> Mapping[str, StaticFile]:
    """Return the static files of the page by their paths; read once."""
    return read_static()


@functools.cache
def get_static_version() -> str:
    """Return a short hash of the page's static files and their names."""
    return hash_files(get_static())


def hash_files(static: Mapping[str, StaticFile]) -> str:
    """Return a short hash of files and their names."""
    digest = hashlib.sha256()
    for name, file in sorted(static.items()):
        digest.update(name.encode() + file.content)
    return digest.hexdigest()[:12]


@functools.cache
def make_environment() -> jinja2.Environment:
    """Return the templates of the page, each of which is compiled once in a process."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        enable_async=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        # Otherwise each page asks the disk whether its templates have changed.
        auto_reload=False,
    )
    environment.globals |= {
        "static": make_static_url,
        "thumbnail_url": make_thumbnail_url,
        "image_url": make_image_url,
        "region_url": make_region_url,
        "picture_url": make_picture_url,
        "compare_url": make_compare_url,
        "search_url": make_search_url,
        "cluster_url": make_cluster_url,
        "flatten": texts.flatten,
        "tag_language": tag_language,
        "flush": _FLUSH,
    }
    return environment


def make_static_url(name: str) -> str:
    """Return the address of a static file. It changes with every release."""
    return f"/static/{get_static_version()}/{name}"


def make_thumbnail_url(image: ImageRecord) -> str:
    """Return the address of an image's thumbnail. It changes when the image's bytes do.

    For an image that its record does not show it is a drawing that says so.
    """
    if image.show is Show.NONE:
        return make_static_url("hidden.svg")
    version = [("v", image.content_sha256[:12])] if image.content_sha256 else []
    return "/thumbnail?" + urlencode([("name", image.name), *version])


def make_region_url(image: ImageRecord) -> str:
    """Return the address of parts of an image in full detail, to which a part is added.

    Empty if the record does not allow its picture to be shown in full.
    """
    if image.show is not Show.FULL:
        return ""
    return "/region?" + urlencode([("name", image.name), ("v", image.content_sha256[:12])])


def make_image_url(image: ImageRecord | str) -> str:
    """Return the address of an image's page.

    Its name is a field and no part of the path: ids may hold `..` and `//`, which browsers resolve.
    """
    name = image if isinstance(image, str) else image.name
    return "/image?name=" + quote(name, safe="/")


def make_picture_url(token: str) -> str:
    """Return the address of the preview of a dropped picture."""
    return f"/pictures/{token}.jpg"


def make_search_url(image: ImageRecord | str, *, region: str = "") -> str:
    """Return the address of a search by an image of the archive, or by a part of it."""
    name = image if isinstance(image, str) else image.name
    part = [("region", region)] if region else []
    return "/search?" + urlencode([("image", name), *part], safe="/,")


def make_compare_url(a: str, b: str, **fields: str) -> str:
    """Return the address of a comparison of two images of the archive, by name."""
    return "/compare?" + urlencode([("a", a), ("b", b), *fields.items()], safe="/,")


def make_cluster_url(name: str) -> str:
    """Return the address of a cluster's page, by the cluster's name or that of a member."""
    return "/cluster?name=" + quote(name, safe="/")
