"""From the drop of a picture to its first result, and how many bytes pages have."""

from __future__ import annotations

import html
import io
import re
import statistics
import time
from typing import TYPE_CHECKING, Any

import httpx
from PIL import Image

from halftone.archive import manifests
from halftone.client import Client
from halftone.services.web.answers.searching import HITS
from tests.support.client.page import find_token

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_SECONDS = 120.0
_KEPT = 0.9
# Notes in the browser when what was dropped is seen, and when its first result and that one's
# picture are there. A page follows another between the two, so they are kept beside the pages.
WATCH = """
  const mark = (name) => requestAnimationFrame(() => { sessionStorage[name] ??= Date.now(); });
  new MutationObserver(() => {
    if (document.querySelector(".searching")) mark("preview");
    if (document.querySelector(".found .card, .found .nothing")) mark("result");
  }).observe(document, { childList: true, subtree: true });
  document.addEventListener("load", (event) => {
    if (event.target.closest?.(".card")) mark("picture");
  }, true);
"""
DROP = """
  ([bytes, name]) => {
    const transfer = new DataTransfer();
    transfer.items.add(new File([new Uint8Array(bytes)], name, { type: "image/jpeg" }));
    sessionStorage.clear();
    sessionStorage.dropped = Date.now();
    for (const kind of ["dragenter", "dragover", "drop"]) {
      document.body.dispatchEvent(
        new DragEvent(kind, { dataTransfer: transfer, bubbles: true, cancelable: true }));
    }
  }
"""


def make_pictures(archive: Path, *, count: int) -> list[bytes]:
    """Return parts of an archive's pictures, encoded anew, so that nothing knows their bytes."""
    rows = [row for row in manifests.read_manifest(archive, archive="bench") if row.path]
    step = max(1, len(rows) // count)
    return [_cut(row.path.read_bytes()) for row in rows[::step][:count] if row.path]


def _cut(content: bytes) -> bytes:
    image = Image.open(io.BytesIO(content)).convert("L")
    width, height = image.size
    out = io.BytesIO()
    image.crop((0, 0, int(width * _KEPT), int(height * _KEPT))).save(out, "JPEG", quality=85)
    return out.getvalue()


def measure(browser, page: str, *, search: str, pictures: Sequence[bytes]) -> list[dict[str, Any]]:
    """Drop pictures one after the other; each is also sent and searched by without a browser.

    Returns:
        For each picture the seconds from the drop until "searching", the first result, and the
        first result's picture are seen; the seconds of the upload, of the page's beginning and of
        all of it; and of a bare search through gRPC.
    """
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(_SECONDS * 1000)
    context.add_init_script(WATCH)
    window = context.new_page()
    rows = []
    with (
        Client(search) as client,
        httpx.Client(base_url=page, timeout=_SECONDS) as plain,
    ):
        token = find_token(plain.get("/import").text)
        # What only the first search needs is loaded before.
        client.search(pictures[0], limit=HITS)
        for number, content in enumerate(pictures):
            # Each way comes first as often as last: what was searched by once is known.
            ways = [
                lambda content=content, name=f"{number}.jpg": _drop(window, page, content, name),
                lambda content=content: _send(plain, token, content=content + b"\0"),
                lambda content=content: _search(client, content=content + b"\1"),
            ]
            row: dict[str, Any] = {"bytes": len(content)}
            for turn in range(len(ways)):
                row |= ways[(number + turn) % len(ways)]()
            rows.append(row)
    context.close()
    return rows


def _drop(window, page: str, content: bytes, name: str) -> dict[str, float]:
    window.goto(page + "/", wait_until="load")
    window.evaluate(DROP, [list(content), name])
    window.wait_for_url("**/search?*")
    window.wait_for_function("sessionStorage.result")
    seen = window.evaluate("({...sessionStorage})")
    return {
        key: (float(seen[key]) - float(seen["dropped"])) / 1000
        for key in ("preview", "result", "picture")
        if key in seen
    }


def _send(plain: httpx.Client, token: str, *, content: bytes) -> dict[str, float]:
    started = time.perf_counter()
    sent = plain.post("/pictures", data={"token": token}, files={"file": ("x.jpg", content)})
    uploaded = time.perf_counter()
    first = 0.0
    with plain.stream("GET", sent.headers["location"]) as answer:
        for _ in answer.iter_raw():
            first = first or time.perf_counter()
    ended = time.perf_counter()
    return {"upload": uploaded - started, "begun": first - uploaded, "whole": ended - uploaded}


def _search(client: Client, *, content: bytes) -> dict[str, float]:
    started = time.perf_counter()
    client.search(content, limit=HITS)
    return {"search": time.perf_counter() - started}


def show(rows: Sequence[dict[str, Any]]) -> None:
    """Print the medians and the longest of all."""
    print("| seconds | p50 | p90 | most |\n|---|---|---|---|")
    names = {
        "preview": "from the drop to the picture and “searching”",
        "result": "from the drop to the first result",
        "picture": "from the drop to the first result's picture",
        "upload": "without a browser: sending the picture",
        "begun": "… the page begins",
        "whole": "… the page is complete",
        "search": "the search alone, through gRPC",
    }
    for key, name in names.items():
        values = sorted(row[key] for row in rows if key in row)
        if values:
            most = statistics.quantiles([*values, values[-1]], n=10)[-1]
            print(f"| {name} | {statistics.median(values):.2f} | {most:.2f} | {values[-1]:.2f} |")
    ratios = [row["result"] / row["search"] for row in rows]
    print(f"First result over the search alone: {statistics.median(ratios):.2f}")


def weigh(page: str, *, picture: bytes) -> dict[str, int]:
    """Return the bytes of each page with its styles and scripts, and without pictures."""
    with httpx.Client(base_url=page, timeout=_SECONDS, follow_redirects=True) as plain:

        def read(path: str) -> str:
            return plain.get(path).text

        def find(path: str, pattern: str) -> str:
            found = re.search(pattern, read(path))
            return html.unescape(found[1]) if found else "/"

        token = find_token(read("/import"))
        file = {"file": ("x.jpg", picture)}
        dropped = plain.post("/pictures", data={"token": token}, files=file, follow_redirects=False)
        image = find("/images", r'href="(/image\?name=[^"]+)"')
        cluster = find("/clusters?order=size", r'href="(/cluster\?name=[^"]+)"')
        pages = {
            "front": "/",
            "search by a dropped picture": dropped.headers["location"],
            "search by a record": image.replace("/image?name=", "/search?image="),
            "browse": "/images",
            "record": image,
            "compare": find(cluster, r'href="(/compare\?[^"]+)"'),
            "judge": "/judge",
            "reprints": "/clusters",
            "the largest cluster": cluster,
            "import": "/import",
            "work": "/work",
            "sign in": "/sign-in",
            "an error": "/nowhere",
        }
        static = _weigh_static(plain, read("/"))
        return {name: len(plain.get(path).content) + static for name, path in pages.items()}


def _weigh_static(plain: httpx.Client, page: str) -> int:
    """Return the bytes of the styles and scripts that a page loads, and of what these load."""
    waiting = set(re.findall(r'"(/static/[^"]+)"', page))
    loaded: dict[str, int] = {}
    while waiting:
        address = waiting.pop()
        content = plain.get(address).text
        loaded[address] = len(content.encode())
        folder = address.rpartition("/")[0]
        waiting |= {
            f"{folder}/{name}" for name in re.findall(r'(?:from|import) "\./([^"]+)"', content)
        } - loaded.keys()
    return sum(loaded.values())


def show_weights(pages: dict[str, int]) -> None:
    """Print the bytes of each page."""
    print("| page | kB |\n|---|---|")
    for name, count in sorted(pages.items(), key=lambda item: -item[1]):
        print(f"| {name} | {count / 1000:.0f} |")
