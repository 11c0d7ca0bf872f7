"""The command line against a real gRPC server that keeps its records in memory."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from halftone import errors, running
from halftone.cli import main
from halftone.cli_options import explain
from halftone.v1 import search_pb2
from tests.fake_search import FakeSearch, fails

NAME = "archives/a/images/one"


@pytest.fixture
def fake():
    with FakeSearch() as server:
        server.add(NAME, journal="The Sphere", date="1914-08", page="3", caption="A ship")
        server.add(NAME + "2", journal="L'Illustration", date="1915", language="fr")
        yield server


@pytest.fixture
def run(fake, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HALFTONE_SEARCH", raising=False)

    def invoke(*arguments, server=fake.address, **options):
        words = [*arguments, *(["--server", server] if server else [])]
        return CliRunner().invoke(main, [str(word) for word in words], **options)

    return invoke


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "query.png"
    Image.new("L", (200, 100), 128).save(path)
    return path


def make_archive(folder: Path, rows, *, header="image_id,file,journal,date") -> Path:
    folder.mkdir()
    for name in ("x.png", "y.png"):
        Image.new("L", (20, 20), 90).save(folder / name)
    (folder / "manifest.csv").write_text("\n".join([header, *rows]) + "\n")
    return folder


class TestSearch:
    def test_prints_a_table(self, run, picture):
        result = run("search", picture)
        assert result.exit_code == 0
        lines = result.stdout.splitlines()
        assert lines[0].split()[:4] == ["rank", "probability", "relation", "journal"]
        assert lines[1].split() == [
            "1",
            "0.987",
            "crop",
            "of",
            "The",
            "Sphere",
            "1914-08",
            "3",
            "A",
            "ship",
            NAME,
        ]
        assert "mirrored" in lines[2]
        assert "1 image was not compared for want of time." in result.stderr

    def test_prints_json(self, run, picture):
        found = json.loads(run("search", picture, "--json").stdout)
        assert [hit["rank"] for hit in found["hits"]] == [1, 2]
        assert found["hits"][0]["image"]["journal"] == "The Sphere"
        assert found["model_version"] == "fake/1"
        assert (found["verified_count"], found["out_of_time_count"]) == (1, 1)
        first, second = found["hits"]
        assert (first["probability"], first["relation"]) == (0.987, "crop_of")
        assert first["verification"]["state"] == "overlapping"
        (overlap,) = first["verification"]["overlaps"]
        assert overlap["query_polygon"][1] == [100, 0]
        assert overlap["query_share"] == 0.995
        assert second["verification"] == {"state": "out_of_time", "overlaps": []}

    def test_explains(self, run, picture):
        said = run("search", picture, "--explain").stdout
        assert "similarity 0.900, PDQ 40 of 256 bits apart, words 0.250" in said
        shares = "100% of the query, 25% of the image"
        assert f"42 inliers; {shares}; scale 0.50; turned -1.5°" in said
        assert "not compared: the time was over" in said

    def test_filters_and_options_reach_the_service(self, run, fake, picture):
        result = run(
            *("search", picture, "--journal", "A", "--journal", "B", "--from", "1914"),
            *("--to", "1918", "--archive", "a", "--language", "de", "--caption", "ship"),
            *("--exclude-journal", "C", "--label", "kind=photo", "--limit", "7"),
            *("--min-similarity", "0.5", "--crop", "1,2,30,40", "--no-mirrored", "--no-rotated"),
            *("--min-probability", "0.75", "--verify-count", "9"),
        )
        assert result.exit_code == 0, result.output
        sent = next(r for r in reversed(fake.requests) if hasattr(r, "skip_mirrored"))
        assert list(sent.filter.journals) == ["A", "B"]
        assert (sent.filter.date.start, sent.filter.date.end) == ("1914", "1918")
        assert list(sent.filter.archives) == ["a"]
        assert list(sent.filter.exclude.journals) == ["C"]
        assert list(sent.filter.labels["kind"].values) == ["photo"]
        assert (sent.limit, sent.verify_count, sent.min_probability) == (7, 9, 0.75)
        assert sent.skip_mirrored
        assert sent.skip_rotated
        assert (sent.region.x, sent.region.y, sent.region.width, sent.region.height) == (
            *(1, 2),
            *(30, 40),
        )

    def test_a_crop_in_percent(self, run, fake, picture):
        run("search", picture, "--crop", "pct:25,50,50,50")
        region = fake.requests[-1].region
        assert (region.x, region.y, region.width, region.height) == (50, 50, 100, 50)
        run("search", NAME, "--crop", "pct:0,0,50,50")
        region = fake.requests[-1].region
        assert (region.width, region.height) == (50, 40)

    @pytest.mark.parametrize("crop", ["1,2,3", "a,b,c,d", "1.5,0,3,3", "pct:1"])
    def test_a_crop_that_is_none(self, run, picture, crop):
        result = run("search", picture, "--crop", crop)
        assert result.exit_code == 2
        assert "--crop" in result.stderr

    def test_by_name_or_by_id_in_an_archive(self, run, fake):
        assert run("search", NAME).exit_code == 0
        assert fake.requests[-1].image == NAME
        assert run("search", "one", "--archive", "a").exit_code == 0
        assert fake.requests[-1].image == NAME

    def test_what_is_neither_a_file_nor_a_name(self, run):
        result = run("search", "gone.jpg")
        assert result.exit_code == 2
        assert "gone.jpg is neither a file nor" in result.stderr

    @pytest.mark.parametrize("command", [("compare",), ("judge", "same")])
    def test_a_file_where_only_a_name_is_taken(self, run, picture, command):
        result = run(command[0], NAME, picture, *command[1:])
        assert result.exit_code == 2
        # The box around it breaks the lines.
        said = " ".join(result.stderr.replace("│", " ").split())
        assert "is a file; this command takes names of images of the archive" in said
        assert "neither" not in said

    def test_an_id_needs_its_archive(self, run):
        result = run("compare", NAME, "two")
        assert result.exit_code == 2
        assert "'two' is not an image's name" in result.stderr

    def test_the_services_refusal_is_one_sentence(self, run, fake, picture):
        fake.faults["SearchImages"].append(fails(errors.ImageRejected("No image there.")))
        result = run("search", picture)
        assert result.exit_code == 2
        assert result.stderr == "Error: No image there.\n"

    def test_debug_shows_the_traceback(self, fake, picture):
        result = subprocess.run(
            [
                *(sys.executable, "-m", "halftone.cli", "--debug", "show"),
                *("archives/a/images/none", "--server", fake.address),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode != 0
        assert "Traceback" in result.stderr
        assert "NotFound" in result.stderr

    def test_what_stands_in_a_record_is_printed_as_it_stands(self, run, fake, picture):
        caption, journal = "[bold]A [/ship] :ship:", "[red]Sphere"
        fake.records.clear()
        fake.add(NAME + "/[1914]", journal=journal, caption=caption)
        for command in (["search", picture], ["list"], ["show", NAME + "/[1914]"]):
            result = run(*command)
            assert result.exit_code == 0, result.output
            for text in (caption, journal, NAME + "/[1914]"):
                assert text in result.stdout
        assert journal in run("facets").stdout
        sheet = Path("[red]sheet.html")
        assert f"Wrote {sheet}." in run("search", picture, "--html", sheet).stderr

    def test_nothing_found(self, run, fake, picture):
        fake.records.clear()
        assert run("search", picture).stdout == "Nothing found.\n"

    def test_html(self, run, fake, picture, tmp_path):
        thumbnail = tmp_path / "t.jpg"
        Image.new("L", (32, 32)).save(thumbnail)
        result = run("search", picture, "--html", "sheet.html", "--crop", "0,0,50,50")
        assert result.exit_code == 0, result.output
        page = (tmp_path / "sheet.html").read_text()
        assert page.count("data:image/jpeg;base64,") == 3
        assert "L&#39;Illustration" in page

    @pytest.mark.parametrize("words", [(), ("--json",)])
    def test_hits_are_printed_whatever_becomes_of_the_sheet(self, run, picture, words):
        result = run("search", picture, "--html", "none/sheet.html", *words)
        assert result.exit_code == 1
        assert NAME in result.stdout
        last = result.stderr.splitlines()[-1]
        assert last == "Error: none/sheet.html: No such file or directory."


class TestCompare:
    def test_prints_what_they_share(self, run):
        said = run("compare", NAME, NAME + "2").stdout
        assert "0.987" in said
        assert "42 inliers" in said
        found = json.loads(run("compare", "one", "one2", "--archive", "a", "--json").stdout)
        assert found["relation"] == "crop_of"
        assert found["image"]["name"] == NAME + "2"
        assert found["query"]["name"] == NAME

    def test_names_both_and_says_where_they_agree(self, run):
        lines = [
            " ".join(line.split()) for line in run("compare", NAME, NAME + "2").stdout.splitlines()
        ]
        assert lines == [
            "first The Sphere, 1914-08, page 3",
            "A ship",
            NAME,
            "second L'Illustration, 1915",
            NAME + "2",
            "probability 0.987",
            "relation crop of: the first is a part of the second",
            "shared 42 inliers, details that lie alike in both",
            "in first 100%, the part 0,0,100,80 (x,y,w,h) of 100 x 80 pixels",
            "in second 25%, the part 0,0,50,40 (x,y,w,h) of 100 x 80 pixels",
            "lies turned -1.5°, 0.50 times as large in the second",
            "likeness similarity 0.900, PDQ 40 of 256 bits apart, words 0.250",
        ]
        cropped = run("compare", NAME, NAME + "2", "--crop", "10,20,90,60").stdout
        assert "100% of the crop, the part 10,20,100,80 (x,y,w,h)" in cropped

    def test_a_page_with_a_light_table(self, run, fake, tmp_path):
        result = run("compare", NAME, NAME + "2", "--html", "pair.html")
        assert result.exit_code == 0, result.output
        assert "Wrote pair.html." in result.stderr
        page = (tmp_path / "pair.html").read_text()
        assert 'id="light-table"' in page
        assert "42 matching details" in page
        assert run("compare", NAME, NAME + "2", "--html", "p", "--crop", "0,0,9,9").exit_code == 2

    def test_no_page_of_two_that_share_nothing(self, run, fake, tmp_path):
        fake.shares = False
        result = run("compare", NAME, NAME + "2", "--html", "pair.html")
        assert result.exit_code == 1
        assert NAME + "2" in result.stdout
        assert "no part in common" in result.stderr
        assert not (tmp_path / "pair.html").exists()

    def test_draws_them(self, run, fake, tmp_path):
        for name, crop in (("o.jpg", []), ("o.png", ["--crop", "pct:0,0,50,100"])):
            result = run("compare", NAME, NAME + "2", "--out", tmp_path / name, *crop)
            assert result.exit_code == 0, result.output
            with Image.open(tmp_path / name) as drawn:
                assert drawn.height > 300
        sent = [each.query_region for each in fake.requests if hasattr(each, "query_region")]
        assert [(each.width, each.height) for each in sent] == [(0, 0), (50, 80)]

    def test_a_picture_of_another_kind_is_refused(self, run, tmp_path):
        result = run("compare", NAME, NAME + "2", "--out", tmp_path / "o.txt")
        assert result.exit_code == 2
        assert "--out" in result.stderr


class TestWhomToTalkTo:
    def test_nobody_there_says_how_to_start_one(self, run, picture):
        result = run("search", picture, server="127.0.0.1:1")
        assert result.exit_code == 1
        assert "`halftone up`" in result.stderr
        assert len(result.stderr.splitlines()) == 1

    def test_the_environment_names_it(self, run, fake):
        result = run("show", NAME, server=None, env={"HALFTONE_SEARCH": fake.address})
        assert result.exit_code == 0

    def test_the_running_stack_of_the_data_directory_is_found(self, run, fake, tmp_path):
        addresses = running.Addresses(
            search=fake.address,
            embedder=fake.address,
            search_metrics="",
            embedder_metrics="",
            pid=os.getpid(),
        )
        (tmp_path / "data").mkdir()
        with running.announced(tmp_path / "data", addresses):
            assert run("show", NAME, server=None).exit_code == 0
            assert run("show", NAME, "--data", tmp_path / "data", server=None).exit_code == 0
        assert running.find(tmp_path / "data") is None

    def test_a_data_directory_without_a_stack_is_no_other_server(self, run, fake, tmp_path):
        count = len(fake.requests)
        asked = ("delete", "--everything", "--yes")
        result = run(*asked, "--data", tmp_path / "other", server=None)
        assert result.exit_code == 1
        assert f"No stack runs from {tmp_path / 'other'}" in result.stderr
        elsewhere = {"HALFTONE_SEARCH": fake.address}
        result = run(*asked, "--data", tmp_path / "other", server=None, env=elsewhere)
        assert result.exit_code == 1
        result = run(*asked, server=None, env={"HALFTONE_DATA": str(tmp_path / "other")})
        assert "No stack runs from" in result.stderr
        assert len(fake.requests) == count
        assert run("show", NAME, "--data", tmp_path / "other").exit_code == 0

    def test_a_stack_that_is_gone_is_not_found(self, tmp_path):
        gone = subprocess.Popen([sys.executable, "-c", ""])
        gone.wait()
        addresses = {"search": "x", "embedder": "x", "search_metrics": "", "embedder_metrics": ""}
        running.write_json(tmp_path / running.FILE, {**addresses, "pid": gone.pid})
        assert running.find(tmp_path) is None

    def test_a_wrong_setting_is_one_sentence(self, run):
        result = run("up", server=None, env={"HALFTONE_SEARCH_PORT": "many"})
        assert result.exit_code == 1
        assert "port" in result.stderr
        assert "Traceback" not in result.output


class TestImport:
    def test_says_what_became_of_it(self, run, fake, tmp_path):
        folder = make_archive(tmp_path / "My press!", ["x,x.png,J,1914", "y,y.png,J,"])
        result = run("import", folder)
        assert result.exit_code == 0, result.output
        assert "My-press: 2 created, 0 unchanged, 0 updated, 0 rejected." in result.stdout
        assert fake.records["archives/My-press/images/x"].date == "1914"
        assert "2 unchanged" in run("import", folder).stdout
        assert not (tmp_path / "rejected.csv").exists()

    def test_bad_rows_are_listed_and_do_not_end_it(self, run, fake, tmp_path):
        rows = [
            *("x,x.png,J,1914", "bad-date,x.png,J,1914-13", "gone,gone.png,J,", "x,y.png,J,"),
            *("out,../query.png,J,", "last,y.png,J,1916"),
        ]
        result = run("import", make_archive(tmp_path / "press", rows), "--archive", "p")
        assert result.exit_code == 1
        assert "2 created, 0 unchanged, 0 updated, 4 rejected" in result.stdout
        with (tmp_path / "rejected.csv").open() as file:
            listed = [(int(row["row"]), row["image_id"]) for row in csv.DictReader(file)]
        assert listed == [(3, "bad-date"), (4, "gone"), (5, "x"), (6, "out")]
        assert "archives/p/images/last" in fake.records

    def test_what_the_service_rejects_is_listed_too(self, run, tmp_path):
        folder = make_archive(tmp_path / "press", ["x,x.png,J,", "z,z.png,J,"])
        (folder / "z.png").write_bytes(b"broken")
        result = run("import", folder, "--rejected", tmp_path / "list.csv")
        assert result.exit_code == 1
        assert (tmp_path / "list.csv").read_text().splitlines() == [
            "row,image_id,reason",
            "3,z,Not an image.",
        ]

    def test_the_list_is_in_the_order_of_the_rows_whoever_rejects_them(self, run, fake, tmp_path):
        fake.delay_acks = 0.05
        rows = [
            *("a,x.png,J,", "b,z.png,J,", "c,gone.png,J,", "d,y.png,J,", "e,x.png,J,1914-13"),
            *("f,x.png,J,", "g,z.png,J,", "h,gone.png,J,"),
        ]
        folder = make_archive(tmp_path / "press", rows)
        (folder / "z.png").write_bytes(b"broken")
        assert run("import", folder).exit_code == 1
        with (tmp_path / "rejected.csv").open() as file:
            listed = [row["image_id"] for row in csv.DictReader(file)]
        assert listed == ["b", "c", "e", "g", "h"]

    def test_an_old_list_does_not_stay(self, run, tmp_path):
        folder = make_archive(tmp_path / "press", ["x,x.png,J,1914-13"])
        assert run("import", folder).exit_code == 1
        (folder / "manifest.csv").write_text("image_id,file\nx,x.png\n")
        assert run("import", folder).exit_code == 0
        assert not (tmp_path / "rejected.csv").exists()

    @pytest.mark.parametrize("content", [b"\xff\xfe caf\xe9", b"row,name\n1,mine\n"])
    def test_a_file_of_somebody_else_is_not_overwritten(self, run, fake, tmp_path, content):
        (tmp_path / "rejected.csv").write_bytes(content)
        folder = make_archive(tmp_path / "press", ["new,x.png,J,1914", "bad,x.png,J,1914-13"])
        result = run("import", folder)
        assert result.exit_code == 2
        assert "--rejected" in result.stderr
        assert (tmp_path / "rejected.csv").read_bytes() == content
        assert "archives/press/images/new" not in fake.records

    def test_a_spreadsheet_finds_no_formulas_in_the_list(self, run, tmp_path):
        rows = ["=1+1,x.png,J,1914-13", "-1,x.png,J,1914-13", "@x,x.png,J,1914-13", "a=1,n.png,J,"]
        assert run("import", make_archive(tmp_path / "press", rows)).exit_code == 1
        with (tmp_path / "rejected.csv").open() as file:
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
    def test_unusable_input_is_exit_code_2(self, run, fake, tmp_path, header, options, words):
        before = dict(fake.records)
        folder = make_archive(tmp_path / "press", ["x,x.png"], header=header)
        result = run("import", folder, *options)
        assert result.exit_code == 2, result.output
        assert words in result.stderr
        assert fake.records == before

    def test_a_folder_without_a_manifest(self, run, tmp_path):
        result = run("import", tmp_path)
        assert result.exit_code == 2
        assert "manifest.csv" in result.stderr

    def test_a_full_disk_is_said(self, run, fake, tmp_path):
        fake.import_faults = {1: fails(errors.StorageFull("The disk is full."))}
        result = run("import", make_archive(tmp_path / "press", ["x,x.png,J,"]))
        assert result.exit_code == 1
        assert "The disk is full." in result.stderr

    def test_ctrl_c_says_how_to_go_on(self, fake, tmp_path):
        fake.delay_acks = 0.02
        rows = [f"{number},x.png,J," for number in range(2000)]
        folder = make_archive(tmp_path / "press", rows)
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


class TestRecords:
    def test_show(self, run):
        assert "The Sphere" in run("show", NAME).stdout
        assert json.loads(run("show", "one", "--archive", "a", "--json").stdout)["name"] == NAME

    def test_show_what_is_not_there(self, run):
        result = run("show", "archives/a/images/none")
        assert result.exit_code == 1
        assert result.stderr == "Error: There is no image archives/a/images/none.\n"

    def test_list_and_facets(self, run):
        assert NAME in run("list").stdout
        assert len(json.loads(run("list", "--limit", "1", "--json").stdout)) == 1
        assert "The Sphere" in run("facets").stdout
        assert json.loads(run("facets", "--language", "fr", "--json").stdout)["total"] == 1

    def test_a_journal_that_is_misspelt(self, run):
        result = run("list", "--journal", "the spere")
        assert result.stdout == "Nothing found.\n"
        said = "No image has the journal 'the spere'. Did you mean 'The Sphere'?\n"
        assert result.stderr == said
        assert run("list", "--journal", "Qqqq").stderr == "No image has the journal 'Qqqq'.\n"
        assert run("list", "--archive", "b").stderr == "There is no image in 'b'.\n"
        assert run("list", "--journal", "The Sphere", "--from", "1800", "--to", "1801").stderr == ""

    def test_a_list_says_that_there_is_more(self, run):
        result = run("list", "--limit", "1")
        assert NAME + "2" not in result.stdout
        assert "There are more than these 1: --limit shows more" in result.stderr
        assert run("list", "--limit", "2").stderr == ""

    def test_labels_that_nothing_has(self, run, fake):
        fake.add(NAME + "3", labels={"kind": search_pb2.Labels(values=["photo"])})
        assert run("list", "--label", "kind=photo").stderr == ""
        said = "No image has the label 'kind=foto'. Did you mean 'kind=photo'?\n"
        assert run("search", NAME, "--label", "kind=foto").stderr == said
        assert run("list", "--label", "q=z").stderr == "No image has the label 'q=z'.\n"
        either = run("list", "--label", "kind=foto", "--label", "kind=photo")
        assert NAME + "3" in either.stdout
        assert either.stderr == said

    def test_unknown_values_beside_known_ones(self, run):
        near = "No image has the journal 'Sphere'. Did you mean 'The Sphere'?\n"
        result = run("list", "--journal", "Sphere", "--journal", "The Sphere")
        assert NAME in result.stdout
        assert result.stderr == near
        for command in (("list",), ("facets",), ("delete", "--dry-run")):
            assert run(*command, "--exclude-journal", "Sphere").stderr == near
            assert run(*command, "--journal", "Sphere").stderr == near
            assert run(*command, "--exclude-journal", "The Sphere").stderr == ""

    def test_a_part_of_a_journals_name_is_near(self, run):
        said = "No image has the journal 'ill'. Did you mean \"L'Illustration\"?\n"
        assert run("facets", "--journal", "ill").stderr == said

    def test_delete_asks_and_counts(self, run, fake):
        assert run("delete").exit_code == 2
        assert run("delete", "--journal", "The Sphere", input="n\n").exit_code == 1
        assert len(fake.records) == 2
        assert "1 image would be deleted" in run("delete", NAME, "--dry-run").stdout
        assert run("delete", "--journal", "The Sphere", "--yes").exit_code == 0
        assert list(fake.records) == [NAME + "2"]
        assert run("delete", "--everything", "--yes").exit_code == 0
        assert not fake.records

    def test_thumbnail(self, run, tmp_path):
        assert run("thumbnail", NAME, "-o", tmp_path / "t.jpg").exit_code == 0
        assert (tmp_path / "t.jpg").read_bytes().startswith(b"\xff\xd8")

    def test_a_file_that_cannot_be_written(self, run, tmp_path):
        result = run("thumbnail", NAME, "-o", tmp_path / "no" / "t.jpg")
        assert result.exit_code == 1
        assert "No such file" in result.stderr


@pytest.mark.parametrize("command", ["up", "demo"])
def test_a_missing_package_is_one_sentence(tmp_path, command):
    code = (
        "import sys\nsys.modules['grpc_health'] = None\n"
        f"from halftone.cli import main\nmain([{command!r}])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )
    assert done.returncode == 1
    assert f"`halftone {command}` needs the package grpc_health" in done.stderr
    assert "pip install 'halftone[all]'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [("list",), ("list", "--json"), ("facets",), ("show", NAME)])
def test_a_reader_that_has_seen_enough_is_no_error(fake, words):
    """As `halftone list | head -1`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "halftone.cli", *words, "--server", fake.address],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1


def test_help_imports_nothing_heavy(tmp_path):
    code = (
        "import sys\nfrom halftone.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "bad = {'torch', 'qdrant_client', 'skimage', 'structlog'} & set(sys.modules)\n"
        "sys.exit(str(bad) if bad else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_the_reason_of_a_failed_start_is_not_taken_for_an_unreachable_service():
    """A service's last lines may quote a refused connection; the reason beside it must be seen."""
    failed = errors.Unavailable("search ended: written by a newer release\n  failed to connect to")
    assert explain(failed) == failed.message
    assert "halftone up" in explain(errors.Unavailable("failed to connect to all addresses; …"))


class TestExplain:
    @pytest.mark.parametrize(
        ("error", "said"),
        [
            (
                errors.Unavailable(
                    "failed to connect to all addresses; last error: UNKNOWN: "
                    "ipv4:127.0.0.1:7102: Failed to connect to remote host: Connection refused"
                ),
                "No service answers at 127.0.0.1:7102.",
            ),
            (errors.Unavailable("errors resolving nonsense: [field:…]"), "There is no host of"),
            (errors.Internal("UNIMPLEMENTED: Method not found!"), "is another service"),
            (errors.Internal("Something.", request_id="abc"), "Something. (request abc)"),
        ],
    )
    def test_what_grpc_says_becomes_a_sentence(self, error, said):
        assert said in explain(error)

    @pytest.mark.parametrize(
        ("field", "said"),
        [
            ("filter.date.start", "--from: is wrong."),
            ("filter.caption_text", "--caption: is wrong."),
            ("filter.labels.kind", "--label kind: is wrong."),
            ("min_probability", "--min-probability: is wrong."),
            ("spec.time_limit_minutes", "--minutes: is wrong."),
            ("spec.options.pooled_stages[1]", "--option pooled_stages: is wrong."),
            ("b", "Is wrong."),
            ("something.else", "something.else: is wrong."),
        ],
    )
    def test_a_field_of_the_service_becomes_what_was_typed(self, field, said):
        assert explain(errors.InvalidArgument(f"{field}: is wrong.", field=field)) == said

    def test_only_a_field_at_the_beginning_is_one(self):
        other = "The region x=0: it is empty."
        assert explain(errors.InvalidArgument(other, field="region")) == other
