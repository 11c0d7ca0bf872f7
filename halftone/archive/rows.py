"""Makes records of the rows of any source, or says why a row cannot be used."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from halftone.archive.fields import read_whole, tidy_fields, to_text
from halftone.archive.locating import file_below
from halftone.archive.loose_dates import WRITTEN, DateReader
from halftone.archive.records import Name, make_name, parse_name, validate
from halftone.archive.showing import parse_show, to_message
from halftone.core import errors
from halftone.core.spelling import collapse
from halftone.v1 import search_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from halftone.archive.habits import Habits
    from halftone.archive.mapping import ColumnMap

REQUIRED: Final = ("image_id", "file")
_TEXTS: Final = ("journal", "page", "caption", "language", "rights", "source_uri")
COLUMNS: Final = frozenset(
    (*REQUIRED, *_TEXTS, "date", "show", "source", "page_image", "page_region", "labels")
)
"""The fields of a row that have a meaning; all others are labels."""
# What is counted by its text, or is a short word, has no line breaks.
_ON_ONE_LINE: Final = frozenset({"journal", "page", "language", "date"})
_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of a source, as a record or with the reason why it is rejected.

    Attributes:
        number: Its number as a row of the sheet; in JSON Lines, that of the line. See
            `halftone.archive.tables`, and `Source.describe_row`.
        image_id: The image id; empty if it could not be read.
        image: The record with its name and fields, None for a rejected row.
        path: The picture's file, or the file that holds it; None for a rejected row.
        content: Returns the picture's bytes where they are not simply those of the file: a page of
            a file with several, a part that is cut from a page. It may be called from any thread
            and more than once, and raises `errors.HalftoneError`.
        error: The reason why the row is rejected; None for a good one.
        notes: Sentences about a row that is kept, for example on how its date was read.
    """

    number: int
    image_id: str
    image: search_pb2.Image | None = None
    path: Path | None = None
    content: Callable[[], bytes] | None = None
    error: errors.InvalidArgument | None = None
    notes: tuple[str, ...] = ()


@dataclass(kw_only=True)
class RowMaker:
    """Makes the rows of one source.

    Attributes:
        archive: The archive that the records belong to.
        folder: The folder below which the files lie, resolved.
        describe_row: Returns in words where the row of a number is.
        dates: Reads dates, and knows the source's habits.
        columns: Which columns are the fields; None if they are called so.
        locate: Returns the file of a row for the text of its field `file`. It raises
            `errors.InvalidArgument` if there is none. None looks below `folder`.
    """

    archive: str
    folder: Path
    describe_row: Callable[[int], str]
    dates: DateReader = field(default_factory=DateReader)
    columns: ColumnMap | None = None
    locate: Callable[[str], Path] | None = None
    _first_seen: dict[str, int] = field(default_factory=dict)

    def make_rows(self, rows: Iterable[tuple[int, dict[str, Any] | str]]) -> Iterator[Row]:
        """Yield a row for each number and its fields, or for the reason why they are not there."""
        for number, row in rows:
            yield self.make_row(number, row)

    def make_row(self, number: int, row: dict[str, Any] | str) -> Row:
        """Return a row.

        Args:
            number: Its number.
            row: Its fields by name, as they are written; or a text that says why it cannot be read.
        """
        image_id = ""
        try:
            if isinstance(row, str):
                raise _row_error(row)
            fields = self.tidy(row)
            image_id = _text(fields, "image_id")
            image, notes = self._make_record(fields, image_id=image_id)
            if image_id in self._first_seen:
                where = self.describe_row(self._first_seen[image_id])
                raise errors.InvalidArgument(  # noqa: TRY301 - one way out
                    f"image_id {image_id!r} stands already in {where}.",
                    field="image_id",
                    reason="DUPLICATE_ID",
                )
            file = fields.get("file")
            file = file if isinstance(file, str) else _text(fields, "file")
            path = (
                self.locate(file)
                if self.locate
                else file_below(self.folder, relative=file, links=True)
            )
            # This comes last, so that a rejected row can be given again, corrected.
            self._first_seen[image_id] = number
        except errors.InvalidArgument as error:
            return Row(number=number, image_id=image_id, error=error)
        return Row(number=number, image_id=image_id, image=image, path=path, notes=notes)

    def tidy(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return the fields of a row as they are meant, called as records call them.

        Raises:
            errors.InvalidArgument: The row holds what no record can hold.
        """
        check_unicode(row)
        return tidy_row(row, columns=self.columns, habits=self.dates.habits)

    def _make_record(
        self, row: dict[str, Any], *, image_id: str
    ) -> tuple[search_pb2.Image, tuple[str, ...]]:
        name = make_name(self.archive, image_id=image_id, field="image_id")
        image = search_pb2.Image(name=str(name))
        for key in _TEXTS:
            setattr(image, key, _text(row, key))
        reading = self.dates.read_date(date) if (date := _text(row, "date")) else None
        if reading:
            image.date = reading.date
            if reading.written:
                image.labels[WRITTEN].values.append(reading.written)
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
        _add_labels(image, row)
        validate(image, prefix="")
        return image, (reading.note,) if reading and reading.note else ()


def tidy_row(
    row: dict[str, Any], *, columns: ColumnMap | None = None, habits: Habits | None = None
) -> dict[str, Any]:
    """Return the fields of a row as they are meant, called as records call them.

    Args:
        row: The fields by name, as they are written.
        columns: Which columns are the fields.
        habits: How the manifest writes numbers.
    """
    if columns:
        row = columns.apply(tidy_fields(row, known=()))
    fields = tidy_fields(row, known=COLUMNS)
    for key in habits.whole if habits else ():
        value = fields.get(key)
        if isinstance(value, str):
            fields[key] = read_whole(value) or value
    return fields


def _add_labels(image: search_pb2.Image, row: dict[str, Any]) -> None:
    nested = row.get("labels") or {}
    if not isinstance(nested, dict):
        raise errors.InvalidArgument("labels: must be an object.", field="labels")
    others = {key: value for key, value in row.items() if key not in COLUMNS}
    for key, value in (*others.items(), *nested.items()):
        values = value if isinstance(value, list) else [value]
        texts = [collapse(to_text(item)) for item in values if item is not None]
        if any(texts):
            image.labels[key].values.extend(dict.fromkeys(text for text in texts if text))


def _find_page(text: str, *, archive: str) -> Name:
    """Return the name of a page: that of a record of any archive, or an image id of this one."""
    if text.startswith("archives/") and "/images/" in text:
        return parse_name(text, field="page_image")
    return make_name(archive, image_id=text, field="page_image")


def check_unicode(row: dict[str, Any]) -> None:
    r"""Refuse halves of characters, such as `"\ud800"` in JSON, which no record can hold.

    Raises:
        errors.InvalidArgument: The row has one.
    """
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except (UnicodeEncodeError, RecursionError) as error:
        raise _row_error(f"the row cannot be stored: {error}") from error


def _row_error(problem: str) -> errors.InvalidArgument:
    # The message quotes the manifest, whose text may be impossible to write anywhere.
    text = problem.encode("utf-8", "backslashreplace").decode()
    return errors.InvalidArgument(text, reason="MALFORMED_ROW")


def _text(row: dict[str, Any], key: str) -> str:
    value = row.get(key)
    if value is None:
        return ""
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        raise errors.InvalidArgument(
            f"{key}: there are several values, {', '.join(map(repr, value))!s:.200}.", field=key
        )
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        text = to_text(value)
        return collapse(text) if key in _ON_ONE_LINE else text
    raise errors.InvalidArgument(f"{key}: must be a text, not {value!r:.80}.", field=key)


def _set_region(image: search_pb2.Image, value: object) -> None:
    if value is None or value == "":
        return
    if isinstance(value, dict):
        numbers = [value.get(key) for key in ("x", "y", "width", "height")]
    elif isinstance(value, list):
        numbers = value
    else:
        numbers = re.split(r"[\s,;]+", str(value).strip().strip("[]()"))
    try:
        x, y, width, height = (int(read_whole(str(number)) or str(number)) for number in numbers)
        image.page_region.x, image.page_region.y = x, y
        image.page_region.width, image.page_region.height = width, height
    except ValueError as error:
        raise errors.InvalidArgument(
            f"page_region: {value!r:.80} is not four whole numbers x,y,width,height.",
            field="page_region",
        ) from error
