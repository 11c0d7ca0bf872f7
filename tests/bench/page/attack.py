"""Hostile uploads and texts: whether any of them runs, and whether the page stays."""

from __future__ import annotations

import io
from collections import Counter
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
import psutil
from PIL import Image

from halftone.client import Client, Filter, NewImage
from halftone.core import errors
from tests.support import hostile
from tests.support.client.chromium import Reader
from tests.support.client.page import find_token

if TYPE_CHECKING:
    from collections.abc import Iterator

_SECONDS = 120.0
_SERVER_ERRORS = 500


def run(browser, page: str, *, search: str, process: int, count: int) -> dict[str, Any]:
    """Send hostile uploads, import hostile records, and look at every page of these in a browser.

    Args:
        browser: Playwright's browser.
        page: The page's address.
        search: `host:port` of the search service.
        process: The id of the page's process.
        count: The number of uploads.

    Returns:
        Uploads by kind and status, texts by result, what ran or failed, and the resident bytes of
        the process before and after.
    """
    watched = psutil.Process(process)
    before = watched.memory_info().rss
    uploads: Counter[str] = Counter()
    faults: list[str] = []
    opened: list[str] = []
    with httpx.Client(base_url=page, timeout=_SECONDS) as plain:
        token = find_token(plain.get("/import").text)
        for upload in hostile.make_uploads(count):
            file = (upload.name, upload.content, upload.type)
            answer = plain.post("/pictures", data={"token": token}, files={"file": file})
            uploads[f"{upload.kind} {answer.status_code}"] += 1
            if answer.status_code >= _SERVER_ERRORS or "x-injected" in answer.headers:
                faults.append(f"{upload.kind} {upload.name[:40]!r}: {answer.status_code}")
            if answer.has_redirect_location:
                opened.append(answer.headers["location"])
    with Client(search) as client, Reader(browser, page) as reader:
        records = list(_import(client, faults))
        for path in (*opened[:: max(1, len(opened) // 20)], *_list_pages(records)):
            faults += reader.look(path)
        client.delete(filter=Filter(archives=["hostile"]))
    return {
        "uploads": dict(sorted(uploads.items())),
        "accepted": len(opened),
        "records": len(records),
        "faults": faults,
        "is_running": watched.is_running(),
        "resident": [before, watched.memory_info().rss],
    }


def _import(client: Client, faults: list[str]) -> Iterator[str]:
    """Import a record for each hostile text, in every field that takes it, and yield its name."""
    for number, text in enumerate(hostile.TEXTS):
        out = io.BytesIO()
        Image.effect_noise((200, 150 + number), 80).save(out, "JPEG")
        fields: dict[str, Any] = {"journal": text, "caption": text, "page": text, "rights": text}
        # What a field does not take is left out; what is left goes in.
        for left_out in ((), ("page",), ("page", "rights"), ("page", "rights", "journal")):
            record = NewImage(
                image_id=f"{number}-{text[:60]}",
                archive="hostile",
                content=out.getvalue(),
                **{key: value for key, value in fields.items() if key not in left_out},
            )
            rejected: list[str] = []
            try:
                client.import_images(
                    [record],
                    on_progress=lambda ack, into=rejected: into.append(str(ack.error or "")),
                )
            except errors.HalftoneError as error:
                if isinstance(error, errors.Internal):
                    faults.append(f"import of {text[:40]!r}: {error.message}")
                continue
            if rejected == [""]:
                yield record.name
                break


def _list_pages(records: list[str]) -> Iterator[str]:
    yield "/images?archive=hostile"
    for name in records:
        asked = quote(name)
        yield f"/image?name={asked}"
        yield f"/search?image={asked}"
        yield f"/compare?a={asked}&b={quote(records[0] if name != records[0] else records[1])}"
    for text in hostile.TEXTS:
        asked = quote(text[:2000])
        for path in ("/images?journal=", "/images?caption=", "/search?image=", "/sign-in?lang="):
            yield path + asked


def show(result: dict[str, Any]) -> None:
    """Print what became of it."""
    print("| upload, status | count |\n|---|---|")
    for name, count in result["uploads"].items():
        print(f"| {name} | {count} |")
    said = ", ".join(f"{each / 2**20:.0f} MiB" for each in result["resident"])
    print(f"{result['records']} hostile records; resident before and after: {said}")
    print("\n".join(result["faults"]) or "Nothing ran and nothing failed.")
