"""Data sets as people bring them: manifests, groups.json, wide tables with everything wrong."""

import json
import time
import unicodedata
from pathlib import Path

import pytest

from halftone.archive.data_sets import (
    Entry,
    Listing,
    SceneGroup,
    count_names,
    measure_tables,
    read_listing,
)
from halftone.core import errors


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "scans").mkdir()
    for name in ("a.jpg", "b.JPG", "c.png", "d.jpg", "e.jpg", "scans/f.jpg"):
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def groups_of(listing):
    ids = [entry.image_id for entry in listing.entries]
    return [[ids[member] for member in group.members] for group in listing.groups]


def kinds(listing):
    return sorted(finding.kind for finding in listing.findings)


def test_a_manifest_with_a_group_column(folder):
    (folder / "manifest.csv").write_text(
        "image_id,file,scene\n1,a.jpg,x\n2,b.JPG,x\n3,c.png,\n4,d.jpg,y\n"
    )

    for source in (folder, folder / "manifest.csv"):
        listing = read_listing([source], group_column="scene")

        assert [entry.image_id for entry in listing.entries] == ["1", "2", "3", "4"]
        assert groups_of(listing) == [["1", "2"], ["4"]]
        assert listing.findings == []


def test_a_manifest_without_the_column_takes_the_groups_beside_it(folder):
    (folder / "manifest.csv").write_text("image_id,file\n1,a.jpg\n2,b.JPG\n3,c.png\n4,d.jpg\n")
    groups = [
        {"group": "g", "members": ["1", "2", "9"], "composite": False, "links": []},
        {
            "group": "h",
            "members": ["1", "3", "4"],
            "composite": True,
            "links": [{"a": "1", "b": "4"}, {"a": "3", "b": "4"}],
        },
    ]
    (folder / "groups.json").write_text(json.dumps(groups))

    listing = read_listing([folder])

    assert groups_of(listing) == [["1", "2"], ["1", "3", "4"]]
    assert listing.groups[0].links is None
    assert listing.groups[1].links == ((0, 3), (2, 3))
    assert kinds(listing) == ["composite group", "unknown image"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("manifest.tsv", "\ufeffimage_id\tfile\tscene\n1\ta.jpg\tx\n2\tb.JPG\tx\n"),
        ("manifest.csv", "\nIMAGE_ID|file|Scene\n1|a.jpg|x\n2|b.JPG|x\n"),
        (
            "manifest.jsonl",
            '{"image_id": 1, "file": "a.jpg", "scene": "x"}\n{"file": "b.JPG", "scene": "x"}\n',
        ),
        ("manifest.csv", "Image_ID,File,Scene\n1,a.jpg,x\n2,b.JPG,x\n"),
        (
            "manifest.jsonl",
            '{"Image_ID": 1, "file": "a.jpg", "Scene": "x"}\n{"file": "b.JPG", "SCENE": "x"}\n',
        ),
        ("manifest.csv", 'image_id,file,"name\nof it",scene\n1,a.jpg,y,x\n2,b.JPG,,x\n'),
    ],
)
def test_a_manifest_that_can_be_imported_can_be_trained_on(folder, name, text):
    (folder / name).write_text(text, encoding="utf-8")

    listing = read_listing([folder], group_column="scene")

    assert [entry.path.name for entry in listing.entries] == ["a.jpg", "b.JPG"]
    assert [len(group.members) for group in listing.groups] == [2]
    assert listing.findings == []


def test_quotes_in_the_wrong_place_cost_nothing(folder):
    (folder / "manifest.csv").write_text(
        "image_id,file,caption,group\n"
        '1,a.jpg,"The "Titanic" sinks",g\n2,b.JPG,"x" y,g\n3,c.png,The "Titanic",g\n'
    )
    (folder / "table.csv").write_text('a.jpg,"b.JPG"\n"c.png" ,d.jpg\n')

    for source in (folder, folder / "table.csv"):
        listing = read_listing([source])

        assert listing.findings == []
    assert groups_of(listing) == [["a.jpg", "b.JPG"], ["c.png", "d.jpg"]]
    assert groups_of(read_listing([folder])) == [["1", "2", "3"]]


def test_a_quote_that_is_never_closed_costs_one_row(folder):
    (folder / "manifest.csv").write_text(
        'image_id,file,group\n1,a.jpg,x\n2,"b.JPG,x\n3,c.png,x\n4,d.jpg\n5,e.jpg,y,more\n'
    )

    listing = read_listing([folder])

    assert [entry.image_id for entry in listing.entries] == ["1", "3", "4", "5"]
    (finding,) = listing.findings
    assert finding.kind == "unreadable row"
    assert "manifest.csv, row 3: the row is not well-formed CSV" in finding.message


def test_a_manifest_says_what_is_missing_and_what_it_lists_twice(folder):
    (folder / "manifest.csv").write_text(
        "image_id,file,group\n1,a.jpg,x\n1,a.jpg,y\n2,none.jpg,x\n3,c.png,x\n"
    )

    listing = read_listing([folder])

    assert groups_of(listing) == [["1", "3"], ["1"]]
    assert kinds(listing) == ["missing file", "repeated name"]


WIDE = [
    ["a.jpg", "b.JPG", "", ""],
    ["c.png ", " d.jpg", "  ", "e.jpg  "],
    ["", "", "", ""],
]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("header", [None, ["Reference ", "similar 1", "similar 2", ""]])
@pytest.mark.parametrize("marked", ["", "\ufeff"])
def test_a_wide_table_with_trailing_spaces_and_empty_cells(folder, delimiter, header, marked):
    rows = [*([header] if header else []), *WIDE]
    text = marked + "\r\n".join(delimiter.join(row) for row in rows)
    (folder / "sheet.csv").write_text(text, encoding="utf-8")

    listing = read_listing([folder / "sheet.csv"])

    assert groups_of(listing) == [["a.jpg", "b.JPG"], ["c.png", "d.jpg", "e.jpg"]]
    assert listing.findings == []


def test_names_in_a_wide_table_may_differ_in_case_lack_an_extension_or_a_folder(folder):
    (folder / "sheet.csv").write_text("A.JPG,b.jpg,C\nd.jpg,f.jpg,SCANS\\F.JPG\n")

    listing = read_listing([folder / "sheet.csv"])

    assert groups_of(listing) == [["a.jpg", "b.JPG", "c.png"], ["d.jpg", "scans/f.jpg"]]
    assert kinds(listing) == ["repeated name"]


@pytest.mark.parametrize("stored", ["NFC", "NFD"])
@pytest.mark.parametrize("written", ["NFC", "NFD"])
def test_names_in_a_wide_table_may_differ_in_normal_form(folder, stored, written):
    for name in ("é.jpg", "ö.jpg"):
        (folder / unicodedata.normalize(stored, name)).write_bytes(b"")
    (folder / "sheet.csv").write_text(unicodedata.normalize(written, "é.jpg,Ö\nc.png,d.jpg\n"))

    listing = read_listing([folder / "sheet.csv"])

    assert groups_of(listing) == [["é.jpg", "ö.jpg"], ["c.png", "d.jpg"]]
    assert kinds(listing) == []


@pytest.mark.parametrize("stored", ["NFC", "NFD"])
@pytest.mark.parametrize("written", ["NFC", "NFD"])
def test_a_manifest_and_its_groups_may_differ_in_normal_form(folder, stored, written):
    other = {"NFC": "NFD", "NFD": "NFC"}[written]
    (folder / unicodedata.normalize(stored, "é.jpg")).write_bytes(b"")
    rows = unicodedata.normalize(written, "image_id,file\né,é.jpg\nö,a.jpg\n")
    (folder / "manifest.csv").write_text(rows)
    members = [unicodedata.normalize(other, name) for name in ("é", "ö")]
    # With escapes in place of its letters.
    groups = [{"group": "g", "members": members, "composite": False, "links": []}]
    (folder / "groups.json").write_text(json.dumps(groups))

    listing = read_listing([folder])

    assert groups_of(listing) == [["é", "ö"]]
    assert listing.entries[0].path.is_file()
    assert kinds(listing) == []


def test_rows_with_the_same_reference_are_one_group_and_repeated_names_count_once(folder):
    (folder / "sheet.csv").write_text("a.jpg,b.JPG,b.JPG\nA.jpg,c.png,missing.jpg\n")

    listing = read_listing([folder / "sheet.csv"])

    assert groups_of(listing) == [["a.jpg", "b.JPG", "c.png"]]
    assert kinds(listing) == ["missing file", "repeated name"]


def test_of_files_that_differ_in_case_only_the_named_one_or_the_first_is_taken(folder):
    if (folder / "A.jpg").exists():
        pytest.skip("this file system ignores case")
    (folder / "A.jpg").write_bytes(b"")
    (folder / "sheet.csv").write_text("a.jpg,A.JPG\nc.png,d.jpg\n")

    listing = read_listing([folder / "sheet.csv"])

    assert groups_of(listing)[0] == ["a.jpg", "A.jpg"]
    assert kinds(listing) == ["ambiguous name"]


def test_a_table_cannot_name_files_outside_its_folder(folder):
    inner = folder / "inner"
    inner.mkdir()
    (inner / "x.jpg").write_bytes(b"")
    (inner / "sheet.csv").write_text(f"x.jpg,../a.jpg,{folder}/c.png\n")

    listing = read_listing([inner / "sheet.csv"])

    assert [entry.image_id for entry in listing.entries] == ["x.jpg"]
    assert kinds(listing) == ["missing file", "missing file"]


def test_a_sheet_that_is_not_utf_8_is_read_and_said(folder):
    (folder / "\xe9t\xe9.jpg").write_bytes(b"")
    (folder / "sheet.csv").write_bytes("a.jpg,\xe9t\xe9.jpg\n".encode("cp1252"))

    listing = read_listing([folder / "sheet.csv"])

    assert groups_of(listing) == [["a.jpg", "\xe9t\xe9.jpg"]]
    assert "Windows-1252" in str(listing.findings[0])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("nothing.csv", None, "is not there"),
        ("manifest.csv", "image_id,file\n1,none.jpg\n", "None of the files"),
        ("sheet.csv", "x,y\n1,2\n", "neither a manifest"),
        ("sheet.csv", "", "neither a manifest"),
    ],
)
def test_what_cannot_be_understood_is_refused(folder, name, content, message):
    if content is not None:
        (folder / name).write_text(content)

    with pytest.raises(errors.InvalidArgument, match=message) as raised:
        read_listing([folder / name])

    assert raised.value.field == "data"


def test_a_folder_needs_a_manifest(folder):
    with pytest.raises(errors.InvalidArgument, match="manifest") as raised:
        read_listing([folder])
    assert raised.value.reason == "DATASET_NOT_FOUND"


def test_damaged_groups_are_refused(folder):
    (folder / "manifest.csv").write_text("image_id,file\n1,a.jpg\n")
    (folder / "groups.json").write_text('[{"members": []}]')

    with pytest.raises(errors.InvalidArgument, match=r"groups\.json"):
        read_listing([folder])


def test_groups_that_share_a_picture_are_one_family(folder):
    (folder / "manifest.csv").write_text(
        "image_id,file,group\n1,a.jpg,x\n2,b.JPG,x\n3,c.png,y\n4,d.jpg,z\n5,e.jpg,z\n"
        # The same file again, in another group.
        "6,a.jpg,y\n7,scans/f.jpg,alone\n8,scans/f.jpg,alone\n"
    )
    listing = read_listing([folder])
    assert listing.list_families() == [("x", "y"), ("z",)]


def test_the_size_of_what_lists_a_data_set(folder):
    assert measure_tables(folder) == 0
    (folder / "manifest.tsv").write_text("12345")
    (folder / "groups.json").write_text("123")
    assert measure_tables(folder) == 8
    assert measure_tables(folder / "manifest.tsv") == 8
    assert measure_tables(folder / "nowhere.csv") == 3


def test_the_names_in_a_data_set_are_counted_up_to_a_limit(folder):
    (folder / "manifest.csv").write_text("image_id,file\n1,a.jpg\n2,b.JPG\n")
    (folder / "sheet.csv").write_text("a,b,c\na.jpg,b.JPG\n")
    below = sum(1 for _ in folder.rglob("*"))
    assert count_names(folder, most=100) == 2
    assert count_names(folder / "sheet.csv", most=100) == below + 5
    for source in (folder, folder / "sheet.csv"):
        assert count_names(source, most=1) == 2
    with pytest.raises(errors.InvalidArgument):
        count_names(folder / "nowhere", most=1)


def test_thousands_of_groups_that_share_one_picture(folder):
    """Twenty thousand took 50 seconds of the processor, and now take a tenth of one."""
    groups = [SceneGroup(name=str(number), members=(0, 1)) for number in range(20_000)]
    entries = [Entry(image_id=name, path=folder / name) for name in ("a.jpg", "b.JPG")]
    started = time.process_time()
    (family,) = Listing(entries=entries, groups=groups).list_families()
    assert len(family) == len(groups)
    assert time.process_time() - started < 10


def test_roots_and_folders_are_resolved_once(folder, monkeypatch):
    resolved = []
    resolve = Path.resolve

    def count(path, **options):
        resolved.append(path)
        return resolve(path, **options)

    monkeypatch.setattr(Path, "resolve", count)
    rows = "".join(f"{n},{'scans/f.jpg' if n % 2 else 'a.jpg'}\n" for n in range(100))
    (folder / "manifest.csv").write_text(f"image_id,file\n{rows}")
    listing = read_listing([folder], roots=[folder / "nowhere", folder])
    assert len(listing.entries) == 100
    assert len(resolved) <= 4


@pytest.mark.parametrize("name", ["x" * 5000, "x/" * 3000 + "y.jpg", "x\0y"])
def test_names_that_no_file_can_have_are_missing_files(folder, name):
    (folder / "manifest.csv").write_text(f"image_id,file\n1,a.jpg\n2,{name}\n")
    (folder / "sheet.csv").write_text(f"{name},a.jpg,b.JPG\n")
    for source, number in ((folder, 1), (folder / "sheet.csv", 2)):
        listing = read_listing([source], roots=[folder])
        assert len(listing.entries) == number
        assert kinds(listing) == ["missing file"]
