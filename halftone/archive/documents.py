"""Makes a record of each page of a file that has several: TIFF and PDF. Rows in, rows out.

The pages of `scans/7.tif`, imported as `7`, are the records `7/p1`, `7/p2` and so on. A file with
one page stays one record with its own id; a page of a PDF is always handed on as a picture.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final, Literal, TypeVar

from halftone.archive.records import parse_name, validate
from halftone.archive.rows import Row
from halftone.core import errors, wire
from halftone.core.settings import read_max_pixels
from halftone.imaging import headers, images
from halftone.imaging.formats import pdf, tiff_pages
from halftone.v1 import search_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from PIL import Image

T = TypeVar("T")

_TIFF: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_SMALL: Final = 64


@dataclass(frozen=True, kw_only=True)
class DocumentOptions:
    """How files with several pages are read.

    Attributes:
        tiff_pages: Whether all pages of a TIFF become records, or the first alone.
        pdf_dpi: The resolution that every page of a PDF is drawn at. None takes a page that is one
            picture as that picture, and draws others at the resolution of the pictures on them.
    """

    tiff_pages: Literal["all", "first"] = "all"
    pdf_dpi: int | None = None


def expand_rows(rows: Iterable[Row], *, options: DocumentOptions) -> Iterator[Row]:
    """Yield rows, and for each file with several pages one row for each page.

    A row that has a `content` already, or is rejected, is yielded as it is. A document that cannot
    be opened becomes a rejected row that names it, as do the pages of a TIFF behind damage; behind
    a single page, they become a note.
    """
    for row in rows:
        if row.path is None or row.image is None or row.content is not None:
            yield row
            continue
        try:
            yield from _expand(row, row.path, options=options)
        except errors.InvalidArgument as error:
            yield Row(number=row.number, image_id=row.image_id, error=error)
        except OSError as error:
            yield Row(
                number=row.number,
                image_id=row.image_id,
                error=errors.InvalidArgument(
                    f"{row.path.name} cannot be read: {error.strerror or error}.",
                    field="file",
                    reason="BAD_FILE",
                ),
            )


def _expand(row: Row, path: Path, *, options: DocumentOptions) -> Iterator[Row]:
    with path.open("rb") as file:
        head = file.read(1024)
    lost = ""
    if head.startswith(_TIFF) and options.tiff_pages == "all":
        listed = _map(path, tiff_pages.read_pages)
        lost = "" if listed.complete else _describe_lost(path, count=len(listed.full))
        makers: list[Callable[[], bytes]] = [
            partial(_read_tiff_page, path, page) for page in listed.full
        ]
        if len(makers) == 1:
            # What follows a single page is often no page, but what a program left there.
            yield replace(row, notes=(*row.notes, lost)) if lost else row
            return
    elif pdf.is_pdf(head) and not headers.kind_of(head):
        makers = [
            partial(pdf.read_page, path, index=index, dpi=options.pdf_dpi, decode=_decode_small)
            for index in range(pdf.count_pages(path))
        ]
    else:
        yield row
        return
    for number, make in enumerate(makers, start=1):
        yield _make_page(row, number=number, count=len(makers), content=make)
    if lost:
        raise errors.InvalidArgument(lost, field="file", reason="BAD_FILE")


def _describe_lost(path: Path, *, count: int) -> str:
    return f"{path.name}: pages behind page {count:,} cannot be read, if there are any."


def _make_page(row: Row, *, number: int, count: int, content: Callable[[], bytes]) -> Row:
    """Return the row of a page.

    Raises:
        errors.InvalidArgument: The id of the page would be too long.
    """
    if count == 1:
        return replace(row, content=content)
    assert row.image is not None  # noqa: S101 - rejected rows are not expanded
    image = search_pb2.Image()
    image.CopyFrom(row.image)
    name = parse_name(row.image.name)
    image_id = f"{row.image_id}/p{number}"
    image.name = str(name._replace(image_id=f"{name.image_id}/p{number}"))
    if not row.image.page:
        image.page = str(number)
    validate(image, prefix="")
    notes = row.notes if number == 1 else ()
    return replace(row, image_id=image_id, image=image, content=content, notes=notes)


def _read_tiff_page(path: Path, page: tiff_pages.Page) -> bytes:
    """Return a file of one page.

    Raises:
        errors.HalftoneError: The file cannot be read any more, or the page is too large to be sent.
    """
    try:
        content = _map(path, partial(tiff_pages.extract, page=page))
    except OSError as error:
        raise errors.InvalidArgument(
            f"Cannot read {path}: {error.strerror or error}.", field="content"
        ) from error
    if len(content) > wire.MAX_IMAGE_BYTES:
        excess = wire.describe_excess(len(content), limit=wire.MAX_IMAGE_BYTES)
        raise errors.ImageRejected(
            f"A page of {path.name} {excess}.", field="content", reason=images.TOO_MANY_BYTES
        )
    return content


def _decode_small(content: bytes) -> Image.Image:
    return images.decode(content, max_pixels=read_max_pixels(), target=_SMALL, luminance=True)


class _MappedFile(mmap.mmap):
    """A file in memory, of which only what is looked at is read."""

    def startswith(self, prefix: bytes | tuple[bytes, ...]) -> bool:
        """Return whether the file begins with some bytes, as `bytes.startswith`."""
        return bytes(self[:16]).startswith(prefix)


def _map(path: Path, function: Callable[[bytes], T]) -> T:
    """Call a function with the bytes of a file, of which not all are read.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file, _MappedFile(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        return function(mapped)  # type: ignore[arg-type]  # as far as it is used, it is one
