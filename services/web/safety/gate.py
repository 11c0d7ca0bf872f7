"""The outermost layer of the page: checks each request, and puts headers on each answer.

A page on this machine can be called by any site that the reader's browser has open: by a form, or
by a name that its owner points at 127.0.0.1 (DNS rebinding). The first is refused by `Origin` and
form tokens, the second by `Host`.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from halftone.core import errors, telemetry, wire
from halftone.services.web.safety import forms
from halftone.services.web.safety.statuses import find_status

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from prometheus_client import Gauge, Histogram
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONTENT_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",  # a dropped picture is shown before it has been sent
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS: Final = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    # Forms have to send their origin; other sites learn nothing.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "geolocation=(), microphone=(), payment=(), usb=()",
}
_SAFE_METHODS: Final = frozenset({"GET", "HEAD"})
_BROWSER_SECONDS: Final = 365 * 24 * 3600
_LOOPBACK_NAMES: Final = frozenset({"localhost"})
UNKNOWN_HOST: Final = "UNKNOWN_HOST"
HEALTH: Final = "/healthz"

_log = telemetry.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What the gate lets in.

    Attributes:
        hosts: Names by which browsers may call the page besides those of loopback.
        most_at_once: The most requests at a time; further ones are refused.
        body_bytes: The most bytes of a request's body, by the path under which it comes; under
            "", for all other paths. The longest path that fits counts.
        stall_seconds: The longest time without any byte of a body that has been announced.
    """

    hosts: frozenset[str]
    most_at_once: int
    body_bytes: dict[str, int]
    stall_seconds: float = 60.0

    def find_body_limit(self, path: str) -> int:
        """Return the most bytes that a request to a path may bring."""
        fitting = [prefix for prefix in self.body_bytes if path.startswith(prefix)]
        return self.body_bytes[max(fitting, key=len)]

    def knows_host(self, host: str) -> bool:
        """Return whether a `Host` header names loopback or a host of the settings."""
        name = _read_host_name(host)
        if name in self.hosts or name in _LOOPBACK_NAMES:
            return True
        with contextlib.suppress(ValueError):
            return ipaddress.ip_address(name).is_loopback
        return False


def _read_host_name(host: str) -> str:
    """Return the name of a `Host` header, without its port and in lower case; "" if malformed."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


class Gate:
    """ASGI middleware that checks requests and completes answers.

    Args:
        app: The application behind it.
        rules: What is let in.
        show_error: Returns the answer that says why a request was refused.
        seconds: Gets the time that each answer took, by method and status.
        in_flight: Gets the number of requests that are being answered.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        rules: Rules,
        show_error: Callable[[Request, Exception], Awaitable[Response]],
        seconds: Histogram,
        in_flight: Gauge,
    ) -> None:
        self._app = app
        self._rules = rules
        self._show_error = show_error
        self._seconds = seconds
        self._gauge = in_flight
        self._at_once = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id = telemetry.bind_request_id(headers.get(wire.REQUEST_ID_KEY))
        browser = forms.read_browser(headers.get("cookie", ""))
        is_new = not browser
        scope["halftone.browser"] = browser = browser or forms.make_browser()
        started, status = time.perf_counter(), 500

        async def complete(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                out = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    out.setdefault(name, value)
                out.setdefault("Cache-Control", "private, no-store")
                out[wire.REQUEST_ID_KEY] = request_id
                if is_new and out.get("content-type", "").startswith("text/html"):
                    secure = "; Secure" if scope.get("scheme") == "https" else ""
                    out.append(
                        "set-cookie",
                        f"{forms.COOKIE}={browser}; Path=/; HttpOnly; SameSite=Strict; "
                        f"Max-Age={_BROWSER_SECONDS}{secure}",
                    )
            await send(message)

        with self._count():
            try:
                self._check(scope, headers)
                bounded = _bound_body(
                    receive,
                    limit=self._rules.find_body_limit(scope["path"]),
                    stall_seconds=self._rules.stall_seconds,
                    headers=headers,
                )
                await self._app(scope, bounded, complete)
            except errors.HalftoneError as error:
                status = find_status(error)
                answer = await self._refuse(scope, error)
                await answer(scope, receive, complete)
            finally:
                seconds = time.perf_counter() - started
                self._seconds.labels(scope["method"], str(status)).observe(seconds)
                _log.info(
                    "request",
                    method=scope["method"],
                    path=scope["path"],
                    status=status,
                    seconds=round(seconds, 4),
                )

    async def _refuse(self, scope: Scope, error: errors.HalftoneError) -> Response:
        """Return the answer to a request that is not let in.

        Whoever called the page by another's name gets no page: it would hold the token of a form.
        """
        if error.reason == UNKNOWN_HOST:
            return PlainTextResponse(error.message + "\n", find_status(error))
        return await self._show_error(Request(scope), error)

    @contextlib.contextmanager
    def _count(self) -> Iterator[None]:
        self._at_once += 1
        self._gauge.inc()
        try:
            yield
        finally:
            self._at_once -= 1
            self._gauge.dec()

    def _check(self, scope: Scope, headers: Headers) -> None:
        host = headers.get("host", "")
        if not self._rules.knows_host(host):
            raise errors.FailedPrecondition(
                "This page is not called by that name. Its operator can allow a name with "
                "HALFTONE_WEB_HOSTS.",
                subject="Host",
                reason=UNKNOWN_HOST,
            )
        origin = headers.get("origin")
        if scope["method"] not in _SAFE_METHODS and origin is not None:
            asked = urlsplit(origin).netloc
            if not asked or asked.lower() != host.lower():
                raise errors.FailedPrecondition(
                    "Another site sent this form.", subject="Origin", reason="FOREIGN_ORIGIN"
                )
        if headers.get("sec-fetch-site") == "cross-site" and scope["method"] not in _SAFE_METHODS:
            raise errors.FailedPrecondition(
                "Another site sent this form.", subject="Sec-Fetch-Site", reason="FOREIGN_ORIGIN"
            )
        # Whoever watches over this process must not take a full house for a dead one.
        if self._at_once > self._rules.most_at_once and scope["path"] != HEALTH:
            raise errors.ResourceExhausted(
                "Too many requests at a time. Try again in a moment.", retry_after=1.0
            )


def _bound_body(receive: Receive, *, limit: int, stall_seconds: float, headers: Headers) -> Receive:
    """Return a `receive` that raises when more than `limit` bytes have come, or none for long."""
    announced = headers.get("content-length", "0")
    if not announced.isdecimal() or int(announced) > limit:
        raise _make_excess(limit)
    count = 0
    is_complete = False

    async def bounded() -> Any:
        nonlocal count, is_complete
        if is_complete:
            # What comes now is the end of the connection, for which an answer may wait.
            return await receive()
        try:
            async with asyncio.timeout(stall_seconds):
                message = await receive()
        except TimeoutError:
            raise errors.InvalidArgument(
                "The rest of what was sent did not come.", field="body", reason="STALLED"
            ) from None
        count += len(message.get("body", b""))
        is_complete = not message.get("more_body", False)
        if count > limit:
            raise _make_excess(limit)
        return message

    return bounded


def _make_excess(limit: int) -> errors.InvalidArgument:
    return errors.InvalidArgument(
        f"That is too much at once: at most {limit / 2**20:,.0f} MiB are taken here.",
        field="body",
        reason="TOO_MANY_BYTES",
    )
