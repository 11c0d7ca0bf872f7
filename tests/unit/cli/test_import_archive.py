"""`halftone import` against a real gRPC server that keeps its records in memory."""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from halftone.core import errors
from tests.support.client.fake_search import FakeSearch, fails
from tests.support.held_port import hold_port
from tests.support.pictures.image_corpus import grey, pages
from tests.support.pictures.pdf_writer import fill, write_pdf
from tests.support.system import hearing_interrupts

NAME = "archives/a/images/one"


def make_archive(folder: Path, rows, *, header="image_id,file,journal,date") -> Path:
    folder.mkdir()
    for name in ("x.png", "y.png"):
        Image.new("L", (20, 20), 90).save(folder / name)
    (folder / "manifest.csv").write_text("\n".join([header, *rows]) + "\n")
    return folder


def test_says_what_became_of_it(run, fake, tmp_path):
    folder = make_archive(tmp_path / "My press!", ["x,x.png,J,1914", "y,y.png,J,"])
    result = run("import", folder)
    assert result.exit_code == 0, result.output
    assert "My-press: 2 created, 0 unchanged, 0 updated, 0 rejected." in result.stdout
    assert "The archive is called My-press: names of archives have letters" in result.stderr
    assert fake.records["archives/My-press/images/x"].date == "1914"
    assert "2 unchanged" in run("import", folder).stdout
    named = run("import", folder, "--archive", "My-press")
    assert (named.exit_code, named.stderr) == (0, "")
    assert not list(tmp_path.rglob("rejected.csv"))


def test_bad_rows_are_listed_and_do_not_end_it(run, fake, tmp_path):
    rows = [
        *("x,x.png,J,1914", "bad-date,x.png,J,1914-13", "gone,gone.png,J,", "x,y.png,J,"),
        *("out,../query.png,J,", "last,y.png,J,1916"),
    ]
    result = run("import", make_archive(tmp_path / "press", rows), "--archive", "p")
    assert result.exit_code == 1
    assert "2 created, 0 unchanged, 0 updated, 4 rejected" in result.stdout
    # Beside the manifest, wherever the command was run.
    path = tmp_path / "press" / "rejected.csv"
    assert (
        f"The 4 rejected rows are listed with the reason in {path}. Rows are numbered as a "
        "spreadsheet shows them."
    ) in result.stderr
    assert "row 3, bad-date: date: '1914-13' is not a date that can be used" in result.stderr
    with path.open(encoding="utf-8-sig") as file:
        listed = [(int(row["row"]), row["image_id"]) for row in csv.DictReader(file)]
    assert listed == [(3, "bad-date"), (4, "gone"), (5, "x"), (6, "out")]
    assert "archives/p/images/last" in fake.records


def test_what_the_service_rejects_is_listed_too(run, tmp_path):
    folder = make_archive(tmp_path / "press", ["x,x.png,J,", "z,z.png,J,"])
    (folder / "z.png").write_bytes(b"broken")
    result = run("import", folder, "--rejected", tmp_path / "list.csv")
    assert result.exit_code == 1
    assert (tmp_path / "list.csv").read_text(encoding="utf-8-sig").splitlines() == [
        "row,image_id,reason",
        "3,z,z.png: Not an image.",
    ]


def test_the_list_is_in_the_order_of_the_rows_whoever_rejects_them(run, fake, tmp_path):
    fake.delay_acks = 0.05
    rows = [
        *("a,x.png,J,", "b,z.png,J,", "c,gone.png,J,", "d,y.png,J,", "e,x.png,J,1914-13"),
        *("f,x.png,J,", "g,z.png,J,", "h,gone.png,J,"),
    ]
    folder = make_archive(tmp_path / "press", rows)
    (folder / "z.png").write_bytes(b"broken")
    assert run("import", folder).exit_code == 1
    with (folder / "rejected.csv").open(encoding="utf-8-sig") as file:
        listed = [row["image_id"] for row in csv.DictReader(file)]
    assert listed == ["b", "c", "e", "g", "h"]


def test_what_was_not_imported_of_a_file_is_printed(run, tmp_path):
    rows = ["x,x.png,J,1914", *(f"{number},pages.tif,J,1914" for number in range(7))]
    folder = make_archive(tmp_path / "press", rows)
    (folder / "pages.tif").write_bytes(pages())
    result = run("import", folder, "--tiff-pages", "first")
    assert result.exit_code == 0
    assert result.stderr.splitlines() == [
        *(f"row {number + 3}, {number}: Only the first page." for number in range(5)),
        "… and the like of 2 more.",
    ]


def test_every_page_of_a_file_becomes_a_record(run, fake, tmp_path):
    folder = make_archive(
        tmp_path / "press", ["x,x.png,J,1914", "p,pages.tif,J,1914", "q,q.pdf,J,"]
    )
    (folder / "pages.tif").write_bytes(pages())
    (folder / "q.pdf").write_bytes(write_pdf(fill(grey()), fill(grey())))
    result = run("import", folder)
    assert (result.exit_code, result.stderr) == (0, "")
    names = [name.partition("/press/images/")[2] for name in fake.records]
    assert list(filter(None, names)) == ["x", "p/p1", "p/p2", "p/p3", "q/p1", "q/p2"]
    assert run("import", folder).exit_code == 0
    assert len(fake.records) == len(names)


def test_the_first_rejected_rows_are_printed(run, tmp_path):
    rows = [f"{number},x.png,J,1914-13" for number in range(6)]
    said = run("import", make_archive(tmp_path / "press", rows)).stderr.splitlines()
    assert [line.partition(":")[0] for line in said[:5]] == [
        f"row {n}, {n - 2}" for n in range(2, 7)
    ]
    assert said[5] == "…"
    assert len(said) == 8


def test_a_row_is_where_a_spreadsheet_shows_it(run, tmp_path):
    rows = ["x,x.png,J,1914", '"y",y.png,"Two\nlines",', "", "z,x.png,J,1914-13"]
    folder = make_archive(tmp_path / "press", rows)
    assert "row 5, z: date: '1914-13'" in run("import", folder).stderr
    listed = (folder / "rejected.csv").read_text(encoding="utf-8-sig").splitlines()
    assert listed[1].startswith("5,z,")


def test_a_line_of_json_is_named_as_one(run, tmp_path):
    folder = make_archive(tmp_path / "press", [])
    (folder / "manifest.csv").unlink()
    lines = ['{"image_id": "x", "file": "x.png"}', '{"image_id": "y" "file": "y.png"}']
    (folder / "manifest.jsonl").write_text("\n".join(lines))
    first, last = run("import", folder).stderr.splitlines()
    assert first.startswith(
        'line 2: the line is not JSON: at “"file": "y.png"}”: a comma is missing'
    )
    assert last == f"The rejected row is listed with the reason in {folder / 'rejected.csv'}."


@pytest.mark.parametrize("place", ["below a file", "a full disk"])
def test_an_import_does_not_end_because_its_list_cannot_be_written(run, fake, tmp_path, place):
    path = Path("/dev/full") if place == "a full disk" else tmp_path / "press" / "x.png" / "list"
    if not (path.exists() or place == "below a file"):
        pytest.skip("this system has no /dev/full")
    rows = ["bad,x.png,J,1914-13", "x,x.png,J,1914", "worse,x.png,J,1914-14"]
    result = run("import", make_archive(tmp_path / "press", rows), "--rejected", path)
    assert result.exit_code == 1
    assert "press: 1 created, 0 unchanged, 0 updated, 2 rejected." in result.stdout
    first, second, last, dates = result.stderr.splitlines()
    assert dates.startswith("2 rows were rejected for the date: --loose-dates imports 2 without")
    assert first.startswith("row 2, bad: date: '1914-13'")
    assert second.startswith("row 4, worse: date: '1914-14'")
    assert last.startswith(f"The 2 rejected rows could not be listed in {path}: N")
    assert "The same command with --rejected FILE lists them elsewhere." in last
    assert "archives/press/images/x" in fake.records


def test_a_list_that_cannot_be_written_is_not_missed_where_no_row_is_rejected(run, tmp_path):
    path = tmp_path / "press" / "x.png" / "list"
    result = run("import", make_archive(tmp_path / "press", ["x,x.png,J,"]), "--rejected", path)
    assert (result.exit_code, result.stderr) == (0, "")


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_list_of_an_earlier_import_that_cannot_be_removed_is_named(run, tmp_path):
    folder = make_archive(tmp_path / "press", ["x,x.png,J,"])
    path = folder / "rejected.csv"
    path.write_text("row,image_id,reason\n")
    folder.chmod(0o500)
    try:
        result = run("import", folder, "--rejected", path)
    finally:
        folder.chmod(0o700)
    assert result.exit_code == 0
    assert f"{path} lists rows of an earlier import, and cannot be removed:" in result.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_cannot_be_written_gets_no_list(run, tmp_path):
    folder = make_archive(tmp_path / "press", ["x,x.png,J,1914-13"])
    folder.chmod(0o500)
    try:
        result = run("import", folder)
    finally:
        folder.chmod(0o700)
    assert result.exit_code == 1
    assert (tmp_path / "rejected.csv").exists()


def test_excel_leaves_nothing_that_is_in_the_way(run, fake, tmp_path):
    folder = make_archive(tmp_path / "press", [])
    text = "sep=;\nimage_id;file;journal;;\nx;x.png;Düsseldorfer Anzeiger;;\n;;;;\n;;;;\n"
    for encoding in ("utf-8-sig", "utf-16"):
        (folder / "manifest.csv").write_text(text, encoding=encoding)
        result = run("import", folder, "--archive", encoding)
        assert result.exit_code == 0, result.output
        assert f"{encoding}: 1 created, 0 unchanged, 0 updated, 0 rejected." in result.stdout
        record = fake.records[f"archives/{encoding}/images/x"]
        assert (record.journal, dict(record.labels)) == ("Düsseldorfer Anzeiger", {})


def test_while_no_service_answers_it_is_said_at_once(tmp_path):
    folder = make_archive(tmp_path / "press", ["x,x.png,J,1914"])
    with hold_port() as port:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "halftone.cli", "import", str(folder)),
                *("--server", f"localhost:{port}"),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with process:
            assert process.stderr is not None
            assert process.stdout is not None
            first = process.stderr.readline()
            with FakeSearch(port=port):
                said = process.stdout.read()
                process.wait(100)
            rest = process.stderr.read()
    nobody = rf"No service answers at localhost:{port} \(.*\)\."
    assert re.fullmatch(rf"{nobody} It is tried again until [0-9:]{{8}}\.\n", first)
    assert "The service answers." in rest
    assert said == "press: 1 created, 0 unchanged, 0 updated, 0 rejected.\n"


def test_an_old_list_does_not_stay(run, tmp_path):
    folder = make_archive(tmp_path / "press", ["x,x.png,J,1914-13"])
    assert run("import", folder).exit_code == 1
    (folder / "manifest.csv").write_text("image_id,file\nx,x.png\n")
    assert run("import", folder).exit_code == 0
    assert not (folder / "rejected.csv").exists()


@pytest.mark.parametrize("content", [b"\xff\xfe caf\xe9", b"row,name\n1,mine\n"])
def test_a_file_of_somebody_else_is_not_overwritten(run, fake, tmp_path, content):
    folder = make_archive(tmp_path / "press", ["new,x.png,J,1914", "bad,x.png,J,1914-13"])
    (folder / "rejected.csv").write_bytes(content)
    result = run("import", folder)
    assert result.exit_code == 2
    assert "--rejected" in result.stderr
    assert (folder / "rejected.csv").read_bytes() == content
    assert "archives/press/images/new" not in fake.records


def test_notes_of_a_person_stop_no_import_and_stay(run, fake, tmp_path):
    folder = make_archive(tmp_path / "press", ["x,x.png,J,1914", "y,y.png,J,22.08.1914"])
    notes = folder / "notes.csv"
    notes.write_text("box,remark\n1,mine\n")
    assert run("import", folder).exit_code == 1
    result = run("import", folder, "--loose-dates")
    assert result.exit_code == 0, result.output
    assert f"could not be listed in {notes}: the file exists and is no list of rows" in (
        result.stderr
    )
    assert "--notes FILE lists it elsewhere" in result.stderr
    assert notes.read_text() == "box,remark\n1,mine\n"
    assert "archives/press/images/y" in fake.records
    # A file that is named is refused before anything is sent.
    assert run("import", folder, "--notes", notes).exit_code == 2


@pytest.mark.parametrize("name", ["notes.csv", "rejected.csv"])
def test_an_empty_file_of_a_lists_name_stays(run, tmp_path, name):
    folder = make_archive(tmp_path / "press", ["x,x.png,J,1914"])
    (folder / name).touch()
    assert run("import", folder).exit_code == 0
    assert (folder / name).exists()


def test_old_notes_do_not_stay(run, tmp_path):
    folder = make_archive(tmp_path / "press", ["x,x.png,J,22.08.1914"])
    assert run("import", folder, "--loose-dates").exit_code == 0
    assert (folder / "notes.csv").exists()
    (folder / "manifest.csv").write_text("image_id,file\nx,x.png\n")
    assert run("import", folder).exit_code == 0
    assert not (folder / "notes.csv").exists()


def test_a_spreadsheet_finds_no_formulas_in_the_list(run, tmp_path):
    rows = ["=1+1,x.png,J,1914-13", "-1,x.png,J,1914-13", "@x,x.png,J,1914-13", "a=1,n.png,J,"]
    folder = make_archive(tmp_path / "press", rows)
    assert run("import", folder).exit_code == 1
    with (folder / "rejected.csv").open(encoding="utf-8-sig") as file:
        listed = [row["image_id"] for row in csv.DictReader(file)]
    assert listed == ["'=1+1", "'-1", "'@x", "a=1"]


@pytest.mark.parametrize(
    ("header", "options", "words"),
    [
        ("id,file", [], "image_id"),
        ("image_id,file", ["--encoding", "hex"], "hex"),
        ("image_id,file", ["--encoding", "klingon"], "klingon"),
        ("image_id,file", ["--archive", "a/b"], "cannot name an archive"),
    ],
)
def test_unusable_input_is_exit_code_2(run, fake, tmp_path, header, options, words):
    before = dict(fake.records)
    folder = make_archive(tmp_path / "press", ["x,x.png"], header=header)
    result = run("import", folder, *options)
    assert result.exit_code == 2, result.output
    assert words in result.stderr
    assert fake.records == before


def test_a_folder_without_a_manifest(run, tmp_path):
    result = run("import", tmp_path)
    assert result.exit_code == 2
    assert "manifest.csv" in result.stderr


@pytest.mark.parametrize("name", ["found.PNG", "found"])
def test_a_picture_is_no_manifest(run, fake, tmp_path, name):
    Image.new("L", (20, 20), 90).save(tmp_path / name, format="png")
    result = run("import", tmp_path / name)
    assert result.exit_code == 2
    assert f"{name} is no manifest. What is imported is a folder of" in result.stderr
    (tmp_path / "manifest.csv").write_bytes(b"image_id,file\n\x81,x.png\n")
    assert "Name its encoding" in run("import", tmp_path / "manifest.csv").stderr
    assert "Name its encoding" in run("import", tmp_path).stderr
    assert "klingon" in run("import", tmp_path / name, "--encoding", "klingon").stderr


@pytest.mark.parametrize("rows", [[], ["", ""]])
def test_a_manifest_without_rows_is_told(run, tmp_path, rows):
    result = run("import", make_archive(tmp_path / "press", rows))
    assert result.exit_code == 0
    assert result.stdout == "press: nothing was imported, the manifest has no rows.\n"


def test_a_full_disk_is_said(run, fake, tmp_path):
    fake.import_faults = {1: fails(errors.StorageFull("The disk is full."))}
    result = run("import", make_archive(tmp_path / "press", ["x,x.png,J,"]))
    assert result.exit_code == 1
    assert "The disk is full." in result.stderr


def test_ctrl_c_says_how_to_go_on(fake, tmp_path):
    fake.delay_acks = 0.02
    rows = [f"{number},x.png,J," for number in range(2000)]
    folder = make_archive(tmp_path / "press", rows)
    with hearing_interrupts():
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "halftone.cli", "import", str(folder)),
                *("--server", fake.address),
            ],
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            # Its own modules are found from another folder, too.
            env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        )
    with process:
        while len(fake.records) < 20:
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        said = process.stderr.read()
    assert process.returncode == 130
    assert "the same command goes on from there" in said
    assert "Traceback" not in said


def test_dates_are_read_loosely_where_that_is_asked_for(run, fake, tmp_path):
    rows = ["x,x.png,J,22.08.1914", "y,y.png,J,some day", "z,x.png,J,1914"]
    folder = make_archive(tmp_path / "press", rows)
    refused = run("import", folder)
    assert refused.exit_code == 1
    assert (
        "2 rows were rejected for the date: --loose-dates reads 1 of them and imports 1 without a "
        "date, and keeps what was written."
    ) in refused.stderr
    result = run("import", folder, "--loose-dates")
    assert result.exit_code == 0, result.output
    assert "1 date was read as people write them." in result.stderr
    listed = f"The 2 rows that were kept with a note are listed with it in {folder / 'notes.csv'}."
    assert listed in result.stderr
    with (folder / "notes.csv").open(encoding="utf-8-sig") as file:
        listed = {row["image_id"]: row["note"] for row in csv.DictReader(file)}
    assert listed["x"] == "date: '22.08.1914' was read as 1914-08-22."
    assert "The picture is undated." in listed["y"]
    assert fake.records["archives/press/images/x"].date == "1914-08-22"
    written = fake.records["archives/press/images/y"].labels["date_as_written"].values
    assert list(written) == ["some day"]


def test_columns_are_mapped_by_options_and_a_file(run, fake, tmp_path):
    header = "Signatur,Datei,Publication,Date issued"
    folder = make_archive(tmp_path / "press", ["x,x.png,J,1914"], header=header)
    file = tmp_path / "map.toml"
    file.write_text('image_id = "Signatur"\nfile = "Datei"\n')
    maps = ["--map-file", file, "--map", "journal=Publication,date=Date issued"]
    assert run("import", folder, *maps).exit_code == 0
    record = fake.records["archives/press/images/x"]
    assert (record.journal, record.date) == ("J", "1914")
    assert "If one of them is it under another name" in run("import", folder).stderr


def test_lists_open_in_excel(run, tmp_path):
    """They begin with a mark and have Windows' line ends, and no cell is a formula."""
    folder = make_archive(tmp_path / "press", ['"=HYPERLINK(1)ü",nowhere.png,J,'])
    run("import", folder)
    content = (folder / "rejected.csv").read_bytes()
    assert content.startswith(b"\xef\xbb\xbfrow,image_id,reason\r\n2,'=HYPERLINK(1)\xc3\xbc,")
    assert content.endswith(b"\r\n")
