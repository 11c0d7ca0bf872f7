"""Opens IIIF manifests and collections (Presentation 2 and 3) that lie on disk.

Each canvas is a picture. Its file lies where `halftone fetch` put it, or is looked for by what its
address ends with. Manifests with pictures marked on their pages are page scans, see `pages`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from halftone.archive.sources.described import (
    FETCHED,
    Described,
    as_list,
    find_documents,
    load_document,
    open_described,
    shorten_id,
)
from halftone.archive.sources.source import Kind, Source
from halftone.core import errors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from halftone.archive.sources.source import Options

_CONTEXT: Final = "iiif.io/api/presentation"
_HTML: Final = re.compile(r"<[^>]*>")
# How deep a text may lie in lists and languages.
_LEVELS: Final = 16
# Labels of metadata, in lower case, in the languages in which libraries write them.
_LABELS: Final = {
    "date": {
        *("date", "datum", "erscheinungsdatum", "erscheinungsjahr", "fecha", "data", "issued"),
        *("published", "created", "date_issued"),
    },
    "journal": {
        *("journal", "newspaper", "zeitung", "zeitschrift", "periodical", "titre", "periódico"),
        *("revue", "publication_title"),
    },
    "language": {"language", "sprache", "langue", "idioma", "lingua"},
}


@dataclass(frozen=True, kw_only=True)
class Canvas:
    """A canvas with what is known of it.

    Attributes:
        id: Its address.
        fields: The fields of its record.
        images: The addresses of its image: of the file, then of its service.
        service: The address of its image service; empty if it has none.
        size: The width and height of its image in pixels; None if it is not said.
    """

    id: str
    fields: dict[str, Any]
    images: tuple[str, ...]
    service: str = ""
    size: tuple[int, int] | None = None


def is_iiif(document: Any) -> bool:
    """Return whether a document is a manifest or a collection."""
    return (
        isinstance(document, dict)
        and _CONTEXT in json.dumps(document.get("@context", ""))
        and read_type(document) in {"manifest", "collection"}
    )


def recognise_iiif(path: Path) -> bool:
    """Return whether a path is a manifest without marked pictures, or a folder of such."""
    documents = find_documents(path, is_one=is_iiif)
    if (path / FETCHED).is_file():
        return bool(documents)
    return bool(documents) and not any(_has_marks(load_document(each)) for each in documents)


def open_iiif(path: Path, *, archive: str, options: Options) -> Source:
    """Open manifests and collections, one or a folder of them.

    Raises:
        errors.InvalidArgument: One cannot be read, or only names manifests that are not there.
    """
    documents = find_documents(path, is_one=is_iiif) or [path]
    loaded = [load_document(each) for each in documents]
    canvases = [canvas for document in loaded for canvas in list_canvases(document)]
    if not canvases:
        raise errors.InvalidArgument(
            f"{path} names manifests and no canvases; `halftone fetch` brings them.", field="path"
        )
    pictures = [
        Described(
            fields={**canvas.fields, "image_id": shorten_id(canvas.id) or f"canvas-{number}"},
            files=canvas.images,
        )
        for number, canvas in enumerate(canvases, start=1)
    ]
    return open_described(pictures, path=path, archive=archive, options=options, what="canvas")


IIIF: Final = Kind(name="iiif", recognise=recognise_iiif, open=open_iiif)


def list_canvases(document: Any) -> Iterator[Canvas]:
    """Yield the canvases of a manifest, or of the manifests within a collection."""
    # A list and no recursion: a stranger chose how deep they lie.
    waiting = [document] if isinstance(document, dict) else []
    while waiting:
        part = waiting.pop()
        if read_type(part) == "collection":
            waiting += reversed(_list_parts(part))
            continue
        known = _read_manifest(part)
        for number, canvas in enumerate(_list_canvases(part), start=1):
            yield _read_canvas(canvas, known=known, number=number)


def list_manifests(document: Any) -> list[str]:
    """Return the addresses of the manifests and collections that a collection only names."""
    if not isinstance(document, dict) or read_type(document) != "collection":
        return []
    return [
        address
        for part in _list_parts(document)
        if not _list_canvases(part) and not _list_parts(part)
        if (address := read_id(part))
    ]


def read_type(node: Any) -> str:
    """Return the type of a node in lower case, without its prefix."""
    if not isinstance(node, dict):
        return ""
    kind = as_list(node.get("type") or node.get("@type"))
    return str(kind[0] if kind else "").rpartition(":")[2].lower()


def read_id(node: Any) -> str:
    """Return the address of a node, or ""."""
    if isinstance(node, dict):
        node = node.get("id") or node.get("@id")
    return node if isinstance(node, str) else ""


def _list_parts(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the manifests and collections in a collection."""
    keys = ("items", "manifests", "collections", "members")
    found = (part for key in keys for part in as_list(document.get(key)))
    return [part for part in found if read_type(part) in {"manifest", "collection"}]


def _list_canvases(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    nodes = [*as_list(manifest.get("items"))]
    for sequence in as_list(manifest.get("sequences")):
        nodes += as_list(sequence.get("canvases")) if isinstance(sequence, dict) else []
    return [node for node in nodes if read_type(node) == "canvas"]


def _read_manifest(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that all canvases of a manifest have."""
    fields: dict[str, Any] = {"source_uri": read_id(manifest)}
    labels: dict[str, list[str]] = {}
    for entry in as_list(manifest.get("metadata")):
        if not isinstance(entry, dict):
            continue
        name = _read_text(entry.get("label"))
        values = _read_texts(entry.get("value"))
        field = next(
            (field for field, names in _LABELS.items() if name.lower().strip(" :") in names), ""
        )
        if field and values and field not in fields:
            fields[field] = values[0]
        elif name and values:
            labels[name.replace("=", " ")[:60]] = values
    moment = str(manifest.get("navDate") or "")
    if moment and "date" not in fields:
        fields["date"] = moment.partition("T")[0]
    fields["rights"] = _read_text(manifest.get("rights") or manifest.get("license")) or _read_text(
        (manifest.get("requiredStatement") or {}).get("value")
        if isinstance(manifest.get("requiredStatement"), dict)
        else manifest.get("attribution")
    )
    title = _read_text(manifest.get("label"))
    fields.setdefault("journal", title)
    labels["manifest"] = [title] if title else []
    return {**fields, "labels": labels}


def _read_canvas(canvas: dict[str, Any], *, known: dict[str, Any], number: int) -> Canvas:
    image = next(_find_images(canvas), {})
    services = [each for each in as_list(image.get("service")) if isinstance(each, dict)]
    service = next((address for each in services if (address := read_id(each))), "").rstrip("/")
    width, height = image.get("width"), image.get("height")
    fields = {**known, "page": _read_text(canvas.get("label")) or str(number)}
    if caption := _read_text(canvas.get("summary") or canvas.get("description")):
        fields["caption"] = caption
    return Canvas(
        id=read_id(canvas),
        fields=fields,
        images=tuple(filter(None, (read_id(image), service))),
        service=service,
        size=(width, height) if isinstance(width, int) and isinstance(height, int) else None,
    )


def _find_images(canvas: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the images that are painted on a canvas."""
    annotations = [*as_list(canvas.get("images"))]
    for page in as_list(canvas.get("items")):
        annotations += as_list(page.get("items")) if isinstance(page, dict) else []
    for annotation in annotations:
        if not isinstance(annotation, dict):
            continue
        for body in as_list(annotation.get("body") or annotation.get("resource")):
            if not isinstance(body, dict):
                continue
            # Of several images to choose from the first is the usual one.
            chosen = body.get("default") or next(iter(as_list(body.get("items"))), body)
            if isinstance(chosen, dict):
                yield chosen


def _has_marks(document: Any) -> bool:
    return "#xywh=" in json.dumps(document)


def _read_text(value: Any) -> str:
    return next(iter(_read_texts(value)), "")


def _read_texts(value: Any, *, levels: int = _LEVELS) -> list[str]:
    """Return the texts of a value, which may be by language, without their HTML."""
    if not levels:
        return []
    if isinstance(value, dict):
        inner = value["@value"] if "@value" in value else next(iter(value.values()), None)
        return _read_texts(inner, levels=levels - 1)
    if isinstance(value, list):
        return [text for each in value for text in _read_texts(each, levels=levels - 1)]
    text = _HTML.sub("", str(value)).strip() if isinstance(value, str | int | float) else ""
    return [text] if text else []
