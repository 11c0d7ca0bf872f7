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
from halftone.cli.fetching.web import LeftAlone
from halftone.core import errors, files, wire

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from halftone.cli.fetching.web import Answer, PoliteClient

_JSON_BYTES: Final = 64 * 1024 * 1024
# How many addresses of a host in a row give no answer before it is left alone.
_IN_A_ROW: Final = 5
# How deep collections may lie within one another.
_DEPTH: Final = 16
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
    documents: int = 1000,
    size: int | None = None,
    on_progress: Callable[[Harvest], None] = lambda _: None,
) -> Harvest:
    """Fetch manifests, those that collections name, and their pictures.

    Args:
        urls: Addresses of manifests and collections.
        folder: The folder to keep all in; what is there already is not fetched again.
        client: Asks the hosts.
        limit: The most pictures that the folder gets in all.
        documents: The most manifests and collections that are asked for. Those beyond it, and those
            that lie more than 16 collections deep, are among the failed.
        size: The most pixels of a picture's longer side, where its host scales; None takes what the
            manifest names.
        on_progress: Called after each manifest and each picture.

    Raises:
        errors.Unavailable: A host wants to be left alone, or gave no answer several times in a row.
            What was fetched is kept.
        OSError: The folder cannot be written.
    """
    ledger, harvest = _Ledger(folder), Harvest()
    visit = _Visit(client=client, ledger=ledger, into=harvest)
    queue = _Queue(most=documents, into=harvest)
    queue.add(urls, depth=0)
    while queue.waiting:
        url, depth = queue.waiting.popleft()
        document = _fetch_document(url, visit=visit)
        if document is None:
            continue
        queue.add(list_manifests(document), depth=depth + 1)
        for canvas in list_canvases(document):
            if len(ledger.files) >= limit and not ledger.has(_key(canvas)):
                harvest.left = True
                return harvest
            _fetch_picture(canvas, visit=visit, size=size)
            on_progress(harvest)
    return harvest


@dataclass
class _Queue:
    """The manifests and collections to ask for, each once."""

    most: int
    into: Harvest
    waiting: deque[tuple[str, int]] = field(default_factory=deque)
    _seen: set[str] = field(default_factory=set)
    _full: bool = False

    def add(self, urls: Sequence[str], *, depth: int) -> None:
        for url in urls:
            if url in self._seen or self._full:
                continue
            if depth > _DEPTH:
                why = f"It lies more than {_DEPTH} collections deep; fetch it by its own address."
                self.into.failed.append((url, why))
                return
            if len(self._seen) >= self.most:
                why = f"There are more than {self.most:,} manifests and collections; --documents "
                self.into.failed.append((url, f"{why}allows more."))
                self._full = True
                return
            self._seen.add(url)
            self.waiting.append((url, depth))


@dataclass
class _Ledger:
    """Where the picture of each address lies, and which addresses gave no answer."""

    folder: Path
    files: dict[str, str] = field(default_factory=dict)
    documents: dict[str, str] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        path = self.folder / FETCHED
        value = load_document(path) if path.is_file() else {}
        if isinstance(value, dict):
            self.files = dict(value.get("files", {}))
            self.documents = dict(value.get("documents", {}))
            self.silent = set(value.get("silent", []))

    def has(self, key: str) -> bool:
        kept = self.files.get(key)
        return kept is not None and (self.folder / kept).is_file()

    def save(self) -> None:
        value = {"files": self.files, "documents": self.documents, "silent": sorted(self.silent)}
        files.write_json(files.with_folders(self.folder / FETCHED), value)


@dataclass
class _Visit:
    """Asks for addresses, and stops when a host gives no answer again and again."""

    client: PoliteClient
    ledger: _Ledger
    into: Harvest
    _row: dict[str, int] = field(default_factory=dict)

    def ask(self, url: str, *, most: int, accept: str) -> Answer:
        host = url.partition("://")[2].partition("/")[0].lower()
        try:
            answer = self.client.get(url, most=most, accept=accept)
        except LeftAlone:
            raise
        except errors.Unavailable as error:
            # What gave no answer in an earlier run says nothing new about its host; so broken
            # addresses, however many, do not keep the next run from what is behind them.
            if url in self.ledger.silent:
                raise
            self.ledger.silent.add(url)
            self.ledger.save()
            self._row[host] = self._row.get(host, 0) + 1
            if self._row[host] >= _IN_A_ROW:
                raise LeftAlone(
                    f"{host} gave no answer {_IN_A_ROW} times in a row, the last time: "
                    f"{error.message} The same command goes on from here."
                ) from error
            raise
        except errors.HalftoneError:
            self._row.pop(host, None)
            raise
        self._row.pop(host, None)
        self.ledger.silent.discard(url)
        return answer


def _fetch_document(url: str, *, visit: _Visit) -> Any:
    """Return a manifest or collection, from the folder if it is there; None if it cannot be had."""
    ledger, folder = visit.ledger, visit.ledger.folder
    kept = folder / ledger.documents.get(url, "?")
    try:
        if kept.is_file():
            document = load_document(kept)
        else:
            content = visit.ask(url, most=_JSON_BYTES, accept=_JSON).content
            document = json.loads(content)
            if not is_iiif(document):
                raise errors.InvalidArgument(f"{url} is no manifest or collection of IIIF.")
            name = f"{_slug(url)}.json"
            files.replace_file(files.with_folders(folder / name), content)
            ledger.documents[url] = name
            ledger.save()
    except LeftAlone:
        raise
    except (errors.HalftoneError, ValueError, RecursionError) as error:
        visit.into.failed.append((url, str(error)))
        return None
    visit.into.manifests += 1
    return document


def _fetch_picture(canvas: Canvas, *, visit: _Visit, size: int | None) -> None:
    ledger, into = visit.ledger, visit.into
    key = _key(canvas)
    if ledger.has(key):
        into.kept += 1
        return
    url = _choose_address(canvas, size=size)
    if not url:
        into.failed.append((canvas.id, "The canvas has no image."))
        return
    try:
        answer = visit.ask(url, most=wire.MAX_IMAGE_BYTES, accept="image/*")
        suffix = _SUFFIXES.get(answer.content_type)
        if suffix is None:
            raise errors.InvalidArgument(f"{url} is {answer.content_type or 'nothing'}, no picture")
    except LeftAlone:
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
