"""Tables of any encoding and delimiter: one reader for manifests, data sets and lists of groups."""

from __future__ import annotations

import pytest

from halftone.archive.encodings import FALLBACK
from halftone.archive.tables import describe_row, open_table
from halftone.core import errors


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_the_one_under_which_known_columns_appear(tmp_path, delimiter):
    path = tmp_path / "table.csv"
    path.write_text(f"Image_ID{delimiter}a,b;c{delimiter}group\n1{delimiter}x{delimiter}y\n")

    table = open_table(path, known=("image_id", "group"))

    assert table.delimiter == delimiter
    assert table.columns[0] == "image_id"
    assert table.header[0] == "Image_ID"


def test_without_known_columns_the_most_frequent_one_is_taken(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("\n\na.jpg;b, c.jpg;d.jpg\ne.jpg\n")

    table = open_table(path)

    assert list(table.cells()) == [(3, ["a.jpg", "b, c.jpg", "d.jpg"]), (4, ["e.jpg"])]
    assert list(table.cells(header=False)) == [(4, ["e.jpg"])]


def test_a_file_that_is_not_utf_8_is_windows_1252_where_no_encoding_is_named(tmp_path):
    path = tmp_path / "table.csv"
    path.write_bytes(b"name\n\xc9t\xe9\n")

    table = open_table(path)

    assert table.encoding == FALLBACK
    assert list(table.rows()) == [(2, {"name": "\xc9t\xe9"})]
    assert "read as Windows-1252, as in “\xc9t\xe9”." in table.remark
    with pytest.raises(errors.InvalidArgument, match="line 2"):
        open_table(path, encoding="utf-8")


def test_a_row_of_another_length_is_an_error_unless_rows_may_be_ragged(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("a,b\n1\n1,2,3\n")
    table = open_table(path)

    assert [number for number, row in table.rows() if isinstance(row, str)] == [2, 3]
    assert list(table.rows(ragged=True)) == [(2, {"a": "1"}), (3, {"a": "1", "b": "2"})]


def test_a_missing_and_a_doubled_column_are_named(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("a,b,B\n")
    table = open_table(path)

    with pytest.raises(errors.InvalidArgument, match="no column 'c'") as caught:
        table.check_columns("c")
    assert caught.value.reason == "MISSING_COLUMN"
    with pytest.raises(errors.InvalidArgument, match="'b' more than once"):
        table.check_columns("a")


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_header_may_have_a_line_break_in_quotes(tmp_path, end):
    path = tmp_path / "table.csv"
    lines = ["", 'image_id,"journal', 'name",group', "1,Bode,g", "2,Bode,g", ""]
    path.write_text(end.join(lines), newline="")

    table = open_table(path, known=("image_id", "group"))

    assert table.header == ("image_id", "journal name", "group")
    assert [(number, tuple(row.values())) for number, row in table.rows()] == [
        (3, ("1", "Bode", "g")),
        (4, ("2", "Bode", "g")),
    ]
    assert next(table.cells())[0] == 2


def test_a_header_whose_quote_is_never_closed_ends_with_its_line(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text('a,"b\n1,2\n3,4\n')

    table = open_table(path)

    assert table.header == ("a", "b")
    assert [row for _, row in table.rows()] == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]


def test_rows_with_a_quote_in_the_wrong_place_are_read_where_the_caller_is_not_strict(tmp_path):
    path = tmp_path / "table.csv"
    rows = ['a,The "Titanic",1', 'b,"The "Titanic" sinks",2', 'c,"x" y,3', 'd,"open,4', "e,f,5"]
    path.write_text("\n".join(["id,caption,n", *rows, ""]))
    table = open_table(path)

    strict, lenient = dict(table.rows()), dict(table.rows(strict=False))

    assert [line for line, row in strict.items() if isinstance(row, str)] == [3, 4, 5]
    assert lenient[3] == {"id": "b", "caption": 'The Titanic" sinks"', "n": "2"}
    assert lenient[4] == {"id": "c", "caption": "x y", "n": "3"}
    assert isinstance(lenient[5], str)
    assert lenient[6] == {"id": "e", "caption": "f", "n": "5"}


@pytest.mark.parametrize("line", ["sep=;", '"sep=;"', "SEP=;", "sep=;;;", "\nsep=;"])
def test_the_line_with_which_excel_names_the_delimiter_is_no_row(tmp_path, line):
    path = tmp_path / "table.csv"
    path.write_text(f"\ufeff{line}\na,b;c\n1;2\n")

    table = open_table(path, known=("a", "b;c"))

    assert (table.delimiter, table.header) == (";", ("a,b", "c"))
    # A spreadsheet hides it as the first line, and shows it elsewhere.
    number = 2 + 2 * line.count("\n")
    assert list(table.rows()) == [(number, {"a,b": "1", "c": "2"})]
    assert [first for first, _ in table.cells()] == [number - 1, number]


def test_a_header_that_begins_with_sep_is_one(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("sep=x,file\n1,2\n")

    assert open_table(path).header == ("sep=x", "file")


def test_rows_have_the_numbers_that_a_spreadsheet_shows(tmp_path):
    """A cell with line breaks stands in one row, an empty line is one."""
    path = tmp_path / "table.csv"
    path.write_text('a,b\n1,"two\nlines"\n\n2,"x" y\n3,"one\n\nmore"\n4,z\n5,"open\n6,z\n')
    table = open_table(path)

    told = {number: row if isinstance(row, str) else row["a"] for number, row in table.rows()}

    assert told == {
        2: "1",
        4: "the row is not well-formed CSV: text stands behind a closing quote; a quote within "
        'quotes is written twice, "" (line 5 of the file)',
        5: "3",
        6: "4",
        7: "the row is not well-formed CSV: a quote is never closed (line 10 of the file)",
        8: "6",
    }
    assert describe_row(path, 7) == "row 7"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"a": "1" "b": 2}', 'not JSON: at “"b": 2}”: a comma is missing here'),
        ("{'a': 1}", "at “'a': 1}”: a name in double quotes is to stand here"),
        ('{"a": 1,}', "at “}”: "),
        ('{"a" 1}', "at “1}”: a colon is missing"),
        ('{"a": }', "at “}”: a value is missing here"),
        ('{"a": "1}', 'at “"1}”: this text has no double quote at its end'),
        ('{"a": "C:\\scans"}', 'at “\\scans"}”: a backslash stands alone'),
        ('{"a": "\\users"}', "a backslash stands alone"),
        ('{"a": "x\ty"}', "a tab or a line break in a text is written"),
        ('{"a": 1} {"a": 2}', 'at “{"a": 2}”: each line holds one object'),
        ('{"a": "' + "x" * 99, f'at “"{"x" * 39}…”: this text'),
        ('{"a": 1', "at its end: a comma is missing here, or a bracket at the end"),
        ("[" * 100_000, "not JSON: it is nested too deeply"),
        ('["x"]', 'the line holds “["x"]”, which is no object, as {"name": "value"} is one.'),
        ('{"b": 1}', "the line has no 'a'; it has: b."),
    ],
)
def test_a_line_of_json_is_refused_in_plain_words(tmp_path, line, problem):
    path = tmp_path / "lines.jsonl"
    path.write_text(f'{{"a": 1}}\n\n{line}\n{{"a": 2}}\n')

    (_, first), (number, said), (_, last) = open_table(path).rows(required=("a",))

    assert (first, last) == ({"a": 1}, {"a": 2})
    assert problem in said
    assert describe_row(path, number) == "line 3"


def test_blank_rows_and_blank_columns_are_left_out(tmp_path):
    """Spreadsheets write what was once used below and beside a table."""
    path = tmp_path / "table.csv"
    path.write_text("a;b;;\n1;2;;\n;;;\n 3;; \t;\n;;;\n4;5;;;;\n")
    table = open_table(path)
    table.check_columns("a", "b")

    assert list(table.rows()) == [
        (2, {"a": "1", "b": "2"}),
        (4, {"a": " 3", "b": ""}),
        (6, {"a": "4", "b": "5"}),
    ]
    assert [number for number, _ in table.cells()] == [1, 2, 4, 6]


def test_a_cell_that_has_no_column_is_not_lost(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("a,b,,\n1,2,,a note\n1,2,,,another\n1,2\n")
    table = open_table(path)

    assert [row for _, row in table.rows()] == [
        "column 4 has no name in the header, and holds 'a note'",
        "the row has 5 fields, the header has 4",
        "the row has 2 fields, the header has 4",
    ]
    assert [row for _, row in table.rows(ragged=True)] == [{"a": "1", "b": "2"}] * 3


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_a_file_that_begins_as_utf_16_does_is_read_as_that(tmp_path, encoding):
    path = tmp_path / "table.tsv"
    path.write_bytes("\ufeffname\tcity\nÉté\tZürich\n".encode(encoding))

    for named in ("utf-8", None):
        table = open_table(path, encoding=named)
        assert list(table.rows()) == [(2, {"name": "Été", "city": "Zürich"})]


def test_rows_are_counted_without_reading_them(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text('a,b\n1,"two\nlines"\n\n,\n3,4\n"5,6\n7,8\n')
    path.write_text("a,b\n1," + "x" * 200_000 + "\n2,3\n")
    lines = tmp_path / "lines.jsonl"
    lines.write_text('{"a": 1}\n\n{"a": 2}\n')
