"""Read manifests: a folder of pictures with a CSV, TSV or JSON Lines file.

A manifest names one picture a row: `image_id` and `file` (relative to the manifest's folder), and
as far as they are known `journal`, `date` (EDTF), `page`, `caption`, `language`, `rights`, `show`
(`none`, `thumbnail` or `full`), `source_uri`, `source` (a URI becomes `source_uri`, anything else a
label), `page_image` (the page that the picture stands on: an image id of this archive, or the whole
name of a record) and `page_region` (`x,y,width,height`). Every other column becomes a label. Texts
are read in Unicode's normal form C, and a file is found in whatever form its name is. A row that
cannot be used is yielded with its reason and does not end the reading.
"""

from __future__ import annotations

import json
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from halftone.archive.records import Name, make_name, parse_name, validate
from halftone.archive.showing import parse_show, to_message
from halftone.archive.tables import describe_row, open_table
from halftone.core import errors, files, wire
from halftone.core.spelling import compose_all, find_spelling
from halftone.v1 import search_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from halftone.archive.tables import TableFile

__all__ = [
    "COLUMNS",
    "NAMES",
    "REQUIRED",
    "Name",
    "Row",
    "count_rows",
    "file_below",
    "find_manifest",
    "list_pictures",
    "make_name",
    "parse_name",
    "read_manifest",
    "validate",
]

REQUIRED: Final = ("image_id", "file")
NAMES: Final = ("manifest.csv", "manifest.tsv", "manifest.jsonl")
"""The file names that are looked for in a folder."""

_TEXTS: Final = ("journal", "date", "page", "caption", "language", "rights", "source_uri")
COLUMNS: Final = frozenset(
    (*REQUIRED, *_TEXTS, "show", "source", "page_image", "page_region", "labels")
)
"""The columns of a manifest that have a meaning; all others are labels."""
_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of a manifest, as a record or with the reason why it is rejected.

    Attributes:
        number: Its number as a row of the sheet; in JSON Lines, that of the line. See
            `halftone.archive.tables`.
        image_id: The image id; empty if it could not be read.
        image: The record with its name and fields, None for a rejected row.
        path: The picture's file, or the file that holds it; None for a rejected row.
        content: Returns the picture's bytes where they are not simply those of the file: a page of
            a file with several, a part that is cut from a page. It may be called from any thread
            and more than once, and raises `errors.HalftoneError`.
        error: The reason why the row is rejected; None for a good one.
    """

    number: int
    image_id: str
    image: search_pb2.Image | None = None
    path: Path | None = None
    content: Callable[[], bytes] | None = None
    error: errors.InvalidArgument | None = None


def find_manifest(path: Path) -> Path:
    """Return the manifest: `path` itself, or the one in the folder `path`.

    Raises:
        errors.InvalidArgument: The folder has no manifest, or more than one.
    """
    if path.is_dir():
        candidates = [path / name for name in NAMES if (path / name).is_file()]
        if len(candidates) != 1:
            what = "more than one" if candidates else "none"
            raise errors.InvalidArgument(
                f"{path} must hold one of {', '.join(NAMES)}, and holds {what}.", field="path"
            )
        return candidates[0]
    if not path.is_file():
        raise errors.InvalidArgument(f"{path} is neither a manifest nor a folder.", field="path")
    return path


def list_pictures(path: Path) -> list[Path]:
    """Return the files of the pictures of an archive; all files of a folder without a manifest.

    Rows of a manifest that cannot be used are left out.
    """
    if path.is_file() or any((path / name).is_file() for name in NAMES):
        rows = read_manifest(path, archive="any")
        return [row.path for row in rows if row.path is not None]
    return files.files_below(path)


def read_manifest(path: Path, *, archive: str, encoding: str = "utf-8") -> Iterator[Row]:
    """Read a manifest row by row.

    Args:
        path: A CSV, TSV or JSON Lines file, or a folder with a `manifest.csv`, `manifest.tsv` or
            `manifest.jsonl`; see `open_table`.
        archive: The archive that the records belong to.
        encoding: The file's encoding. A byte order mark at its beginning is skipped.

    Returns:
        All rows, good and rejected ones, in the order of the file. A row is rejected if its image
        id occurred before, its date is not one, or its file is missing, empty, too large, outside
        the folder or behind a symbolic link.

    Raises:
        errors.InvalidArgument: The manifest as a whole cannot be read: the file is missing, its
            encoding is another one, or it lacks a needed column. Raised before the first row.
    """
    table = open_table(find_manifest(path), encoding=encoding, known=COLUMNS)
    table.check_columns(*REQUIRED)
    reader = _Reader(table=table, archive=archive)
    return reader.check(table.rows(required=REQUIRED))


def count_rows(path: Path, *, encoding: str = "utf-8") -> int:
    """Return about how many rows a manifest has, much faster than reading them.

    Args:
        path: The manifest or its folder, as `read_manifest` takes it.
        encoding: The file's encoding.
    """
    return open_table(find_manifest(path), encoding=encoding, known=COLUMNS).count_rows()


@dataclass(kw_only=True)
class _Reader:
    table: TableFile
    archive: str

    def check(self, rows: Iterator[tuple[int, dict[str, Any] | str]]) -> Iterator[Row]:
        first_seen: dict[str, int] = {}
        root = self.table.path.parent.resolve()
        for number, row in rows:
            image_id = ""
            try:
                if isinstance(row, str):
                    raise _row_error(row)
                _check_unicode(row)
                file = _text(row, "file")
                texts = compose_all(row)
                image_id = _text(texts, "image_id")
                image = self._record(texts, image_id=image_id)
                if image_id in first_seen:
                    where = describe_row(self.table.path, first_seen[image_id])
                    raise errors.InvalidArgument(  # noqa: TRY301 - one way out
                        f"image_id {image_id!r} stands already in {where}.",
                        field="image_id",
                        reason="DUPLICATE_ID",
                    )
                path = file_below(root, relative=file)
                # This comes last, so that a rejected row can be given again, corrected.
                first_seen[image_id] = number
            except errors.InvalidArgument as error:
                yield Row(number=number, image_id=image_id, error=error)
            else:
                yield Row(number=number, image_id=image_id, image=image, path=path)

    def _record(self, row: dict[str, Any], *, image_id: str) -> search_pb2.Image:
        name = make_name(self.archive, image_id=image_id, field="image_id")
        image = search_pb2.Image(name=str(name))
        for key in _TEXTS:
            setattr(image, key, _text(row, key))
        if show := _text(row, "show"):
            image.show = to_message(parse_show(show))
        source = _text(row, "source")
        if source and not image.source_uri and _URI.fullmatch(source):
            image.source_uri = source
        elif source:
            image.labels["source"].values.append(source)
        if page := _text(row, "page_image"):
            image.page_image = str(_find_page(page, archive=self.archive))
        _set_region(image, row.get("page_region"))
        nested = row.get("labels") or {}
        if not isinstance(nested, dict):
            raise errors.InvalidArgument("labels: must be an object.", field="labels")
        others = {key: value for key, value in row.items() if key not in COLUMNS}
        for key, value in (*others.items(), *nested.items()):
            values = value if isinstance(value, list) else [value]
            texts = [str(item).strip() for item in values if item is not None]
            if any(texts):
                image.labels[key].values.extend(text for text in texts if text)
        validate(image, prefix="")
        return image


def _find_page(text: str, *, archive: str) -> Name:
    """Return the name of a page: that of a record of any archive, or an image id of this one."""
    if text.startswith("archives/") and "/images/" in text:
        return parse_name(text, field="page_image")
    return make_name(archive, image_id=text, field="page_image")


def _row_error(problem: str) -> errors.InvalidArgument:
    # The message quotes the manifest, whose text may be impossible to write anywhere.
    text = problem.encode("utf-8", "backslashreplace").decode()
    return errors.InvalidArgument(text, reason="MALFORMED_ROW")


def _check_unicode(row: dict[str, Any]) -> None:
    r"""Refuse halves of characters, such as `"\ud800"` in JSON, which no record can hold."""
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except (UnicodeEncodeError, RecursionError) as error:
        raise _row_error(f"the row cannot be stored: {error}") from error


def _text(row: dict[str, Any], key: str) -> str:
    value = row.get(key)
    if value is None:
        return ""
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value).strip()
    raise errors.InvalidArgument(f"{key}: must be a text, not {value!r:.80}.", field=key)


def _set_region(image: search_pb2.Image, value: object) -> None:
    if value is None or value == "":
        return
    if isinstance(value, dict):
        numbers = [value.get(key) for key in ("x", "y", "width", "height")]
    else:
        numbers = re.split(r"[\s,;]+", str(value).strip())
    try:
        x, y, width, height = (int(str(number)) for number in numbers)
        image.page_region.x, image.page_region.y = x, y
        image.page_region.width, image.page_region.height = width, height
    except ValueError as error:
        raise errors.InvalidArgument(
            f"page_region: {value!r:.80} is not four whole numbers x,y,width,height.",
            field="page_region",
        ) from error


def file_below(root: Path, *, relative: str, field: str = "file") -> Path:
    """Return a regular, readable, non-empty file below a folder; no symbolic link may lead to it.

    A name that the folder has in another of Unicode's normal forms is found, too.

    Args:
        root: The folder, already resolved.
        relative: The file's path relative to it.
        field: The field's name in errors.

    Raises:
        errors.InvalidArgument: The path leads out of the folder or through a symbolic link, or
            the file is missing, empty, larger than 32 MiB, or no regular file.
    """
    if not relative or "\0" in relative:
        raise errors.InvalidArgument(f"{field}: no path is given.", field=field)
    # Backslashes come from manifests written on Windows; few files elsewhere have one.
    path = root / relative
    if "\\" in relative and not path.exists():
        path = root / relative.replace("\\", "/")
    inside = Path(os.path.normpath(path))
    if not inside.is_relative_to(root) or inside == root:
        raise errors.InvalidArgument(
            f"{field}: {relative!r} lies outside of the folder {root}.",
            field=field,
            reason="OUTSIDE_FOLDER",
        )
    inside = find_spelling(inside)
    try:
        if inside.resolve() != inside:
            raise errors.InvalidArgument(
                f"{field}: {relative!r} leads through a symbolic link.",
                field=field,
                reason="SYMBOLIC_LINK",
            )
        status = inside.stat(follow_symlinks=False)
    except (OSError, RuntimeError) as error:
        raise errors.InvalidArgument(
            f"{field}: {relative!r} cannot be read: {getattr(error, 'strerror', '') or error}.",
            field=field,
            reason="MISSING_FILE",
        ) from error
    problem = ""
    if not stat.S_ISREG(status.st_mode):
        problem = "is not a file"
    elif status.st_size == 0:
        problem = "is empty"
    elif status.st_size > wire.MAX_IMAGE_BYTES:
        problem = wire.describe_excess(status.st_size, limit=wire.MAX_IMAGE_BYTES)
    if problem:
        raise errors.InvalidArgument(
            f"{field}: {relative!r} {problem}.", field=field, reason="BAD_FILE"
        )
    return inside
