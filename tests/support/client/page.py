"""The page in this process, before a search service that keeps its records in memory."""

from __future__ import annotations

import contextlib
import html
import re
import time
from typing import TYPE_CHECKING

from starlette.testclient import TestClient

from halftone.client import AsyncClient, RetryPolicy
from halftone.core import telemetry
from halftone.core.settings import AccessSettings, WebSettings
from halftone.service.access import Access
from halftone.services.web.app import make_app

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ADDRESS = "http://127.0.0.1:7100"


class Browser(TestClient):
    """A browser without scripts: keeps cookies, and fills in the tokens of forms."""

    def post_form(self, path: str, *, page: str = "/import", files=None, **fields: str):
        """Send a form of a page, with the token that the page gave it."""
        token = find_token(self.get(page).text)
        return self.post(path, data={"token": token, **fields}, files=files)

    def wait_for(self, address: str, words: str) -> str:
        """Load a page again until it holds some words, and return it."""
        self.wait_until(lambda: words in self.get(address).text)
        return self.get(address).text

    def wait_until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds that does not take long."""
        end = time.monotonic() + 120
        while not holds():
            assert time.monotonic() < end
            time.sleep(0.02)


def find_token(page: str) -> str:
    return re.search(r'name="token" value="([0-9a-f]+)"', page)[1]


def read_field(page: str, name: str) -> str:
    """Return what a field of a form holds."""
    return html.unescape(re.search(rf'<input name="{name}"[^>]* value="([^"]*)"', page)[1])


@contextlib.contextmanager
def opened(
    fake,
    directory: Path,
    *,
    headers=None,
    wait_seconds=0.15,
    keys_file=None,
    trainer="127.0.0.1:1",
    peer="testclient",
    **settings,
) -> Iterator[Browser]:
    """Yield a browser on a page of its own."""
    settings = WebSettings(
        **{"data_directory": directory, "min_free_bytes": 0, "port": 0, "metrics_port": 0}
        | {"trainer": trainer}
        | settings
    )
    client = AsyncClient(
        fake.address,
        embedder=fake.address,
        trainer=trainer,
        retries=RetryPolicy(attempts=1),
    )
    metrics = telemetry.Metrics(service="web")
    access = Access(
        AccessSettings(keys_file=keys_file), host=settings.host, has_proxy=bool(settings.proxy)
    )
    app = make_app(
        settings, client=client, access=access, metrics=metrics, wait_seconds=wait_seconds
    )
    with Browser(
        app,
        base_url=ADDRESS,
        raise_server_exceptions=False,
        headers=headers,
        follow_redirects=False,
        client=(peer, 50000),
    ) as browser:
        yield browser
