"""Manifests: formats, encodings, and rows that cannot be used."""

from __future__ import annotations

import json
import os
import unicodedata

import pytest

from halftone.archive import manifests
from halftone.archive.records import Name
from halftone.core import errors, wire
from halftone.v1 import search_pb2


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "archive"
    (folder / "images").mkdir(parents=True)
    for number in range(4):
        (folder / "images" / f"{number}.jpg").write_bytes(b"picture")
    return folder


def write(folder, text, *, name="manifest.csv", encoding="utf-8"):
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def read(path, **options):
    return list(manifests.read_manifest(path, archive="press", **options))


HEADER = "image_id,file,journal,date,page,caption,language,medium,rights,source\n"


def test_a_row_becomes_a_record(folder):
    write(
        folder,
        HEADER
        + '1,images/1.jpg,"L\'Illustration, Paris",1914-08~,3,"Le ""départ""\nde 8 h",fr,photo,'
        "free,https://example.org/1\n",
    )
    (row,) = read(folder)
    assert (row.number, row.image_id, row.error) == (2, "1", None)
    assert row.path == folder / "images" / "1.jpg"
    assert row.image == search_pb2.Image(
        name="archives/press/images/1",
        journal="L'Illustration, Paris",
        date="1914-08~",
        page="3",
        caption='Le "départ"\nde 8 h',
        language="fr",
        rights="free",
        source_uri="https://example.org/1",
        labels={"medium": search_pb2.Labels(values=["photo"])},
    )


def test_a_source_that_is_no_address_is_a_label(folder):
    write(folder, "image_id,file,source\n1,images/1.jpg,Project Gutenberg #6137\n")
    (row,) = read(folder)
    assert row.image.source_uri == ""
    assert list(row.image.labels["source"].values) == ["Project Gutenberg #6137"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found_in_the_header(folder, delimiter):
    rows = [["Image_ID", " file ", "caption"], ["1", "images/1.jpg", "a, b; c"]]
    quoted = (delimiter.join(f'"{cell}"' for cell in row) for row in rows)
    write(folder, "\n".join(quoted), name="manifest.tsv")
    (row,) = read(folder)
    assert row.image.caption == "a, b; c"


def test_a_byte_order_mark_and_windows_line_ends(folder):
    write(folder, "\ufeffimage_id,file,caption\r\n1,images/1.jpg,Grüße\r\n\r\n2,images/2.jpg,x\r\n")
    rows = read(folder)
    assert [row.image.caption for row in rows] == ["Grüße", "x"]
    assert [row.number for row in rows] == [2, 4]


def test_another_encoding_may_be_named(folder):
    text = "image_id,file,caption\n1,images/1.jpg,plain\n2,images/2.jpg,Grüße „ja“\n"
    path = write(folder, text, encoding="cp1252")
    assert read(path)[1].image.caption == "Grüße „ja“"
    with pytest.raises(errors.InvalidArgument, match="line 3") as raised:
        read(path, encoding="utf-8")
    assert raised.value.reason == "WRONG_ENCODING"
    assert "utf-8" in raised.value.message
    assert "cp1252" in raised.value.message
    assert read(path, encoding="cp1252")[1].image.caption == "Grüße „ja“"
    for encoding in ("klingon", "hex", "rot13", "undefined"):
        with pytest.raises(errors.InvalidArgument, match=encoding) as raised:
            read(path, encoding=encoding)
        assert raised.value.field == "encoding"


def test_a_missing_column_is_named_with_those_that_are_there(folder):
    write(folder, "image_id,path,journal\n1,images/1.jpg,x\n")
    with pytest.raises(errors.InvalidArgument) as raised:
        read(folder)
    assert raised.value.field == "file"
    assert "image_id, path, journal" in raised.value.message
    write(folder, "")
    with pytest.raises(errors.InvalidArgument, match="image_id"):
        read(folder)
    write(folder, "image_id,file,date,date\n")
    with pytest.raises(errors.InvalidArgument, match="more than once"):
        read(folder)


def test_the_manifest_must_be_found(folder, tmp_path):
    with pytest.raises(errors.InvalidArgument, match="none"):
        read(folder)
    with pytest.raises(errors.InvalidArgument, match="neither"):
        read(tmp_path / "nowhere")
    write(folder, HEADER)
    write(folder, "", name="manifest.jsonl")
    with pytest.raises(errors.InvalidArgument, match="more than one"):
        read(folder)


def test_bad_rows_are_told_and_the_others_read(folder, tmp_path):
    (tmp_path / "outside.jpg").write_bytes(b"picture")
    (folder / "images" / "link.jpg").symlink_to(tmp_path / "outside.jpg")
    (folder / "linked").symlink_to(tmp_path)
    (folder / "images" / "empty.jpg").touch()
    with (folder / "images" / "large.jpg").open("wb") as large:
        large.truncate(33 * 1024 * 1024)
    os.mkfifo(folder / "images" / "pipe.jpg")
    rows = [
        ("0", "images/0.jpg", "1914"),
        ("0", "images/1.jpg", "1914"),
        ("2", "images/1.jpg", "1914-13"),
        ("3", "../outside.jpg", ""),
        ("4", str(tmp_path / "outside.jpg"), ""),
        ("5", "images/link.jpg", ""),
        ("6", "linked/outside.jpg", ""),
        ("7", "images/missing.jpg", ""),
        ("8", "images/empty.jpg", ""),
        ("9", "images/large.jpg", ""),
        ("10", "images/pipe.jpg", ""),
        ("11", "images", ""),
        ("12", "", ""),
        ("", "images/1.jpg", ""),
        ("../14", "images/1.jpg", ""),
        ("15", "images/2.jpg", ""),
    ]
    text = "image_id,file,date\n" + "".join(",".join(row) + "\n" for row in rows)
    write(folder, text + "16,images/3.jpg\n17,images/3.jpg,1914,more\n18,images\\3.jpg,\n")
    found = read(folder)
    good = [row.image_id for row in found if row.error is None]
    assert good == ["0", "15", "18"]
    told = {row.number: (row.error.field, row.error.reason) for row in found if row.error}
    assert told == {
        3: ("image_id", "DUPLICATE_ID"),
        4: ("date", "INVALID_DATE"),
        5: ("file", "OUTSIDE_FOLDER"),
        6: ("file", "OUTSIDE_FOLDER"),
        7: ("file", "SYMBOLIC_LINK"),
        8: ("file", "SYMBOLIC_LINK"),
        9: ("file", "MISSING_FILE"),
        10: ("file", "BAD_FILE"),
        11: ("file", "BAD_FILE"),
        12: ("file", "BAD_FILE"),
        13: ("file", "BAD_FILE"),
        14: ("file", "INVALID_ARGUMENT"),
        15: ("image_id", "INVALID_NAME"),
        16: ("image_id", "INVALID_NAME"),
        18: ("", "MALFORMED_ROW"),
        19: ("", "MALFORMED_ROW"),
    }
    assert all(row.image is None and row.path is None for row in found if row.error)
    assert "stands already in row 2" in found[1].error.message


def test_a_file_that_is_too_large_is_refused_with_its_size_and_the_limit(folder):
    with (folder / "images" / "1.jpg").open("wb") as file:
        file.truncate(wire.MAX_IMAGE_BYTES + 1)
    write(folder, "image_id,file\n1,images/1.jpg\n")
    (row,) = read(folder)
    said = "file: 'images/1.jpg' has 32.1 MiB; the limit is 32 MiB."
    assert (row.error.message, row.error.reason) == (said, "BAD_FILE")


@pytest.mark.parametrize(
    ("after", "reasons"),
    [
        ("", {}),
        ('5,images/3.jpg,"a, b"\n', {6: None}),
        ('5,images/3.jpg,"\n', {6: "MALFORMED_ROW"}),
    ],
)
def test_a_quote_that_is_never_closed_swallows_no_rows(folder, after, reasons):
    rows = '1,images/0.jpg,\n2,"images/1.jpg,x\n3,images/1.jpg,"two\nlines"\n4,images/2.jpg,\n'
    write(folder, "image_id,file,caption\n" + rows + after)
    found = read(folder)
    told = {row.number: row.error and row.error.reason for row in found}
    assert told == {2: None, 3: "MALFORMED_ROW", 4: None, 5: None, **reasons}
    assert found[2].image.caption == "two\nlines"


def test_a_row_that_was_rejected_can_be_given_again(folder):
    rows = "1,images/gone.jpg,\n1,images/1.jpg,1914-13\n1,images/1.jpg,1914\n1,images/2.jpg,\n"
    write(folder, "image_id,file,date\n" + rows)
    reasons = [row.error and row.error.reason for row in read(folder)]
    assert reasons == ["MISSING_FILE", "INVALID_DATE", None, "DUPLICATE_ID"]


@pytest.mark.parametrize("key", ["image_id", "file", "caption", "medium", "labels", "half\ud800"])
def test_half_a_character_is_a_rejected_row(folder, key):
    good = {"image_id": "1", "file": "images/1.jpg"}
    value = {"a": ["x\ud800"]} if key == "labels" else "x\ud800"
    lines = [good | {key: value}, {key: value}, good]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    write(folder, text, name="manifest.jsonl")
    *bad, last = read(folder)
    assert [row.error.reason for row in bad] == ["MALFORMED_ROW"] * 2
    for row in bad:
        assert (row.image_id + row.error.message).encode()
    assert last.error is None


def test_json_lines(folder):
    lines = [
        {
            "image_id": "1",
            "file": "images/1.jpg",
            "page": 7,
            "page_region": {"x": 1, "y": 2, "width": 3, "height": 4},
            "labels": {"place": ["Berlin", "Paris"]},
            "medium": None,
        },
        {"image_id": 2, "file": "images/2.jpg", "page_region": "5,6,7,8", "caption": None},
        {"file": "images/3.jpg"},
        ["image_id", "file"],
        {"image_id": "5", "file": "images/3.jpg", "caption": {"de": "x"}},
        {"image_id": "6", "file": "images/3.jpg", "page_region": "left"},
        {"image_id": "7", "file": "images/3.jpg", "labels": "x"},
    ]
    text = "\n".join(json.dumps(line) for line in lines) + "\n{not json\n\n"
    write(folder, text, name="manifest.jsonl")
    rows = read(folder)
    assert [row.error is None for row in rows] == [True, True] + [False] * 6
    first, second = rows[0].image, rows[1].image
    assert (first.page, first.page_region.height) == ("7", 4)
    assert {key: list(value.values) for key, value in first.labels.items()} == {
        "place": ["Berlin", "Paris"]
    }
    assert (rows[1].image_id, second.page_region.x) == ("2", 5)
    assert "image_id" in rows[2].error.message
    assert [row.number for row in rows] == list(range(1, 9))


def test_names():
    name = manifests.parse_name("archives/press-1/images/1914/08/22 p.3")
    assert name == Name("press-1", "1914/08/22 p.3")
    assert str(name) == "archives/press-1/images/1914/08/22 p.3"
    assert name.point_id.version == 5
    others = {
        Name("press-1", "1914/08/22 p.4"),
        Name("press", "1914/08/22 p.3"),
        Name("a", "bc"),
        Name("ab", "c"),
    }
    assert len({name.point_id, *(other.point_id for other in others)}) == 5
    # It is stored in collections: it must never change.
    assert str(Name("press", "1").point_id) == "b6219b82-2efa-5442-b366-bea3628a8f15"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "press/1",
        "archives/press",
        "archives/press/images/",
        "archives//images/1",
        "archives/-press/images/1",
        "archives/pr ess/images/1",
        "archives/" + "p" * 64 + "/images/1",
        "archives/press/pictures/1",
        "archives/press/images/1/",
        "archives/press/images//1",
        "archives/press/images/../1",
        "archives/press/images/ 1",
        "archives/press/images/a\nb",
        "archives/press/images/a\0b",
        "archives/press/images/" + "x" * 513,
        "archives/press/images/\ud800",
    ],
)
def test_what_is_no_name(text):
    with pytest.raises(errors.InvalidArgument) as raised:
        manifests.parse_name(text, field="image.name")
    assert raised.value.field == "image.name"
    assert raised.value.reason == "INVALID_NAME"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"journal": "x" * 1001}, "image.journal"),
        ({"caption": "a\0b"}, "image.caption"),
        ({"language": "Deutsch (alt)"}, "image.language"),
        ({"date": "1914-13"}, "image.date"),
        ({"page_region": {"x": -1, "width": 5, "height": 5}}, "image.page_region"),
        ({"page_region": {"x": 1, "width": 0, "height": 5}}, "image.page_region"),
        ({"page_image": "1"}, "image.page_image"),
        ({"page_image": "archives/press/images/a/../b"}, "image.page_image"),
        ({"page_image": "archives/press/images/1"}, "image.page_image"),
        ({"page_image": "archives/press/images/e\u0301"}, "image.page_image"),
        ({"labels": {"a=b": search_pb2.Labels(values=["x"])}}, "image.labels"),
        ({"labels": {"": search_pb2.Labels(values=["x"])}}, "image.labels"),
        ({"labels": {"a": search_pb2.Labels(values=["x" * 1001])}}, "image.labels.a"),
        ({"labels": {"a": search_pb2.Labels(values=["x"] * 65)}}, "image.labels.a"),
        ({"labels": {f"k{n}": search_pb2.Labels(values=["x"]) for n in range(65)}}, "image.labels"),
    ],
)
def test_fields_of_a_record_are_checked(fields, field):
    image = search_pb2.Image(name="archives/press/images/1", **fields)
    with pytest.raises(errors.InvalidArgument) as raised:
        manifests.validate(image)
    assert raised.value.field == field


@pytest.mark.parametrize("written", ["NFC", "NFD"])
@pytest.mark.parametrize("stored", ["NFC", "NFD"])
def test_a_manifest_and_its_files_may_come_from_different_systems(folder, written, stored):
    """Macs take names apart: é is an e and an accent there."""
    pictures = folder / unicodedata.normalize(stored, "Überblick")
    pictures.mkdir()
    (pictures / unicodedata.normalize(stored, "café.jpg")).write_bytes(b"picture")
    header, row = "image_id,file,journal,Größe", "é/1,Überblick/café.jpg,Völkische Zeitung,groß-é"
    write(folder, unicodedata.normalize(written, f"{header}\n{row}\n"))
    (row,) = read(folder)
    assert row.error is None
    assert row.path.read_bytes() == b"picture"
    assert row.image == search_pb2.Image(
        name="archives/press/images/é/1",
        journal="Völkische Zeitung",
        labels={"größe": search_pb2.Labels(values=["groß-é"])},
    )


def test_a_name_in_another_form_is_the_same_name_and_not_a_new_one():
    composed, taken_apart = "archives/press/images/ü", "archives/press/images/u\u0308"
    assert manifests.parse_name(taken_apart) == manifests.parse_name(composed)
    manifests.validate(search_pb2.Image(name=composed))
    with pytest.raises(errors.InvalidArgument, match="normal form C"):
        manifests.validate(search_pb2.Image(name=taken_apart))


def test_ids_that_look_the_same_are_the_same(folder):
    lines = ("image_id,file", "\u00e9,images/1.jpg", "e\u0301,images/2.jpg")
    write(folder, "\n".join(lines))
    first, second = read(folder)
    assert first.image_id == "é"
    assert second.error.reason == "DUPLICATE_ID"


def test_a_name_in_another_form_still_leads_nowhere_else(folder, tmp_path):
    (tmp_path / "geheim-é.jpg").write_bytes(b"secret")
    (folder / "images" / "ö.jpg").symlink_to(tmp_path / "geheim-é.jpg")
    names = ("images/o\u0308.jpg", "../geheim-e\u0301.jpg")
    write(folder, "image_id,file\n" + "".join(f"{i},{name}\n" for i, name in enumerate(names)))
    assert [row.error.reason for row in read(folder)] == ["SYMBOLIC_LINK", "OUTSIDE_FOLDER"]


def test_the_page_of_a_picture_is_an_image_id_or_a_name(folder):
    """It may stand further down in the manifest, or in another archive."""
    text = (
        "image_id,file,page_image,page_region\n"
        'a,images/1.jpg,p/1,"10,20,30,40"\n'
        "b,images/2.jpg,archives/scans/images/p/1,\n"
        "p/1,images/3.jpg,,\n"
        "c,images/3.jpg,c,\n"
        "d,images/3.jpg,p//1,\n"
        "e,images/3.jpg,archives/-/images/x,\n"
    )
    write(folder, text)
    rows = read(folder)
    assert [row.image.page_image for row in rows if row.image] == [
        "archives/press/images/p/1",
        "archives/scans/images/p/1",
        "",
    ]
    refused = [row.error for row in rows if row.error]
    assert [error.field for error in refused] == ["page_image"] * 3
    assert refused[0].reason == "OWN_PAGE"
