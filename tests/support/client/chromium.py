"""A real browser: one that is installed on this machine; nothing is downloaded."""

from __future__ import annotations

import contextlib
import json
import shutil
from importlib import resources
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES = ("chromium", "chromium-browser", "google-chrome")
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
# A busy machine takes its time; what does not come about at all fails all the same.
SECONDS = 120


@contextlib.contextmanager
def started() -> Iterator:
    """Yield a browser, or skip the test with the reason why there is none."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("no Chromium is installed")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox"], timeout=SECONDS * 1000
        )
        yield browser
        browser.close()


class Reader:
    """A person's own window: an address space of its own, and what went wrong in it.

    Attributes:
        page: Playwright's page.
        complaints: What the browser complained of: scripts that failed, what the policy refused.
        hosts: The hosts that were asked.
    """

    def __init__(self, browser, address: str, *, width: int = 1024, height: int = 800, **options):
        self.address = address
        self.context = browser.new_context(
            viewport={"width": width, "height": height}, locale="en-GB", **options
        )
        self.context.set_default_timeout(SECONDS * 1000)
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.hosts: set[str] = set()
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self._hear)
        self.page.on("request", lambda request: self.hosts.add(request.url.split("/")[2]))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.context.close()

    def _hear(self, message):
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)

    def go(self, path: str) -> None:
        self.page.goto(self.address + path, wait_until="load")

    def look(self, path: str) -> list[str]:
        """Open a page and return what ran, failed or was asked for that should not have been.

        Hostile texts set `window.ran`. That a page answers with 404 or 400 is no fault.
        """
        self.complaints.clear()
        self.hosts.clear()
        self.go(path)
        faults = [each for each in self.complaints if "Failed to load resource" not in each]
        if self.page.evaluate("window.ran"):
            faults.append("a script ran")
        own = self.address.removeprefix("http://")
        faults += [f"asked {host}" for host in self.hosts - {own}]
        if self.measure_overflow() > 0:
            faults.append("wider than the window")
        return [f"{path[:80]}: {fault}" for fault in faults]

    def find_barriers(self, *rules: str) -> list[str]:
        """Return what axe finds on the page as it is, and where: by all rules, or by some."""
        source = resources.files("axe_playwright_python") / "axe.min.js"
        self.page.evaluate(source.read_text())
        found = self.page.evaluate(f"axe.run({{runOnly: {json.dumps(list(rules) or TAGS)}}})")
        return [
            f"{each['id']} ({each['impact']}): {node['html'][:200]} {node['failureSummary']}"
            for each in found["violations"]
            for node in each["nodes"]
        ]

    def measure_overflow(self) -> int:
        """Return by how many pixels the page is wider than the window."""
        return self.page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
