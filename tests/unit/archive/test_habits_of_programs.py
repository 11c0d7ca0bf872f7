"""Manifests as spreadsheets, pandas and Macs write them, each with the rows that are meant."""

from __future__ import annotations

import json
import unicodedata

import pytest

from halftone.archive import manifests
from halftone.archive.data_sets import read_listing
from halftone.archive.mapping import parse_map, read_map
from halftone.archive.sources import Options, open_source
from halftone.core import errors

JOURNAL = "Düsseldorfer Anzeiger"
MARK = "\ufeff"


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "archive"
    (folder / "scans").mkdir(parents=True)
    for name in ("a.jpg", "scans/a.jpg", "scans/b.jpg"):
        (folder / name).write_bytes(b"picture")
    return folder


def write(folder, text, *, name="manifest.csv", encoding="utf-8"):
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def read(folder, **options):
    return list(open_source(folder, archive="press", options=Options(**options)).rows)


def images(folder, **options):
    rows = read(folder, **options)
    assert [row.error for row in rows] == [None] * len(rows)
    return [row.image for row in rows]


HEADER = "image_id;file;journal;date"
ROWS = [f"a;scans/a.jpg;{JOURNAL};1914-08", f"b;scans/b.jpg;{JOURNAL};1914-09"]


@pytest.mark.parametrize(
    "lines",
    [
        ["sep=;", HEADER, *ROWS],
        [f"{HEADER};;", *(f"{row};;" for row in ROWS), ";;;;;", ";;;;;"],
        [HEADER, *ROWS, ";;;", ";;;"],
        [HEADER, ROWS[0], "", " ; ;;", ROWS[1]],
        [HEADER, ROWS[0], MARK + HEADER, ROWS[1]],
        [HEADER.replace(";", " ; "), *(row.replace(";", "\N{NO-BREAK SPACE}; ") for row in ROWS)],
        [HEADER, ROWS[0], MARK + ROWS[1]],
        ['image_id;file;"jour\nnal";date'.replace("jour\n", "jour"), *ROWS],
    ],
    ids=["sep", "empty headers", "blank rows", "gaps", "joined", "blanks", "mark", "quotes"],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
def test_what_a_spreadsheet_writes_is_read(folder, lines, encoding):
    """Issue: excel_sep.csv, excel_blank.csv, excel_blankrows.csv."""
    text = "\r\n".join(lines) + "\r\n"
    if encoding == "cp1252":
        text = text.replace(MARK, "")
    elif encoding == "utf-8":
        text = MARK + text
    write(folder, text, encoding=encoding)

    found = images(folder)

    assert [image.name.rpartition("/")[2] for image in found] == ["a", "b"]
    assert [image.journal for image in found] == [JOURNAL] * 2
    assert [image.date for image in found] == ["1914-08", "1914-09"]
    assert not any(image.labels for image in found)
    listing = read_listing([folder])
    assert [(entry.image_id, entry.journal) for entry in listing.entries] == [
        ("a", JOURNAL),
        ("b", JOURNAL),
    ]
    assert [finding.kind for finding in listing.findings] == ["ambiguous name"] * (
        encoding == "cp1252"
    )


def test_a_header_with_a_line_break(folder):
    """Issue: header-newline.csv."""
    write(folder, 'image_id,file,"journal\nname",date\n1,a.jpg,Bode,1914\n')
    (image,) = images(folder)
    assert (image.date, list(image.labels["journal name"].values)) == ("1914", ["Bode"])
    columns = parse_map(["journal=journal name"])
    assert images(folder, columns=columns)[0].journal == "Bode"


def test_what_pandas_writes_for_missing_is_missing(folder):
    """Issue: nan.jsonl."""
    line = '{"image_id":1,"file":"a.jpg","journal":NaN,"caption":NaN,"page":3.0,"shelf":NaN}\n'
    write(folder, line, name="manifest.jsonl")
    (image,) = images(folder)
    assert (image.name, image.page) == ("archives/press/images/1", "3")
    assert (image.journal, image.caption, dict(image.labels)) == ("", "", {})
    (entry,) = read_listing([folder]).entries
    assert (entry.image_id, entry.journal) == ("1", "")


@pytest.mark.parametrize("word", ["nan", "NaN", "NaT", "<NA>", "#N/A", " nan "])
def test_the_word_for_missing_is_missing_in_a_table_too(folder, word):
    write(folder, f"image_id,file,journal,date,shelf\n1,a.jpg,{word},{word},{word}\n")
    (image,) = images(folder)
    assert (image.journal, image.date, dict(image.labels)) == ("", "", {})
    write(folder, f"image_id,file\n{word},a.jpg\n")
    (row,) = read(folder)
    assert row.error.field == "image_id"


def test_words_that_may_be_meant_are_kept(folder):
    write(folder, "image_id,file,journal,show\nNA,a.jpg,None,none\n")
    (image,) = images(folder)
    assert (image.name.rpartition("/")[2], image.journal) == ("NA", "None")


def test_whole_floats_are_whole_where_all_of_a_column_are(folder):
    write(
        folder,
        "image_id,file,page,date,ratio,page_region\n"
        '1.0,a.jpg,12.0,1914.0,2.0,"1.0,2.0,3.0,4.0"\n2.0,scans/a.jpg,,,,\n',
    )
    first, second = images(folder)
    assert [image.name.rpartition("/")[2] for image in (first, second)] == ["1", "2"]
    assert (first.page, first.date, second.page) == ("12", "1914", "")
    assert list(first.labels["ratio"].values) == ["2.0"]
    region = first.page_region
    assert (region.x, region.y, region.width, region.height) == (1, 2, 3, 4)
    assert [entry.image_id for entry in read_listing([folder]).entries] == ["1", "2"]
    write(folder, "image_id,file,page\n1.0,a.jpg,1.0\n1.1,scans/a.jpg,1.5\n")
    assert [(image.name.rpartition("/")[2], image.page) for image in images(folder)] == [
        ("1.0", "1.0"),
        ("1.1", "1.5"),
    ]


def test_quotes_have_no_meaning_in_a_tsv_unless_they_are_well_formed(folder):
    lines = [
        "image_id\tfile\tcaption",
        '1\ta.jpg\t"Titanic" sinks',
        '2\tscans/a.jpg\t"open',
        '3\tscans/b.jpg\tclosed"',
        '4\ta.jpg\t"two\nlines"',
        '5\ta.jpg\tgun, 5"',
    ]
    write(folder, "\n".join([*lines, ""]), name="manifest.tsv")
    assert [image.caption for image in images(folder)] == [
        '"Titanic" sinks',
        '"open',
        'closed"',
        "two\nlines",
        'gun, 5"',
    ]
    assert len(read_listing([folder]).entries) == 5


def test_journals_that_look_the_same_are_one(folder):
    forms = [JOURNAL, unicodedata.normalize("NFD", JOURNAL), JOURNAL.replace(" ", "  ")]
    forms += [JOURNAL.replace(" ", "\N{NO-BREAK SPACE}"), f" {JOURNAL}\t", f'"{JOURNAL}\n"']
    rows = [f"{number},a.jpg,{form},{form}" for number, form in enumerate(forms)]
    write(folder, "\n".join(["image_id,file,journal,series", *rows]))
    found = images(folder)
    assert {image.journal for image in found} == {JOURNAL}
    assert {tuple(image.labels["series"].values) for image in found} == {(JOURNAL,)}


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("SCANS/A.JPG", "scans/a.jpg"),
        ("Scans\\b.JPG", "scans/b.jpg"),
        ("scans/a.jpeg", "scans/a.jpg"),
        ("A.jpg", "a.jpg"),
    ],
)
def test_a_file_in_another_case_is_named(folder, written, meant):
    write(folder, f"image_id,file\n1,{written}\n")
    (row,) = read(folder)
    assert row.error.reason == "MISSING_FILE"
    assert f"; there is '{meant}'." in row.error.message


def test_no_file_is_named_where_two_may_be_meant(folder):
    (folder / "A.jpg").write_bytes(b"picture")
    write(folder, "image_id,file\n1,a.JPG\n2,nowhere.jpg\n")
    assert not any("there is" in row.error.message for row in read(folder))


@pytest.mark.parametrize(("written", "stored"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_a_name_is_found_in_whatever_form(folder, written, stored):
    """Issue: the folder nfd."""
    name = "Zürich.jpg"
    (folder / unicodedata.normalize(stored, name)).write_bytes(b"picture")
    write(folder, f"image_id,file\n1,{unicodedata.normalize(written, name)}\n")
    (row,) = read(folder)
    assert row.path.read_bytes() == b"picture"


def test_names_with_blanks_at_their_ends(folder):
    (folder / " c.jpg").write_bytes(b"with a blank")
    write(folder, 'image_id,file\n1," c.jpg"\n2,"  a.jpg "\n')
    first, second = read(folder)
    assert first.path.read_bytes() == b"with a blank"
    assert second.path == folder / "a.jpg"


def test_links_that_stay_in_the_folder_are_followed(folder, tmp_path):
    (tmp_path / "outside.jpg").write_bytes(b"picture")
    (folder / "inner.jpg").symlink_to(folder / "scans" / "a.jpg")
    (folder / "linked").symlink_to("scans")
    (folder / "outer.jpg").symlink_to(tmp_path / "outside.jpg")
    (folder / "circle.jpg").symlink_to("circle.jpg")
    names = ["inner.jpg", "linked/b.jpg", "outer.jpg", "circle.jpg"]
    write(folder, "\n".join(["image_id,file", *(f"{name},{name}" for name in names)]))
    inner, linked, outer, circle = read(folder)
    assert inner.path == folder / "scans" / "a.jpg"
    assert linked.path == folder / "scans" / "b.jpg"
    assert outer.error.reason == "SYMBOLIC_LINK"
    assert "out of the folder" in outer.error.message
    assert circle.error.reason == "MISSING_FILE"


def test_columns_that_differ_in_case_only(folder):
    write(folder, "image_id,file,Subject,subject,Keyword\n1,a.jpg,war,peace,x\n2,a.jpg,war,war,\n")
    first, second = images(folder)
    assert list(first.labels["subject"].values) == ["war", "peace"]
    assert list(second.labels["subject"].values) == ["war"]
    write(folder, "image_id,file,Journal,journal\n")
    with pytest.raises(errors.InvalidArgument, match="'journal' more than once"):
        read(folder)
    lines = [
        {"Image_ID": 1, "File": "a.jpg", "Journal": "J", "Shelf": "x"},
        {"image_id": 2, "file": "a.jpg", "Journal": "J", "journal": "K"},
    ]
    (folder / "manifest.csv").unlink()
    write(folder, "\n".join(map(json.dumps, lines)), name="manifest.jsonl")
    good, bad = read(folder)
    assert (good.image.journal, list(good.image.labels)) == ("J", ["Shelf"])
    assert "journal: there are several values, 'J', 'K'" in bad.error.message


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"PK\x03\x04rest", "a workbook (.xlsx"),
        (b"\xd0\xcf\x11\xe0rest", "an older Excel"),
        (b"\xef\xbb\xbf\n<!DOCTYPE html><table>", "HTML"),
    ],
)
def test_a_workbook_is_told_from_a_table(folder, content, what):
    (folder / "manifest.csv").write_bytes(content)
    with pytest.raises(errors.InvalidArgument, match="CSV UTF-8") as raised:
        read(folder)
    assert what in raised.value.message


def test_a_guessed_encoding_is_said_with_a_word(folder):
    write(folder, f"image_id,file,journal\n1,a.jpg,{JOURNAL}\n", encoding="cp1252")
    source = open_source(folder, archive="press")
    assert source.remarks[0].startswith(
        "manifest.csv is not UTF-8; read as Windows-1252, as in “Düsseldorfer”."
    )


def test_a_file_in_two_encodings_is_refused(folder):
    good = "".join(f"{number},a.jpg,{JOURNAL} \N{EN DASH} x\n" for number in range(3))
    text = f"image_id,file,journal\n{good}".encode() + f"4,a.jpg,{JOURNAL}\n".encode("cp1252")
    (folder / "manifest.csv").write_bytes(text)
    with pytest.raises(errors.InvalidArgument, match="not utf-8: line 5"):
        read(folder)
    (folder / "manifest.csv").write_bytes("image_id,file\nü,a.jpg\n".encode("cp850"))
    with pytest.raises(errors.InvalidArgument, match="cp850"):
        read(folder)


def test_columns_are_mapped(folder, tmp_path):
    write(
        folder,
        "Signatur;Datei;Publication;Date issued;Date, old;Subject\n"
        "1;a.jpg;Le Temps;1914;;war\n2;scans/a.jpg;Le Temps;;1913;peace\n",
    )
    maps = ["image_id=signatur,file=Datei,journal=Publication", 'date="Date issued"']
    columns = parse_map([*maps, 'date="Date, old",keyword=Subject'])
    file = tmp_path / "map.toml"
    file.write_text(
        'image_id = "signatur"\nfile = "Datei"\njournal = "Publication"\n'
        'date = ["Date issued", "Date, old"]\nkeyword = "Subject"\n'
    )
    assert read_map(file) == columns
    first, second = images(folder, columns=columns)
    assert (first.journal, first.date, second.date) == ("Le Temps", "1914", "1913")
    assert {key: list(first.labels[key].values) for key in first.labels} == {"keyword": ["war"]}
    with pytest.raises(errors.InvalidArgument, match="no column 'Nowhere' for page; there are:"):
        read(folder, columns=parse_map([*maps, "page=Nowhere"]))
    with pytest.raises(errors.InvalidArgument, match="--map image_id=NAME"):
        read(folder)


@pytest.mark.parametrize("text", ["journal", "journal=", "=x", 'journal="a"b', ","])
def test_what_is_no_mapping_is_refused(text, tmp_path):
    with pytest.raises(errors.InvalidArgument) as raised:
        parse_map([text])
    assert raised.value.reason == "BAD_MAP"
    (tmp_path / "map.toml").write_text(text)
    with pytest.raises(errors.InvalidArgument):
        read_map(tmp_path / "map.toml")


def test_training_reads_what_import_reads(folder):
    """Names of columns and texts are the same for both, whatever their case and form."""
    write(folder, "IMAGE_ID;File;Group;journal\n1.0; a.jpg;g ;nan\n2.0;scans/a.jpg;g;J\n")
    listing = read_listing([folder])
    assert [(entry.image_id, entry.journal) for entry in listing.entries] == [("1", ""), ("2", "J")]
    assert [group.name for group in listing.groups] == ["g"]
    assert [row.image_id for row in manifests.read_manifest(folder, archive="a")] == ["1", "2"]
