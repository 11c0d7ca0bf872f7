"""Reads tables from disk row by row: CSV, TSV or JSON Lines, of any encoding and delimiter.

Manifests, training data sets and lists of groups are all read here. A row that cannot be read is
reported with its number and does not end the reading; the caller interprets the cells. Start with
`open_table`.

Rows of CSV and TSV files are numbered as a spreadsheet shows them, because that is where people
look for one: a cell with a line break does not begin a row, an empty line is one, and Excel's
`sep=;` is none. JSON Lines are numbered by line.
"""

from __future__ import annotations

import csv
import itertools
import json
import re
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TextIO

from halftone.archive.encodings import choose_encoding, open_text
from halftone.core import errors
from halftone.core.formulas import GUARDED, unguard
from halftone.core.spelling import tidy

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

_DELIMITERS: Final = (",", ";", "\t", "|")
# Excel takes this line for no row. A spreadsheet that saves it again adds delimiters.
_SEPARATOR: Final = re.compile(r"\"?sep=(.)\"?[,;\t|]*\s*", re.IGNORECASE)
_LINE_BREAK: Final = re.compile(r"\s*[\r\n]\s*")
# What Python's reader of JSON says, in words for people who wrote the line by hand.
_JSON_PROBLEMS: Final = {
    "Expecting property name enclosed in double quotes": "a name in double quotes is to stand "
    "here, or the comma before is one too many",
    "Expecting ':' delimiter": "a colon is missing between a name and its value",
    "Expecting ',' delimiter": "a comma is missing here, or a bracket at the end",
    "Expecting value": "a value is missing here; a text stands in double quotes",
    "Unterminated string starting at": "this text has no double quote at its end",
    "Invalid control character at": r"a tab or a line break in a text is written \t or \n",
    "Invalid \\escape": r"a backslash stands alone; a path is written with / or with \\",
    "Invalid \\uXXXX escape": r"a backslash stands alone; a path is written with / or with \\",
    "Extra data": "each line holds one object, and there is more behind it",
    "Illegal trailing comma before end of object": "this comma is one too many",
    "Illegal trailing comma before end of array": "this comma is one too many",
}
_LONGEST_SIGN: Final = 64
# How files begin that people take for tables.
_SIGNS: Final = (
    (b"pk\x03\x04", "a workbook (.xlsx, .ods, .numbers) or another zip file"),
    (b"\xd0\xcf\x11\xe0", "a workbook of an older Excel (.xls)"),
    (b"%pdf", "a PDF"),
    (b"<?xml", "XML"),
    (b"<!doctype html", "a page of HTML"),
    (b"<html", "a page of HTML"),
    (b"<table", "a page of HTML"),
)
_HOW_TO_SAVE: Final = (
    "Open it in a spreadsheet and save it as “CSV UTF-8”; check that dates and long numbers are "
    "still what they were."
)
_QUOTED: Final = 40
"""The most characters of a line that a message quotes."""


@dataclass(frozen=True, kw_only=True)
class TableFile:
    """A CSV, TSV or JSON Lines file, opened by `open_table`.

    Attributes:
        path: The file.
        encoding: The file's encoding.
        remark: A sentence for people if the encoding was guessed, or "".
        header: The cells of its first row, without spaces around them and with a space for each
            line break; empty for JSON Lines, whose lines name their own fields.
        delimiter: The character between cells; empty for JSON Lines.
        lines_before: The number of lines before the header: empty ones, and Excel's `sep=;`.
        header_lines: The number of lines that the header takes, with the lines before it.
        header_row: The header's number as a row of the sheet.
    """

    path: Path
    encoding: str
    header: tuple[str, ...]
    delimiter: str
    lines_before: int = 0
    header_lines: int = 0
    header_row: int = 1
    remark: str = ""

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the header in lower case; `rows` names the cells by it.

        Spreadsheets write columns without a name behind the others; their names are empty.
        """
        return tuple(cell.lower() for cell in self.header)

    def check_columns(self, *required: str, single: Collection[str] | None = None) -> None:
        """Check that the header has the columns `required`, and no column twice.

        Args:
            required: The columns that the header must have.
            single: The columns that may occur once only; None stands for all.

        Raises:
            errors.InvalidArgument: A column is missing or occurs twice; the error names it.
        """
        if not self.delimiter:
            return
        columns = self.columns
        for column in required:
            if column not in columns:
                raise errors.InvalidArgument(
                    f"{self.path} has no column {column!r}; it has: "
                    f"{', '.join(columns) or 'none'}.",
                    field=column,
                    reason="MISSING_COLUMN",
                )
        doubled = sorted(
            column
            for column in set(columns).intersection(columns if single is None else single)
            if column and columns.count(column) > 1
        )
        if doubled:
            raise errors.InvalidArgument(
                f"{self.path} has the column {doubled[0]!r} more than once.", field=doubled[0]
            )

    def rows(
        self, *, required: Sequence[str] = (), ragged: bool = False, strict: bool = True
    ) -> Iterator[tuple[int, dict[str, Any] | str]]:
        """Yield the rows below the header: the number of each, and its cells by column.

        If a row cannot be read, a text that says why takes its place; the rows after it are still
        read. Cells under a header without a name are left out; unless they are blank, the row
        cannot be read. Where several columns have one name, its cell is the list of their different
        texts if there are several. A header that is repeated, as in files that were put together,
        is no row. Cells that one of our exports guarded are as they were before.

        Args:
            required: The fields that each line of a JSON Lines file must have.
            ragged: Whether a row may have fewer or more cells than the header. Missing cells are
                left out, further ones and those without a name are ignored.
            strict: See `cells`.
        """
        if not self.delimiter:
            yield from self._json_lines(required)
            return
        columns = self.columns
        doubled = len(set(filter(None, columns))) < sum(map(bool, columns))
        for number, row in self.cells(header=False, strict=strict):
            if isinstance(row, str):
                yield number, row
                continue
            if len(row) == len(columns) > 1 and tuple(map(_read_name, row)) == self.header:
                continue
            while len(row) > len(columns) and not row[-1].strip():
                row.pop()
            problem = "" if ragged else _find_misplaced(row, columns=columns)
            if problem:
                yield number, problem
            else:
                guarded = (
                    GUARDED in columns and len(row) > (at := columns.index(GUARDED)) and row[at]
                )
                cells = map(unguard, row) if guarded else row
                pairs = [pair for pair in zip(columns, cells, strict=False) if pair[0]]
                named: dict[str, Any] = _gather(pairs) if doubled else dict(pairs)
                named.pop(GUARDED, None)
                yield number, named

    def cells(
        self, *, header: bool = True, strict: bool = True
    ) -> Iterator[tuple[int, list[str] | str]]:
        """Yield the rows of a CSV or TSV file as lists of cells, or a text that says what is wrong.

        Each comes with its number; a text names the line as well if that has another number. Rows
        whose cells are all blank are skipped, as spreadsheets write them below the others.

        Args:
            header: Whether the header is one of the rows.
            strict: Whether a row with a quote in the wrong place is a problem. If false, its line
                is read as well as possible, and only a quote that is never closed is a problem.
        """
        with open_text(self.path, encoding=self.encoding, newline="") as file:
            before = self.lines_before if header else self.header_lines
            skipped = list(itertools.islice(file, before))
            line = 1 + len(skipped)
            number = self.header_row + (0 if header else 1)
            again: deque[str] = deque()
            taken: list[str] = []
            while True:
                # The row may end before what was taken for it, which is then read once more.
                row, problem, whole = self._read_row(_lines(file, again=again, taken=taken), taken)
                if problem:
                    # Spreadsheets disagree on where such a row ends.
                    problem += f" (line {line} of the file)" if line != number else ""
                    row = None if strict else _read_line(taken[0], delimiter=self.delimiter)
                elif row is None:
                    return
                if row and any(map(str.strip, row)):
                    yield number, row
                elif problem:
                    yield number, problem
                used = len(taken)
                if not whole:
                    again.extendleft(reversed(taken[1:]))
                    used = 1
                number += 1
                line += used
                taken.clear()

    def _read_row(
        self, lines: Iterator[str], taken: Sequence[str]
    ) -> tuple[list[str] | None, str, bool]:
        """Read the next row.

        Args:
            lines: The lines of the file.
            taken: What was taken of them.

        Returns:
            Its cells, None if there is none; what is wrong with it; and whether it takes all that
            was taken. A quote may have swallowed rows up to the next one.
        """
        try:
            # `strict` is set because a quote that is never closed would otherwise swallow the rows
            # that follow.
            row = next(csv.reader(lines, delimiter=self.delimiter, strict=True), None)
        except csv.Error as error:
            if self.delimiter == "\t":
                return _split_plainly(taken[0]), "", False
            return None, f"the row is not well-formed CSV: {_explain_csv(error)}", False
        if self.delimiter == "\t" and self._is_plain(taken):
            return _split_plainly(taken[0]), "", False
        return row, "", True

    def _is_plain(self, lines: Sequence[str]) -> bool:
        """Return whether lines that quotes bind together are rows of their own in a TSV file.

        By the standard of TSV a quote has no meaning there, but spreadsheets write cells with line
        breaks in quotes.
        """
        width = len(self.header)
        return len(lines) > 1 and all(len(_split_plainly(line)) == width > 1 for line in lines)

    def _json_lines(self, required: Sequence[str]) -> Iterator[tuple[int, dict[str, Any] | str]]:
        with open_text(self.path, encoding=self.encoding) as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line.strip())
                except (ValueError, RecursionError) as error:
                    yield number, f"the line is not JSON: {_explain_json(line.strip(), error)}."
                    continue
                if not isinstance(row, dict):
                    problem = f"the line holds {_quote(line.strip())}, which is no object"
                    yield number, problem + ', as {"name": "value"} is one.'
                    continue
                missing = [key for key in required if key not in row]
                if missing:
                    has = ", ".join(row)
                    yield number, f"the line has no {missing[0]!r}; it has: {has or 'nothing'}."
                else:
                    yield number, row


def _explain_csv(error: csv.Error) -> str:
    """Return what is wrong with a row, in plain words."""
    said = str(error)
    if said == "unexpected end of data":
        return "a quote is never closed"
    if said.endswith("""expected after '"'"""):
        return 'text stands behind a closing quote; a quote within quotes is written twice, ""'
    if said.startswith("field larger than"):
        return f"a cell has more than {csv.field_size_limit():,} characters"
    return said


def _explain_json(line: str, error: ValueError | RecursionError) -> str:
    """Return where a line stops being JSON, and what is wrong there, in plain words."""
    if not isinstance(error, json.JSONDecodeError):
        return "it is nested too deeply, or a number is too long"
    problem = _JSON_PROBLEMS.get(error.msg, error.msg)
    rest = line[error.pos :].strip()
    return f"{f'at {_quote(rest)}' if rest else 'at its end'}: {problem}"


def _quote(text: str) -> str:
    """Return the beginning of a text, for a message."""
    return f"“{text if len(text) <= _QUOTED else f'{text[:_QUOTED]}…'}”"


def is_json_lines(path: Path) -> bool:
    """Return whether a file is read as JSON Lines, by its suffix."""
    return path.suffix in {".jsonl", ".ndjson"}


def describe_row(path: Path, number: int) -> str:
    """Return in words where a row of a table is, for example `row 3`; `line 3` of JSON Lines."""
    return f"{'line' if is_json_lines(path) else 'row'} {number}"


def open_table(
    path: Path, *, encoding: str | None = None, known: Collection[str] = ()
) -> TableFile:
    """Open a table and find out its columns.

    The delimiter of a CSV file is what a first line `sep=;` says, as Excel writes it. Otherwise it
    is taken from the header: the one under which most of the known columns appear, or else the most
    frequent one of comma, semicolon, tab and bar.

    Args:
        path: The table's file.
        encoding: The file's encoding; a byte order mark at its beginning is skipped. None lets the
            file decide, see `encodings`. A file that begins with the mark of UTF-16 is read as that
            instead of as UTF-8.
        known: Columns to look for, in lower case.

    Raises:
        errors.InvalidArgument: The file is not in that encoding, or no such encoding exists.
        OSError: The file cannot be read.
    """
    _refuse_workbooks(path)
    chosen = choose_encoding(path, encoding=encoding)
    encoding = chosen.name
    if is_json_lines(path):
        return TableFile(
            path=path, encoding=encoding, header=(), delimiter="", remark=chosen.remark
        )
    with open_text(path, encoding=encoding, newline="") as file:
        before, first = 0, file.readline()
        while first and not first.strip():
            before, first = before + 1, file.readline()
        candidates: tuple[str, ...] = (max(_DELIMITERS, key=first.count), *_DELIMITERS)
        declared = _SEPARATOR.fullmatch(first)
        if declared:
            candidates = (declared[1],)
            before, first = before + 1, file.readline()
        # Only as the first line of a file `sep=;` is no row for a spreadsheet.
        header_row = before + 1 - bool(declared and before == 1)
        best: list[str] = []
        delimiter, header_lines = candidates[0], before
        read = [first]
        for candidate in candidates:
            taken: list[str] = []
            lines = _lines(file, again=deque(read), taken=taken)
            header, used = _read_header(lines, first=first, delimiter=candidate)
            read = max(read, taken, key=len)
            if not best or _count(header, known=known) > _count(best, known=known):
                best, delimiter, header_lines = header, candidate, before + used
    return TableFile(
        path=path,
        encoding=encoding,
        header=tuple(best),
        delimiter=delimiter,
        lines_before=before,
        header_lines=header_lines,
        header_row=header_row,
        remark=chosen.remark,
    )


def _refuse_workbooks(path: Path) -> None:
    """Refuse files of spreadsheets and pages, with a sentence on how to make a table of them."""
    with path.open("rb") as file:
        begins = file.read(_LONGEST_SIGN).lstrip(b"\xef\xbb\xbf \t\r\n")
    for sign, what in _SIGNS:
        if begins.lower().startswith(sign):
            raise errors.InvalidArgument(
                f"{path} is {what}, and no table. {_HOW_TO_SAVE}", field="path", reason="NO_TABLE"
            )


def _find_misplaced(row: Sequence[str], *, columns: Sequence[str]) -> str:
    """Return what is wrong with the number of cells, or with those without a name; or ""."""
    if len(row) != len(columns):
        return f"the row has {len(row)} fields, the header has {len(columns)}"
    for number, (column, cell) in enumerate(zip(columns, row, strict=True), start=1):
        if not column and cell.strip():
            return f"column {number} has no name in the header, and holds {cell.strip()[:80]!r}"
    return ""


def _count(header: Sequence[str], *, known: Collection[str]) -> int:
    return len({cell.lower() for cell in header}.intersection(known))


def _read_header(lines: Iterator[str], *, first: str, delimiter: str) -> tuple[list[str], int]:
    """Return the cells of a header, and how many lines it takes.

    Args:
        lines: The lines from the header on.
        first: The first of them.
        delimiter: The character between cells.
    """
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        row, used = next(reader, []), reader.line_num
    except csv.Error:
        # A quote is in the wrong place, so the header is taken to end with its line.
        row, used = next(csv.reader([first], delimiter=delimiter), []), 1
    return [_read_name(cell) for cell in row], used


def _read_name(cell: str) -> str:
    """Return the name of a column."""
    return _LINE_BREAK.sub(" ", tidy(cell))


def _split_plainly(line: str) -> list[str]:
    """Return the cells of a line of a TSV file in which quotes have no meaning."""
    return line.rstrip("\r\n").split("\t")


def _gather(pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Return cells by column, with a list of the texts where several columns have one name."""
    texts: dict[str, list[str]] = {}
    for column, cell in pairs:
        known = texts.setdefault(column, [])
        if cell.strip() and cell not in known:
            known.append(cell)
    return {column: known if len(known) > 1 else "".join(known) for column, known in texts.items()}


def _read_line(line: str, *, delimiter: str) -> list[str] | None:
    """Return the cells of a line that is not well-formed, or None if a quote is never closed."""
    lines = iter([line, ""])
    try:
        row = next(csv.reader(lines, delimiter=delimiter), None)
    except csv.Error:  # a cell is too long
        return None
    # The reader asks for another line only while a quote is open.
    return row if next(lines, None) is not None else None


def _lines(file: TextIO, *, again: deque[str], taken: list[str]) -> Iterator[str]:
    """Yield the lines of `again`, then the lines of the file. Append each line to `taken`."""
    while line := again.popleft() if again else file.readline():
        taken.append(line)
        yield line
