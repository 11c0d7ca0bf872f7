"""Brings the manifests and pictures of IIIF collections into a folder.

The folder holds the manifests as they came, the pictures below `images/`, and `fetched.json`, which
says where the picture of each address lies. It is written after each picture, so that a harvest
that was cut off goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from halftone.archive.sources.described import FETCHED, load_document
from halftone.archive.sources.iiif import Canvas, is_iiif, list_canvases, list_manifests
from halftone.core import errors, files, wire

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from halftone.cli.fetching.web import PoliteClient

_JSON_BYTES: Final = 64 * 1024 * 1024
_JSON: Final = "application/ld+json, application/json"
_SUFFIXES: Final = {
    "image/jpeg": ".jpg",
    "image/jpg": ".jpg",
    "image/png": ".png",
    "image/tiff": ".tif",
    "image/webp": ".webp",
    "image/gif": ".gif",
    "image/jp2": ".jp2",
}


@dataclass(kw_only=True)
class Harvest:
    """What was fetched.

    Attributes:
        manifests: The number of manifests.
        fetched: The number of pictures that were fetched.
        kept: The number of pictures that were there before.
        failed: The addresses of pictures and manifests that cannot be had, and why.
        left: Whether the limit ended it before all pictures were there.
    """

    manifests: int = 0
    fetched: int = 0
    kept: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    left: bool = False


def fetch_all(
    urls: Sequence[str],
    *,
    folder: Path,
    client: PoliteClient,
    limit: int,
    size: int | None = None,
    on_progress: Callable[[Harvest], None] = lambda _: None,
) -> Harvest:
    """Fetch manifests, those that collections name, and their pictures.

    Args:
        urls: Addresses of manifests and collections.
        folder: The folder to keep all in; what is there already is not fetched again.
        client: Asks the hosts.
        limit: The most pictures that the folder gets in all.
        size: The most pixels of a picture's longer side, where its host scales; None takes what the
            manifest names.
        on_progress: Called after each manifest and each picture.

    Raises:
        errors.Unavailable: A host wants to be left alone. What was fetched is kept.
        OSError: The folder cannot be written.
    """
    ledger = _Ledger(folder)
    harvest = Harvest()
    waiting, seen = deque(urls), set(urls)
    while waiting:
        url = waiting.popleft()
        document = _fetch_document(url, folder=folder, ledger=ledger, client=client, into=harvest)
        if document is None:
            continue
        for address in list_manifests(document):
            if address not in seen:
                seen.add(address)
                waiting.append(address)
        for canvas in list_canvases(document):
            if len(ledger.files) >= limit and not ledger.has(_key(canvas)):
                harvest.left = True
                return harvest
            _fetch_picture(canvas, ledger=ledger, client=client, size=size, into=harvest)
            on_progress(harvest)
    return harvest


@dataclass
class _Ledger:
    """Where the picture of each address lies."""

    folder: Path
    files: dict[str, str] = field(default_factory=dict)
    documents: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        path = self.folder / FETCHED
        value = load_document(path) if path.is_file() else {}
        if isinstance(value, dict):
            self.files = dict(value.get("files", {}))
            self.documents = dict(value.get("documents", {}))

    def has(self, key: str) -> bool:
        kept = self.files.get(key)
        return kept is not None and (self.folder / kept).is_file()

    def save(self) -> None:
        files.write_json(self.folder / FETCHED, {"files": self.files, "documents": self.documents})


def _fetch_document(
    url: str, *, folder: Path, ledger: _Ledger, client: PoliteClient, into: Harvest
) -> Any:
    """Return a manifest or collection, from the folder if it is there; None if it cannot be had."""
    kept = folder / ledger.documents.get(url, "?")
    try:
        if kept.is_file():
            document = load_document(kept)
        else:
            content = client.get(url, most=_JSON_BYTES, accept=_JSON).content
            document = json.loads(content)
            if not is_iiif(document):
                raise errors.InvalidArgument(f"{url} is no manifest or collection of IIIF.")
            name = f"{_slug(url)}.json"
            files.replace_file(files.with_folders(folder / name), content)
            ledger.documents[url] = name
            ledger.save()
    except errors.Unavailable:
        raise
    except (errors.HalftoneError, ValueError, RecursionError) as error:
        into.failed.append((url, str(error)))
        return None
    into.manifests += 1
    return document


def _fetch_picture(
    canvas: Canvas, *, ledger: _Ledger, client: PoliteClient, size: int | None, into: Harvest
) -> None:
    key = _key(canvas)
    if ledger.has(key):
        into.kept += 1
        return
    url = _choose_address(canvas, size=size)
    if not url:
        into.failed.append((canvas.id, "The canvas has no image."))
        return
    try:
        answer = client.get(url, most=wire.MAX_IMAGE_BYTES, accept="image/*")
        suffix = _SUFFIXES.get(answer.content_type)
        if suffix is None:
            raise errors.InvalidArgument(f"{url} is {answer.content_type or 'nothing'}, no picture")
    except errors.Unavailable:
        raise
    except errors.HalftoneError as error:
        into.failed.append((url, error.message))
        return
    name = f"images/{_slug(key)}{suffix}"
    files.replace_file(files.with_folders(ledger.folder / name), answer.content)
    ledger.files[key] = name
    ledger.save()
    into.fetched += 1


def _key(canvas: Canvas) -> str:
    """Return the address by which the reader of manifests looks for a canvas's picture."""
    return canvas.images[0] if canvas.images else ""


def _choose_address(canvas: Canvas, *, size: int | None) -> str:
    """Return the address of a picture, scaled by its image service if it is to be."""
    larger = canvas.size is None or size is None or max(canvas.size) > size
    if canvas.service and (size is not None and larger):
        return f"{canvas.service}/full/!{size},{size}/0/default.jpg"
    address = _key(canvas)
    # Some manifests name the service as the image.
    return f"{address}/full/full/0/default.jpg" if address == canvas.service else address


def _slug(address: str) -> str:
    """Return a name for a file: what a person recognises of an address, and its hash."""
    words = re.sub(r"[^A-Za-z0-9]+", "-", address.partition("://")[2]).strip("-")[-60:].strip("-")
    return f"{words}-{hashlib.sha256(address.encode()).hexdigest()[:12]}"
