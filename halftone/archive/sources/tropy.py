"""Opens an export of Tropy (JSON-LD): each photo of its items is a picture.

A photo has the item's metadata where it has none of its own. Selections are parts of photos and are
left out: the photo holds them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from halftone.archive.sources.described import (
    Described,
    as_list,
    find_documents,
    load_document,
    open_described,
)
from halftone.archive.sources.source import Kind, Source

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from halftone.archive.sources.source import Options

_CONTEXT: Final = "tropy.org/"
# What Tropy keeps of a photo as a file, and no metadata.
_OF_THE_FILE: Final = frozenset(
    {
        *("@id", "@type", "@context", "photo", "selection", "note", "tag", "path", "filename"),
        *("protocol", "template", "checksum", "mimetype", "orientation", "size", "width", "height"),
        *("density", "color", "mirror", "angle", "page", "brightness", "contrast", "hue"),
        *("saturation", "sharpen", "negative", "list", "metadata"),
    }
)
# The properties of Tropy's templates and of Dublin Core, in the order in which they count.
_FIELDS: Final = {
    "journal": ("publicationTitle", "publication title", "isPartOf", "is part of", "source"),
    "date": ("date", "issued", "created", "date issued", "date created"),
    "page": ("pages", "pageNumber"),
    "caption": ("title", "description"),
    "language": ("language",),
    "rights": ("rights", "accessRights"),
    "source_uri": ("url", "identifierUrl"),
}


def is_tropy(document: Any) -> bool:
    """Return whether a document is an export of Tropy."""
    if isinstance(document, list):
        return bool(document) and all(map(is_tropy, document))
    if not isinstance(document, dict):
        return False
    context = json.dumps(document.get("@context", ""))
    return _CONTEXT in context and any("photo" in item for item in _list_items(document))


def open_tropy(path: Path, *, archive: str, options: Options) -> Source:
    """Open an export of Tropy, or a folder with some.

    Raises:
        errors.InvalidArgument: It cannot be read.
    """
    documents = find_documents(path, is_one=is_tropy) or [path]
    photos = [
        photo
        for document in documents
        for each in as_list(load_document(document))
        for item in _list_items(each)
        for photo in _list_photos(item)
    ]
    return open_described(photos, path=path, archive=archive, options=options, what="photo")


TROPY: Final = Kind(
    name="tropy",
    recognise=lambda path: bool(find_documents(path, is_one=is_tropy)),
    open=open_tropy,
)


def _list_items(document: Any) -> list[dict[str, Any]]:
    if not isinstance(document, dict):
        return []
    graph = document.get("@graph", [document] if "photo" in document else [])
    return [item for item in as_list(graph) if isinstance(item, dict)]


def _list_photos(item: dict[str, Any]) -> Iterator[Described]:
    photos = [photo for photo in as_list(item.get("photo")) if isinstance(photo, dict)]
    tags = [_read_text(tag) for tag in as_list(item.get("tag"))]
    for number, photo in enumerate(photos, start=1):
        known = _read_properties(item) | _read_properties(photo)
        fields: dict[str, Any] = {}
        used: set[str] = set()
        for field, names in _FIELDS.items():
            name = next((name for name in names if known.get(name)), None)
            if name:
                fields[field] = known[name]
                used.add(name)
        # Of a photo that is called by its file the item's title says more.
        filename = _read_text(photo.get("filename"))
        if fields.get("caption") in {filename, filename.rpartition(".")[0]}:
            fields["caption"] = _read_text(item.get("title")) or fields["caption"]
        path = _read_text(photo.get("path"))
        checksum = _read_text(photo.get("checksum"))
        name = filename or path.replace("\\", "/").rpartition("/")[2]
        fields["image_id"] = f"{checksum or 'photo'}-{number}-{name}".strip("-")
        labels = {key: value for key, value in known.items() if key not in used}
        if tags:
            labels["tag"] = tags
        fields["labels"] = labels
        yield Described(fields=fields, files=tuple(filter(None, (path, filename))))


def _read_properties(node: dict[str, Any]) -> dict[str, Any]:
    """Return the metadata of an item or a photo, by name."""
    properties = {}
    for key, value in node.items():
        name = key.rpartition(":")[2] if "://" not in key else key.rpartition("/")[2]
        texts = [text for each in as_list(value) if (text := _read_text(each))]
        if name not in _OF_THE_FILE and texts:
            properties[name] = texts if len(texts) > 1 else texts[0]
    return properties


def _read_text(value: Any) -> str:
    """Return the text of a value of JSON-LD; "" if it is no text."""
    if isinstance(value, dict):
        value = value.get("@value", value.get("name", value.get("@id", "")))
    return str(value).strip() if isinstance(value, str | int | float) else ""
