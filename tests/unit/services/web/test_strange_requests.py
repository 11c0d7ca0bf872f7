"""Requests that no browser sends by itself: each is answered, and none is a bug of the page."""

from __future__ import annotations

import asyncio
import threading
from urllib.parse import urlencode

import pytest
from starlette.responses import PlainTextResponse

from halftone.core import telemetry
from halftone.services.web.app import ROUTES
from halftone.services.web.safety import gate
from halftone.services.web.safety.statuses import find_status
from tests.support.client import page

STRANGE = (
    "\x00",
    "\udcff",
    "%ff",
    "²",
    "\u0661,\u0662,\u0663,\u0664",
    "-1",
    "9" * 400,
    "😀" * 300,
    "\r\nSet-Cookie: a=b",
)
FIELDS = {
    "/": ("lang",),
    "/search": (
        "image",
        "picture",
        "region",
        "x",
        "w",
        "journal",
        "date",
        "caption",
        "label",
        "page",
    ),
    "/thumbnail": ("name", "v"),
    "/region": ("name", "region", "width"),
    "/image": ("name", "region", "verdicts"),
    "/images": ("journal", "archive", "language", "date", "caption", "label", "page"),
    "/compare": ("a", "b", "picture", "region", "view", "saved", "place", "left", "here", "undone"),
    "/judge": ("go", "page", "saved", "judged_a", "judged_b"),
    "/clusters": ("order", "size", "journals", "years", "unjudged", "date", "label", "page"),
    "/cluster": ("name", "from"),
    "/import": (),
    "/work": (),
    "/model": ("name",),
    "/sign-in": (),
    "/healthz": (),
}


def list_addresses():
    return {route.path for route in ROUTES if "GET" in route.methods and "{" not in route.path}


def test_every_address_is_asked_strangely():
    assert list_addresses() == set(FIELDS)


@pytest.mark.parametrize("path", [path for path, fields in FIELDS.items() if fields])
def test_strange_values_of_any_field_are_answered(fake, browser, path):
    first, second = fake.names[:2]
    usual = {
        "/search": {"image": first},
        "/thumbnail": {"name": first},
        "/region": {"name": first},
        "/image": {"name": first},
        "/compare": {"a": first, "b": second},
        "/cluster": {"name": first},
    }.get(path, {})
    for field in FIELDS[path]:
        for value in STRANGE:
            query = urlencode({**usual, field: value}, errors="surrogateescape")
            answer = browser.get(f"{path}?{query}")
            assert answer.status_code in {200, 303, 400, 404, 409}, (field, value[:20])
            assert "Something went wrong" not in answer.text, (field, value[:20])
            assert "set-cookie" not in answer.headers or "a=b" not in answer.headers["set-cookie"]


@pytest.mark.parametrize("part", ["%00", "%ff", "a" * 5000, "..%2f..%2fapp.py", "%2e%2e", "%0d%0a"])
@pytest.mark.parametrize("path", ["/static/x/{}.css", "/pictures/{}.jpg", "/imports/{}", "/{}"])
def test_strange_paths_are_not_there(browser, path, part):
    assert browser.get(path.format(part)).status_code == 404


@pytest.mark.parametrize(
    "author", ["Łukasz", "Müller; Path=/", "a\r\nSet-Cookie: b=c", "图书馆", '"\\']
)
def test_whatever_a_reader_is_called_the_verdict_is_kept_and_so_is_the_name(fake, browser, author):
    first, second = fake.names[:2]
    pair = f"/compare?a={first}&b={second}"
    answer = browser.post_form(
        "/verdicts", page=pair, a=first, b=second, decision="same", author=author
    )
    assert answer.status_code == 303
    assert len(answer.headers.get_list("set-cookie")) == 1
    assert [verdict.author for verdict in fake._holding()] == [author]
    assert page.read_field(browser.get(pair).text, "author") == author


def test_who_is_refused_at_the_door_reads_why(fake, tmp_path):
    """In a page or for a script, and with the time after which to try again."""
    held = threading.Event()
    asked = threading.Event()

    def hold():
        asked.set()
        held.wait(60)

    with page.opened(fake, tmp_path, max_concurrent_calls=1) as browser:
        fake.faults["ListImages"].append(hold)
        waiting = threading.Thread(target=browser.get, args=("/images",))
        waiting.start()
        try:
            assert asked.wait(60)
            refused = browser.get("/")
            told = browser.get("/", headers={"accept": "application/json"})
            # A full house is no dead one.
            assert browser.get("/healthz").status_code == 200
        finally:
            held.set()
            waiting.join()
        assert browser.get("/").status_code == 200
    for answer in (refused, told):
        assert answer.status_code == 429
        assert answer.headers["retry-after"] == "1"
        assert answer.headers["content-security-policy"]
    assert "<h1>Not now</h1>" in refused.text
    assert "Too many requests" in told.json()["detail"]


def test_whoever_calls_the_page_by_anothers_name_gets_no_token(browser):
    answer = browser.get("/", headers={"host": "evil.example"})
    assert answer.status_code == 421
    assert "token" not in answer.text
    assert "set-cookie" not in answer.headers


async def test_what_stops_coming_is_given_up():
    """Whoever sends half a form and waits takes nobody's place for long."""
    metrics = telemetry.Metrics(service="web")

    async def read_all(_scope, receive, _send):
        while (await receive()).get("more_body"):
            pass

    async def tell(_request, error):
        return PlainTextResponse(error.message, find_status(error))

    door = gate.Gate(
        read_all,
        rules=gate.Rules(
            hosts=frozenset(), most_at_once=1, body_bytes={"": 100}, stall_seconds=0.01
        ),
        show_error=tell,
        seconds=metrics.histogram("seconds", "Seconds", labels=("method", "status")),
        in_flight=metrics.gauge("at_once", "At once"),
    )
    begun = [{"type": "http.request", "body": b"token=", "more_body": True}]
    sent = []

    async def receive():
        return begun.pop() if begun else await asyncio.Event().wait()

    async def send(message):
        sent.append(message)

    headers = [(b"host", b"127.0.0.1"), (b"content-length", b"50")]
    scope = {"type": "http", "method": "POST", "path": "/verdicts", "headers": headers}
    await door(scope, receive, send)
    assert sent[0]["status"] == 408
