"""Opens JSON of Chronicling America: issues, pages, and results of searches.

Each page is a picture. Its file is looked for as it is named there: `seq-1.jp2` below
`lccn/sn83030272/1914-08-22/ed-1`, or with less of the path.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from halftone.archive.sources.described import (
    Described,
    find_documents,
    load_document,
    open_described,
)
from halftone.archive.sources.source import Kind, Source

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from halftone.archive.sources.source import Options

_PAGE: Final = re.compile(r"/?lccn/([^/]+)/([0-9-]{10})/ed-([0-9]+)/seq-([0-9]+)")
_SUFFIXES: Final = (".jp2", ".tif", ".jpg", ".png")
_COMPACT: Final = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})")
_HOST: Final = "https://chroniclingamerica.loc.gov"


def is_chronicling(document: Any) -> bool:
    """Return whether a document is an issue, a page or a search of Chronicling America."""
    return isinstance(document, dict) and next(_list_pages(document), None) is not None


def open_chronicling(path: Path, *, archive: str, options: Options) -> Source:
    """Open documents of Chronicling America, one or a folder of them.

    Raises:
        errors.InvalidArgument: One cannot be read.
    """
    documents = find_documents(path, is_one=is_chronicling) or [path]
    pages: dict[str, Described] = {}
    for document in documents:
        for page in _list_pages(load_document(document)):
            # A page may be told by itself and by its issue; what is told by itself says more.
            known = pages.get(page.fields["image_id"])
            if known is None or len(page.fields) > len(known.fields):
                pages[page.fields["image_id"]] = page
    return open_described(
        list(pages.values()), path=path, archive=archive, options=options, what="page"
    )


CHRONICLING: Final = Kind(
    name="chronicling-america",
    recognise=lambda path: bool(find_documents(path, is_one=is_chronicling)),
    open=open_chronicling,
)


def _list_pages(document: dict[str, Any]) -> Iterator[Described]:
    title = document.get("title")
    journal = str(title.get("name", "")) if isinstance(title, dict) else ""
    date = str(document.get("date_issued", ""))
    if isinstance(document.get("pages"), list):
        for page in document["pages"]:
            if isinstance(page, dict):
                yield from _read_page(
                    str(page.get("url", "")), sequence=page.get("sequence"), journal=journal
                )
    issue = document.get("issue")
    if isinstance(issue, dict):
        address = next(
            (str(document[key]) for key in ("jp2", "pdf", "ocr", "text") if document.get(key)), ""
        )
        yield from _read_page(
            address,
            sequence=document.get("sequence"),
            journal=journal,
            date=str(issue.get("date_issued") or date),
        )
    if isinstance(document.get("items"), list):
        for item in document["items"]:
            if isinstance(item, dict):
                yield from _read_page(
                    str(item.get("id") or item.get("url") or ""),
                    sequence=item.get("page") or item.get("sequence"),
                    journal=str(item.get("title") or item.get("title_normal") or ""),
                    date=_COMPACT.sub(r"\1-\2-\3", str(item.get("date", ""))),
                )


def _read_page(address: str, *, sequence: Any, journal: str, date: str = "") -> Iterator[Described]:
    match = _PAGE.search(address)
    if match is None:
        return
    lccn, issued, edition, number = match.groups()
    place = f"lccn/{lccn}/{issued}/ed-{edition}/seq-{number}"
    fields = {
        "image_id": f"{lccn}/{issued}/ed-{edition}/seq-{number}",
        "journal": journal.rstrip(" .") or lccn,
        "date": date or issued,
        "page": str(sequence or number),
        "source_uri": f"{_HOST}/{place}/",
        "rights": "",
        "lccn": lccn,
    }
    yield Described(fields=fields, files=tuple(f"{place}{suffix}" for suffix in _SUFFIXES))
