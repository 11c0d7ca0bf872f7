"""Opens exports of Omeka S: CSV, as its modules write it, and JSON-LD, as its API gives it.

Properties of Dublin Core become the fields of records. A property with several values has them in
one cell of CSV, with a bar between them. In JSON-LD an item and its media are documents of their
own; a medium is a picture, with the metadata of its item.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final

from halftone.archive import manifests
from halftone.archive.loose_dates import DateReader
from halftone.archive.mapping import ColumnMap, merge_maps
from halftone.archive.rows import COLUMNS
from halftone.archive.sources.described import (
    Described,
    FileFinder,
    as_list,
    find_documents,
    load_document,
    open_described,
)
from halftone.archive.sources.source import Kind, Source
from halftone.archive.tables import describe_row, open_table
from halftone.core import errors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from halftone.archive.sources.source import Options

_TABLES: Final = (".csv", ".tsv", ".txt")
_BAR: Final = "|"
_PROPERTIES: Final = {
    "journal": ("dcterms:isPartOf", "bibo:isPartOf", "dcterms:publisher"),
    "date": ("dcterms:date", "dcterms:issued", "dcterms:created", "dcterms:temporal"),
    "page": ("bibo:pageStart", "bibo:pages"),
    "caption": ("dcterms:title", "dcterms:description"),
    "language": ("dcterms:language",),
    "rights": ("dcterms:rights", "dcterms:license"),
    "source_uri": ("dcterms:source", "url"),
}
_COLUMNS: Final = _PROPERTIES | {
    "image_id": ("o:id", "internal id", "dcterms:identifier"),
    "file": (
        *("o:original_url", "o:media/o:original_url", "o:media[file]", "o:media/file", "o:media"),
        *("media_url", "media url", "o:filename", "file", "url"),
    ),
}


def recognise_omeka(path: Path) -> bool:
    """Return whether a path is an export of Omeka S."""
    if path.is_file() and path.suffix.lower() in _TABLES:
        try:
            columns = open_table(path).columns
        except (errors.InvalidArgument, OSError):
            return False
        own = "o:id" in columns or "internal id" in columns
        return own and any(column.startswith("dcterms:") for column in columns)
    return bool(find_documents(path, is_one=is_omeka))


def is_omeka(document: Any) -> bool:
    """Return whether a document is of Omeka S's API: a resource, or a list of them."""
    resources = as_list(document)
    return bool(resources) and all(
        isinstance(each, dict) and "o:id" in each and "@type" in each for each in resources
    )


def open_omeka(path: Path, *, archive: str, options: Options) -> Source:
    """Open an export of Omeka S.

    Raises:
        errors.InvalidArgument: It cannot be read, or names no pictures.
    """
    if path.is_file() and path.suffix.lower() in _TABLES:
        return _open_table(path, archive=archive, options=options)
    resources = [
        resource
        for document in find_documents(path, is_one=is_omeka) or [path]
        for resource in as_list(load_document(document))
        if isinstance(resource, dict)
    ]
    pictures = list(_read_resources(resources))
    if not pictures:
        raise errors.InvalidArgument(
            f"{path} has items of Omeka S and none of their media. Export the media, too "
            "(…/api/media), or items with o:media embedded.",
            field="path",
        )
    return open_described(pictures, path=path, archive=archive, options=options, what="medium")


OMEKA: Final = Kind(name="omeka", recognise=recognise_omeka, open=open_omeka)


def _open_table(path: Path, *, archive: str, options: Options) -> Source:
    columns = open_table(path, encoding=options.encoding).columns
    preset = {
        field: tuple(name for name in names if name.lower() in columns)
        for field, names in _COLUMNS.items()
    }
    known = ColumnMap(columns={field: names for field, names in preset.items() if names})
    merged = merge_maps(known, options.columns)
    manifest = manifests.open_manifest(path, encoding=options.encoding, columns=merged)
    dates = DateReader(loose=options.loose_dates, habits=manifest.habits)
    finder = FileFinder(path.parent.resolve())
    table = manifest.table
    maker = manifest.make_maker(archive=archive, dates=dates)
    maker = dataclasses.replace(maker, locate=finder.find)
    names = {name.lower() for name in preset.get("file", ())}
    fields = merged.columns if merged else {}
    single = {
        name.lower() for field, each in fields.items() if field in COLUMNS for name in each
    } - names

    def read() -> Iterator[tuple[int, dict[str, Any] | str]]:
        for number, row in manifest.read_fields():
            if isinstance(row, str):
                yield number, row
                continue
            split = {key: _split(value) for key, value in row.items()}
            for key in single.intersection(split):
                # A field of a record has one value, the first; a label has all.
                split[key] = next(iter(as_list(split[key])), "")
            for key in names.intersection(split):
                # A cell with several media names the first picture.
                files = as_list(split[key])
                split[key] = finder.choose([str(each) for each in files])
            yield number, split

    return Source(
        path=path,
        folder=path.parent,
        rows=maker.make_rows(read()),
        total=manifest.total,
        describe_row=lambda number: describe_row(path, number),
        numbering="Rows are numbered as a spreadsheet shows them.",
        dates=dates,
        remarks=[table.remark] if table.remark else [],
    )


def _split(value: Any) -> Any:
    """Return the values of a cell; the cell itself if it has one."""
    if not isinstance(value, str) or _BAR not in value:
        return value
    values = [each.strip() for each in value.split(_BAR) if each.strip()]
    return values if len(values) > 1 else "".join(values)


def _read_resources(resources: list[dict[str, Any]]) -> Iterator[Described]:
    items = {each["o:id"]: each for each in resources if not _is_medium(each) and "o:id" in each}
    embedded = [
        {**medium, "o:item": {"o:id": item["o:id"]}}
        for item in items.values()
        for medium in as_list(item.get("o:media"))
        if isinstance(medium, dict) and _is_medium(medium)
    ]
    for medium in [*filter(_is_medium, resources), *embedded]:
        parent = medium.get("o:item")
        item = items.get(parent.get("o:id"), {}) if isinstance(parent, dict) else {}
        known = _read_properties(item) | _read_properties(medium)
        fields: dict[str, Any] = {"image_id": str(medium["o:id"])}
        used: set[str] = set()
        for field, names in _PROPERTIES.items():
            name = next((name for name in names if name in known), None)
            if name:
                fields[field] = known[name][0]
                used.add(name)
        labels = {key.partition(":")[2]: values for key, values in known.items() if key not in used}
        names = ("o:original_url", "o:filename", "o:source")
        files = tuple(str(medium[name]) for name in names if medium.get(name))
        yield Described(fields={**fields, "labels": labels}, files=files)


def _is_medium(resource: dict[str, Any]) -> bool:
    return "o:Media" in as_list(resource.get("@type")) or "o:original_url" in resource


def _read_properties(resource: dict[str, Any]) -> dict[str, list[str]]:
    """Return the values of a resource's properties, which are those with a vocabulary's prefix."""
    properties: dict[str, list[str]] = {}
    for key, values in resource.items():
        if ":" not in key or key.startswith(("o:", "o-", "@")):
            continue
        for value in as_list(values):
            if isinstance(value, dict):
                value = value.get("@value") or value.get("display_title") or value.get("@id")  # noqa: PLW2901 - the text of the value
            if isinstance(value, str | int | float) and str(value).strip():
                properties.setdefault(key, []).append(str(value).strip())
    return properties
