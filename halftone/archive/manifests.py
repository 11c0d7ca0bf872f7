"""Archives on disk: a folder of pictures and a manifest in CSV, TSV or JSON Lines.

A manifest names one picture a row: `image_id` and `file` (relative to the manifest's folder), and
as far as they are known `journal`, `date` (EDTF), `page`, `caption`, `language`, `rights`,
`source_uri`, `source` (a URI becomes `source_uri`, anything else a label) and `page_region`
(`x,y,width,height`). Every other column becomes a label. A row that cannot be used is yielded with
its reason and does not end the reading.
"""

from __future__ import annotations

import codecs
import csv
import json
import os
import re
import stat
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from halftone.archive.records import Name, make_name, parse_name, validate
from halftone.core import errors, wire
from halftone.v1 import search_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "NAMES",
    "REQUIRED",
    "Name",
    "Row",
    "file_below",
    "find_manifest",
    "make_name",
    "parse_name",
    "read_manifest",
    "validate",
]

REQUIRED: Final = ("image_id", "file")
NAMES: Final = ("manifest.csv", "manifest.tsv", "manifest.jsonl")
"""What is looked for in a folder."""

_TEXTS: Final = ("journal", "date", "page", "caption", "language", "rights", "source_uri")
_KNOWN: Final = frozenset((*REQUIRED, *_TEXTS, "source", "page_region", "labels"))
_DELIMITERS: Final = (",", "\t", ";", "|")
_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S+")
_CHUNK: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of a manifest.

    Attributes:
        number: The line on which it begins; a header is line 1.
        image_id: As far as it could be read, otherwise empty.
        image: The record with its name and fields, None for a rejected row.
        path: The picture's file, None for a rejected row.
        error: Why the row is rejected, None for a good one.
    """

    number: int
    image_id: str
    image: search_pb2.Image | None = None
    path: Path | None = None
    error: errors.InvalidArgument | None = None


def find_manifest(path: Path) -> Path:
    """The manifest itself: `path`, or the one in the folder `path`.

    Raises:
        errors.InvalidArgument: There is none, or more than one.
    """
    if path.is_dir():
        found = [path / name for name in NAMES if (path / name).is_file()]
        if len(found) != 1:
            what = "more than one" if found else "none"
            raise errors.InvalidArgument(
                f"{path} must hold one of {', '.join(NAMES)}, and holds {what}.", field="path"
            )
        return found[0]
    if not path.is_file():
        raise errors.InvalidArgument(f"{path} is neither a manifest nor a folder.", field="path")
    return path


def read_manifest(path: Path, *, archive: str, encoding: str = "utf-8") -> Iterator[Row]:
    """Reads a manifest row by row.

    Args:
        path: A CSV, TSV or JSON Lines file, or a folder with a `manifest.csv`, `manifest.tsv` or
            `manifest.jsonl`. The delimiter of a CSV file is found in its header: comma,
            semicolon, tab or bar.
        archive: The archive that the records belong to.
        encoding: How the file is encoded. A byte order mark at its beginning is skipped.

    Returns:
        All rows, good and rejected ones, in the order of the file. Duplicated image ids, dates
        that are none, and files that are missing, empty, too large, outside the folder or behind
        a symbolic link make a rejected row.

    Raises:
        errors.InvalidArgument: The manifest as a whole cannot be read: no such file, another
            encoding, a needed column is missing. Raised before the first row.
    """
    manifest = find_manifest(path)
    _check_encoding(manifest, encoding=encoding)
    reader = _Reader(folder=manifest.parent, archive=archive)
    if manifest.suffix in {".jsonl", ".ndjson"}:
        return reader.check(_json_lines(manifest, encoding=encoding))
    fields = _header(manifest, encoding=encoding)
    return reader.check(_table(manifest, encoding=encoding, fields=fields))


def _check_encoding(manifest: Path, *, encoding: str) -> None:
    """Reads all of it once, so that a wrong encoding is known before the first row."""
    try:
        # Knows as well that `hex` is a codec but no encoding of text.
        b"a".decode(encoding, "ignore")
        decoder = codecs.getincrementaldecoder(encoding)()
    except (LookupError, ValueError) as error:
        raise errors.InvalidArgument(
            f"{encoding!r} is not an encoding of text that Python knows.", field="encoding"
        ) from error
    line = 1
    with manifest.open("rb") as file:
        while chunk := file.read(_CHUNK):
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError as error:
                line += chunk.count(b"\n", 0, error.start)
                raise _wrong_encoding(manifest, encoding=encoding, line=line) from error
            line += chunk.count(b"\n")
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise _wrong_encoding(manifest, encoding=encoding, line=line) from error


def _wrong_encoding(manifest: Path, *, encoding: str, line: int) -> errors.InvalidArgument:
    return errors.InvalidArgument(
        f"{manifest} is not {encoding}: line {line} holds a byte that cannot be. Name its "
        "encoding, for example cp1252 (Windows) or latin-1.",
        field="encoding",
        reason="WRONG_ENCODING",
    )


def _text_encoding(encoding: str) -> str:
    return "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding


def _header(manifest: Path, *, encoding: str) -> tuple[list[str], str]:
    """The columns and the delimiter: the one under which the most known columns appear."""
    with manifest.open(encoding=_text_encoding(encoding), newline="") as file:
        first = file.readline()
    best: list[str] = []
    delimiter = ","
    for candidate in _DELIMITERS:
        row = next(csv.reader([first], delimiter=candidate), [])
        columns = [column.strip().lower() for column in row]
        if len(_KNOWN.intersection(columns)) > len(_KNOWN.intersection(best)) or not best:
            best, delimiter = columns, candidate
    for column in REQUIRED:
        if column not in best:
            raise errors.InvalidArgument(
                f"{manifest} has no column {column!r}; it has: {', '.join(best) or 'none'}.",
                field=column,
                reason="MISSING_COLUMN",
            )
    doubled = sorted({column for column in best if best.count(column) > 1})
    if doubled:
        raise errors.InvalidArgument(
            f"{manifest} has the column {doubled[0]!r} more than once.", field=doubled[0]
        )
    return best, delimiter


def _table(
    manifest: Path, *, encoding: str, fields: tuple[list[str], str]
) -> Iterator[tuple[int, dict[str, Any] | str]]:
    columns, delimiter = fields
    with manifest.open(encoding=_text_encoding(encoding), newline="") as file:
        file.readline()  # the header
        number = 2
        again: deque[str] = deque()
        taken: list[str] = []
        while True:
            try:
                # Strict: otherwise a quote that is never closed swallows the rows that follow.
                row = next(
                    csv.reader(
                        _lines(file, again=again, taken=taken), delimiter=delimiter, strict=True
                    ),
                    None,
                )
            except csv.Error as error:
                problem = f"the row is not well-formed CSV: {error}"
            else:
                if row is None:
                    return
                problem = ""
                if row and len(row) != len(columns):
                    problem = f"the row has {len(row)} fields, the header has {len(columns)}"
                elif row:
                    yield number, dict(zip(columns, row, strict=True))
            used = len(taken)
            if problem:
                # It may have swallowed rows up to the next quote, which are read on their own.
                yield number, problem
                again.extendleft(reversed(taken[1:]))
                used = 1
            number += used
            taken.clear()


def _lines(file: IO[str], *, again: deque[str], taken: list[str]) -> Iterator[str]:
    """Lines to read again, then those of the file; each is noted in `taken`."""
    while line := again.popleft() if again else file.readline():
        taken.append(line)
        yield line


def _json_lines(manifest: Path, *, encoding: str) -> Iterator[tuple[int, dict[str, Any] | str]]:
    with manifest.open(encoding=_text_encoding(encoding)) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                yield number, f"the line is not JSON: {error}"
                continue
            missing = [key for key in REQUIRED if not isinstance(row, dict) or key not in row]
            if missing:
                found = ", ".join(row) if isinstance(row, dict) else type(row).__name__
                yield number, f"the line has no {missing[0]!r}; it has: {found or 'nothing'}"
            else:
                yield number, row


@dataclass(kw_only=True)
class _Reader:
    folder: Path
    archive: str

    def check(self, rows: Iterator[tuple[int, dict[str, Any] | str]]) -> Iterator[Row]:
        first_seen: dict[str, int] = {}
        root = self.folder.resolve()
        for number, row in rows:
            image_id = ""
            try:
                if isinstance(row, str):
                    raise _malformed(row)
                _check_unicode(row)
                image_id = _text(row, "image_id")
                image = self._record(row, image_id=image_id)
                if image_id in first_seen:
                    raise errors.InvalidArgument(  # noqa: TRY301 - one way out
                        f"image_id {image_id!r} stands already on line {first_seen[image_id]}.",
                        field="image_id",
                        reason="DUPLICATE_ID",
                    )
                path = file_below(root, relative=_text(row, "file"))
                # Last, so that a row that is rejected can be given again, corrected.
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
        source = _text(row, "source")
        if source and not image.source_uri and _URI.fullmatch(source):
            image.source_uri = source
        elif source:
            image.labels["source"].values.append(source)
        _set_region(image, row.get("page_region"))
        nested = row.get("labels") or {}
        if not isinstance(nested, dict):
            raise errors.InvalidArgument("labels: must be an object.", field="labels")
        others = {key: value for key, value in row.items() if key not in _KNOWN}
        for key, value in (*others.items(), *nested.items()):
            values = value if isinstance(value, list) else [value]
            texts = [str(item).strip() for item in values if item is not None]
            if any(texts):
                image.labels[key].values.extend(text for text in texts if text)
        validate(image, prefix="")
        return image


def _malformed(problem: str) -> errors.InvalidArgument:
    # Quotes what stands in the manifest, which may be what cannot be written anywhere.
    text = problem.encode("utf-8", "backslashreplace").decode()
    return errors.InvalidArgument(text, reason="MALFORMED_ROW")


def _check_unicode(row: dict[str, Any]) -> None:
    r"""Refuses halves of characters, such as `"\ud800"` in JSON, which no record can hold."""
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except (UnicodeEncodeError, RecursionError) as error:
        raise _malformed(f"the row cannot be stored: {error}") from error


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
    """A regular, readable, non-empty file below a folder that no symbolic link leads to.

    Args:
        root: The folder, already resolved.
        relative: The file's path relative to it.
        field: Named in errors.

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
        problem = f"is larger than {wire.MAX_IMAGE_BYTES // 1024**2} MiB"
    if problem:
        raise errors.InvalidArgument(
            f"{field}: {relative!r} {problem}.", field=field, reason="BAD_FILE"
        )
    return inside
