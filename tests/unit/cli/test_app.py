"""The command line against a real gRPC server that keeps its records in memory."""

from __future__ import annotations

import html
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from PIL import Image

from halftone.cli.app import main
from halftone.core import errors
from halftone.v1 import search_pb2
from tests.support.client.fake_search import fails, verdict
from tests.support.pictures.image_corpus import pages
from tests.support.terminal import Terminal

NAME = "archives/a/images/one"


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "query.png"
    Image.new("L", (200, 100), 128).save(path)
    return path


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
        assert "mirrored" not in result.stdout
        assert "1 image was not compared for want of time." in result.stderr
        assert "--verify-count" not in result.stderr

    def test_lists_what_is_likely_and_counts_the_rest(self, run, fake, picture):
        fake.likely = 0.6
        fake.add(NAME + "3", journal="Die Woche")
        lines = run("search", picture).stdout.splitlines()
        assert [line.split()[0] for line in lines] == ["rank", "1", "2"]
        assert lines[2] == "2 more are unlikely, at most 0.400 (not compared): --all lists them."
        for words in (("--all",), ("--min-probability", "0.1")):
            lines = run("search", picture, *words).stdout.splitlines()
            assert [line.split()[0] for line in lines] == ["rank", "1", "2", "3"]
        explained = run("search", picture, "--explain").stdout
        assert NAME + "2" not in explained
        assert len(json.loads(run("search", picture, "--json").stdout)["hits"]) == 3

    def test_where_nothing_is_likely_nothing_is_listed(self, run, fake, picture):
        fake.likely = 0.3
        said = "Nothing likely was found. The best of 2 candidates has a probability of 0.300 (crop"
        assert run("search", picture).stdout.startswith(said)
        assert "rank" in run("search", picture, "--all").stdout
        fake.records.popitem()
        assert "The only candidate has a probability" in run("search", picture).stdout

    def test_what_an_archivist_said_to_be_the_same_is_likely(self, run, fake):
        fake.likely = 0.3
        fake.verdicts = [verdict(NAME, NAME + "2", decision="SAME")]
        assert NAME + "2" in run("search", NAME).stdout
        fake.verdicts = [verdict(NAME, NAME + "2", decision="SAME", overruled=True)]
        assert NAME + "2" not in run("search", NAME).stdout

    def test_says_what_a_probability_without_a_comparison_means(self, run, fake, picture):
        said = "not compared: there were better candidates (--verify-count), or too few details"
        assert said in run("search", picture).stdout
        fake.likely = 0.6
        assert said not in run("search", picture).stdout

    def test_says_that_there_are_more_likely_ones(self, run, fake, picture):
        assert "--limit shows more" in run("search", picture, "--limit", "1").stderr
        fake.likely = 0.3
        assert "--limit shows more" not in run("search", picture, "--limit", "1").stderr

    def test_only_an_overlap_shows_that_a_hit_is_mirrored(self, run, picture):
        """The second hit was not compared: its descriptor alone was more alike mirrored."""
        _, second = json.loads(run("search", picture, "--json").stdout)["hits"]
        assert second["mirrored"]
        assert "mirrored" not in run("search", picture, "--explain").stdout
        run("search", picture, "--html", "sheet.html")
        assert "mirrored" not in Path("sheet.html").read_text()

    def test_says_that_a_hit_is_a_negative(self, run, fake, picture):
        assert "negative" not in run("search", picture, "--explain").stdout
        fake.negative = True
        first, second = json.loads(run("search", picture, "--json").stdout)["hits"]
        assert (first["negative"], second["negative"]) == (True, False)
        assert first["verification"]["overlaps"][0]["negative"]
        assert run("search", picture, "--explain").stdout.count("negative") == 2
        run("search", picture, "--html", "sheet.html")
        assert "negative" in Path("sheet.html").read_text()

    def test_a_sheet_dims_what_is_unlikely(self, run, fake, picture):
        run("search", picture, "--html", "sheet.html")
        assert Path("sheet.html").read_text().count('<figure class="faint">') == 0
        assert "faded" not in Path("sheet.html").read_text()
        fake.likely = 0.6
        run("search", picture, "--html", "sheet.html")
        assert Path("sheet.html").read_text().count('<figure class="faint">') == 1
        assert "faded ones are probably other pictures" in Path("sheet.html").read_text()

    def test_says_what_an_archivist_said_of_a_hit(self, run, fake, picture):
        fake.verdicts = [verdict(NAME, NAME + "2", note="A <crack>", overruled=True)]
        lines = run("search", NAME, "--explain").stdout.splitlines()
        assert lines[0].split()[:4] == ["rank", "probability", "relation", "verdict"]
        assert "different" in lines[1]
        assert "(overruled)" in "".join(lines[1:3])
        said = "an archivist says: different (overruled), by Eva on 1914-08-01 (verdicts/7)"
        assert f"   {said}: A <crack>" in lines
        (hit,) = json.loads(run("search", NAME, "--json").stdout)["hits"]
        assert hit["verdict"]["name"] == "verdicts/7"
        assert hit["verdict"]["overruled"]
        run("search", NAME, "--html", "sheet.html")
        tag = '<span class="tag judged">An archivist says: different (overruled)</span>'
        assert tag in Path("sheet.html").read_text()
        # A picture has no name, so nobody can have judged it.
        assert "verdict" not in run("search", picture, "--explain").stdout
        assert json.loads(run("search", picture, "--json").stdout)["hits"][0]["verdict"] is None

    def test_says_that_verdicts_could_not_be_read(self, run, fake):
        assert "archivists" not in run("search", NAME).stderr
        fake.verdicts_unavailable = True
        result = run("search", NAME, "--html", "sheet.html")
        assert "What archivists said of these pairs could not be read." in result.stderr
        assert "without archivists&#39; verdicts" in Path("sheet.html").read_text()
        assert json.loads(run("search", NAME, "--json").stdout)["verdicts_unavailable"]

    def test_where_nothing_is_likely_it_says_what_finds_more(self, run, fake, picture):
        fake.likely = 0.3
        result = run("search", picture)
        assert "--crop; --verify-count 200 compares more" in result.stderr.replace("\n", " ")
        assert "--verify-count" not in run("search", picture, "--verify-count", "9").stderr

    def test_says_that_a_file_has_more_pages_than_it_searches_by(self, run, tmp_path):
        (tmp_path / "pages.tif").write_bytes(pages())
        said = "pages.tif has 3 pages; only the first is searched by.\n"
        assert said in run("search", "pages.tif").stderr
        assert "pages" not in run("search", NAME).stderr

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

    def test_tells_the_page_of_a_picture(self, run, fake, picture):
        found = json.loads(run("search", picture, "--json").stdout)["hits"]
        assert all(hit["page"] is None for hit in found)
        name, page = (hit["image"]["name"] for hit in found[:2])
        record = fake.records[name]
        record.page_image = page
        record.page_region.x, record.page_region.y = 1, 2
        record.page_region.width, record.page_region.height = 30, 40
        hit = json.loads(run("search", picture, "--json").stdout)["hits"][0]
        assert (hit["page"]["name"], hit["image"]["page_image"]) == (page, page)
        assert hit["image"]["page_region"] == {"x": 1, "y": 2, "width": 30, "height": 40}
        said = run("search", picture, "--explain").stdout
        assert f"on the page {page} at 1,2,30,40 (x,y,w,h)" in said

    def test_filters_and_options_reach_the_service(self, run, fake, picture):
        result = run(
            *("search", picture, "--journal", "A", "--journal", "B", "--from", "1914"),
            *("--to", "1918", "--archive", "a", "--language", "de", "--caption", "ship"),
            *("--exclude-journal", "C", "--label", "kind=photo", "--limit", "7"),
            *("--min-similarity", "0.5", "--crop", "1,2,30,40", "--no-mirrored", "--no-rotated"),
            *("--min-probability", "0.75", "--verify-count", "9"),
            *("--kind", "picture", "--on-page", "p/1", "--on-page", "archives/b/images/2"),
        )
        assert result.exit_code == 0, result.output
        sent = next(r for r in reversed(fake.requests) if hasattr(r, "skip_mirrored"))
        assert list(sent.filter.journals) == ["A", "B"]
        assert (sent.filter.date.start, sent.filter.date.end) == ("1914", "1918")
        assert list(sent.filter.archives) == ["a"]
        assert sent.filter.kind == sent.filter.PICTURE
        assert list(sent.filter.page_images) == ["archives/a/images/p/1", "archives/b/images/2"]
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

    @pytest.mark.parametrize(
        ("crop", "said"),
        [
            ("1,2,3", "'1,2,3' is neither x,y,w,h in pixels nor pct:x,y,w,h in percent."),
            ("a,b,c,d", "is neither"),
            ("0,0,nan,9", "is neither"),
            ("0,0,inf,9", "is neither"),
            ("pct:1", "is neither"),
            ("1.5,0,3,3", "Pixels are whole numbers."),
            ("0.5,0,0.5,1", "Pixels are whole numbers; is pct:50,0,50,100 meant?"),
            ("5,0,0,9", "'5,0,0,9' has no width: it is X,Y,WIDTH,HEIGHT."),
            ("pct:5,0,50,-3", "has no height"),
            ("-1,0,9,9", "does not lie inside the picture."),
            ("pct:50,0,60,50", "does not lie inside the picture."),
            ("pct:0,0,0.1,50", "'pct:0,0,0.1,50' is less than a pixel of 200 x 100."),
        ],
    )
    def test_a_crop_that_is_none(self, run, fake, picture, crop, said):
        result = run("search", picture, "--crop", crop)
        assert result.exit_code == 2
        # The box around it breaks the lines.
        words = " ".join(result.stderr.replace("│", " ").split())
        assert "--crop" in words
        assert said in words
        assert not any(hasattr(request, "skip_mirrored") for request in fake.requests)

    def test_a_crop_of_thirds_is_inside(self, run, fake, picture):
        assert run("search", picture, "--crop", "pct:33.3,0,66.7,100").exit_code == 0
        assert (fake.requests[-1].region.x, fake.requests[-1].region.width) == (67, 133)

    def test_by_name_or_by_id_in_an_archive(self, run, fake):
        assert run("search", NAME).exit_code == 0
        assert fake.requests[-1].image == NAME
        assert run("search", "one", "--archive", "a").exit_code == 0
        assert fake.requests[-1].image == NAME

    def test_what_is_neither_a_file_nor_a_name(self, run):
        result = run("search", "gone.jpg")
        assert result.exit_code == 2
        assert "gone.jpg is neither a file nor" in result.stderr
        assert "is neither a file nor" in run("search", ".").stderr
        assert "is neither a file nor" in run("search", "").stderr

    @pytest.mark.parametrize("command", [("compare",), ("judge", "same")])
    def test_a_file_where_only_a_name_is_taken(self, run, picture, command):
        result = run(command[0], NAME, picture, *command[1:])
        assert result.exit_code == 2
        # The box around it breaks the lines.
        said = " ".join(result.stderr.replace("│", " ").split())
        assert "is a file; this command takes names of images of the archive" in said
        assert f"`halftone search {picture}` finds the names" in said.replace("- ", "-")
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

    @pytest.mark.parametrize("kind", [errors.NotFound, errors.DataLoss])
    def test_a_lost_picture_costs_a_sheet_that_picture(self, run, fake, picture, kind):
        fake.faults["GetThumbnail"].append(fails(kind("Gone.")))
        result = run("search", picture, "--html", "sheet.html")
        assert result.exit_code == 0, result.output
        page = Path("sheet.html").read_text()
        assert page.count("data:image/jpeg;base64,") == 3
        assert f'<span class="name">{NAME}</span>' in page

    def test_a_sheet_says_what_it_is_cited_by(self, run, picture):
        run(
            *("search", picture, "--html", "sheet.html", "--journal", "The Sphere", "--to", "1918"),
            *("--journal", "L'Illustration", "--exclude-journal", "C", "--crop", "pct:0,0,50,100"),
            *("--min-probability", "0.5", "--no-mirrored", "--limit", "1"),
        )
        page = html.unescape(Path("sheet.html").read_text(encoding="utf-8"))
        asked = "journal The Sphere or L'Illustration; to 1918; without journal C; probability at"
        assert f"{asked} least 0.5; not mirrored; the first 1, of more" in page
        assert "the framed part, 0,0,100,100" in page
        assert f'<span class="name">{NAME}</span>' in page
        assert re.search(r"Searched on \d{4}-\d\d-\d\d at .* model version fake/1 · Half", page)
        run("search", NAME, "--html", "sheet.html")
        page = Path("sheet.html").read_text()
        assert page.count(NAME + "<") == 1
        assert "<p class=" not in page

    @pytest.mark.parametrize("words", [(), ("--json",)])
    def test_hits_are_printed_whatever_becomes_of_the_sheet(self, run, picture, words):
        result = run("search", picture, "--html", picture / "none" / "sheet.html", *words)
        assert result.exit_code == 1
        assert NAME in result.stdout
        last = result.stderr.splitlines()[-1]
        assert last == f"Error: {picture / 'none'}: Not a directory."

    def test_hits_are_printed_though_nothing_can_be_said_of_the_filter(self, run, picture, fake):
        fake.faults["CountFacets"].append(fails(errors.InvalidArgument("No.")))
        result = run("search", picture, "--exclude-journal", "The Sphere")
        assert result.exit_code == 2
        assert NAME + "2" in result.stdout
        assert result.stderr == "Error: No.\n"


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

    def test_facets_list_archives_and_the_labels_that_are_asked_for(self, run, fake):
        fake.add("archives/b/images/one")
        fake.records["archives/b/images/one"].labels["place"].values.extend(["Berlin", "Paris"])
        said = [" ".join(line.split()) for line in run("facets").stdout.splitlines()]
        assert said[1:4] == ["archive images", "a 2", "b 1"]
        assert "label place images" not in said
        said = [" ".join(line.split()) for line in run("facets", "--labels").stdout.splitlines()]
        assert said[-3:] == ["label place images", "Berlin 1", "Paris 1"]
        counted = json.loads(run("facets", "--labels", "--json").stdout)
        assert counted["archives"] == {"a": 2, "b": 1}
        assert counted["labels"] == {"place": {"Berlin": 1, "Paris": 1}}
        assert "labels" not in json.loads(run("facets", "--json").stdout)

    def test_facets_count_what_has_no_value(self, run, fake):
        fake.add(NAME + "3", language="fr")
        said = [" ".join(line.split()) for line in run("facets").stdout.splitlines()]
        for line in ("no journal 1", "no year 1", "no language 1"):
            assert line in said
        without = json.loads(run("facets", "--json").stdout)["without"]
        assert without == {"journals": 1, "years": 1, "languages": 1}
        # With as many values as were asked for there may be more of them.
        assert "no journal" not in run("facets", "--limit", "2").stdout
        cut = json.loads(run("facets", "--limit", "2", "--json").stdout)
        assert cut["without"]["journals"] is None

    def test_a_journal_that_is_misspelt(self, run):
        result = run("list", "--journal", "the spere")
        assert result.stdout == "Nothing found.\n"
        said = "No image has the journal 'the spere'. Did you mean 'The Sphere'?\n"
        assert result.stderr == said
        assert run("list", "--journal", "Qqqq").stderr == "No image has the journal 'Qqqq'.\n"
        assert run("list", "--journal", "The Sphere", "--from", "1800", "--to", "1801").stderr == ""

    def test_an_archive_that_does_not_exist_is_told_with_those_that_do(self, run, fake):
        said = "There is no image in the archive 'b'; there is a.\n"
        result = run("list", "--archive", "b")
        assert (result.exit_code, result.stdout, result.stderr) == (0, "Nothing found.\n", said)
        assert run("facets", "--archive", "b", "--journal", "x").stderr == said
        assert run("list", "--archive", "b", "--archive", "a").stderr == said
        for number in range(14):
            fake.add(f"archives/x{number:02}/images/1")
        both = run("list", "--archive", "b", "--archive", "c").stderr
        names = ", ".join(["a", *(f"x{number:02}" for number in range(11))])
        assert both == f"There is no image in the archive 'b' or 'c'; there are {names} ….\n"

    @pytest.mark.parametrize(
        "words",
        [("list",), ("facets",), ("search", "query.png"), ("list", "--archive", "a")],
    )
    def test_an_empty_archive_says_how_to_import(self, run, fake, picture, words):
        fake.records.clear()
        said = "Nothing has been imported yet: `halftone import DIR` imports a folder of pictures "
        result = run(*words)
        assert result.exit_code == 0
        assert result.stderr.startswith(said)
        assert len(result.stderr.splitlines()) == 1

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

    @pytest.mark.parametrize("label", ["kind", "=photo", "="])
    def test_a_label_without_a_key_or_a_value_is_none(self, run, label):
        result = run("list", "--label", label)
        assert result.exit_code == 2
        assert f"{label!r} is not KEY=VALUE." in result.stderr

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

    @pytest.mark.parametrize("words", [(NAME,), ("--journal", "The Sphere")])
    def test_delete_asks_at_a_terminal_and_refuses_elsewhere(self, run, fake, words):
        no = run("delete", *words, input=Terminal(b"n\n"))
        assert no.exit_code == 1
        assert "Delete 1 image? [y/N]" in no.stderr
        assert no.stderr.endswith("Nothing was changed.\n")
        refused = run("delete", *words, input="y\n")
        assert refused.exit_code == 2
        assert "There is no terminal to ask at" in refused.stderr
        assert "--yes" in refused.stderr
        assert len(fake.records) == 2
        assert run("delete", *words, input=Terminal(b"y\n")).stdout == "1 image deleted.\n"
        assert list(fake.records) == [NAME + "2"]

    def test_delete_asks_nothing_where_nothing_goes(self, run, fake):
        assert run("delete", "--journal", "Sphere").stdout == "0 images deleted.\n"

    def test_delete_counts(self, run, fake):
        assert run("delete").exit_code == 2
        assert "1 image would be deleted" in run("delete", NAME, "--dry-run").stdout
        assert run("delete", "--journal", "The Sphere", "--yes").exit_code == 0
        assert list(fake.records) == [NAME + "2"]
        assert run("delete", "--everything", "--yes").exit_code == 0
        assert not fake.records

    def test_delete_says_which_images_there_are_not(self, run, fake):
        unknown = run("delete", NAME + "9", "--yes")
        assert unknown.exit_code == 1
        assert unknown.stderr == f"There is no image {NAME}9.\n"
        assert run("delete", NAME + "9", "--dry-run").exit_code == 1
        both = run("delete", NAME, NAME + "9", NAME, "--yes")
        assert both.exit_code == 1
        assert both.stdout == "1 image deleted.\n"
        assert both.stderr == f"There is no image {NAME}9.\n"
        assert list(fake.records) == [NAME + "2"]

    @pytest.mark.parametrize("by_name", [True, False])
    def test_delete_asks_for_some_at_a_time(self, run, fake, by_name):
        """A call for all of a large archive would meet its deadline."""
        fake.records = {
            f"{NAME}{number}": search_pb2.Image(name=f"{NAME}{number}") for number in range(1_200)
        }
        which = list(fake.records) if by_name else ["--everything"]
        result = run("delete", *which, "--yes")
        assert result.stdout == "1,200 images deleted.\n"
        assert not fake.records
        sent = [each for each in fake.requests if isinstance(each, search_pb2.DeleteImagesRequest)]
        assert [len(each.names) for each in sent if not each.validate_only] == [500, 500, 200]

    def test_delete_says_how_far_it_came(self, run, fake):
        fake.records = {
            f"{NAME}{number}": search_pb2.Image(name=f"{NAME}{number}") for number in range(1_200)
        }
        # Counted, then deleted twice.
        fake.faults["DeleteImages"] += [None, None, fails(errors.DeadlineExceeded("Too late."))]
        result = run("delete", "--everything", "--yes")
        assert result.exit_code == 1
        assert "500 images deleted so far" in result.stderr

    def test_thumbnail(self, run, tmp_path):
        assert run("thumbnail", NAME, "-o", tmp_path / "t.jpg").exit_code == 0
        assert (tmp_path / "t.jpg").read_bytes().startswith(b"\xff\xd8")

    def test_a_file_that_cannot_be_written(self, run, tmp_path):
        (tmp_path / "file").touch()
        result = run("thumbnail", NAME, "-o", tmp_path / "file" / "t.jpg")
        assert result.exit_code == 1
        assert result.stderr.endswith("file: Not a directory.\n")

    @pytest.mark.parametrize(
        "words",
        [
            ("thumbnail", NAME, "-o"),
            ("search", NAME, "--html"),
            ("compare", NAME, NAME + "2", "--html"),
            ("compare", NAME, NAME + "2", "--out"),
        ],
    )
    def test_the_folders_of_what_is_written_are_made(self, run, tmp_path, words):
        kind = ".html" if words[-1] == "--html" else ".jpg"
        result = run(*words, tmp_path / "new" / "folder" / f"out{kind}")
        assert result.exit_code == 0, result.output
        folder = tmp_path / "new" / "folder"
        assert (folder / f"out{kind}").is_file()
        said = f"The folder {folder} did not exist and was made.\n"
        assert said in result.stderr
        assert said not in run(*words, folder / f"out{kind}").stderr


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        ("up", "local"),
        ("demo", "demo"),
        ("models import resnet18 --whiten-on .", "torch"),
        ("models calibrate starter --archive .", "evaluation"),
    ],
)
def test_a_missing_package_is_one_sentence(tmp_path, command, extra):
    """As in an installation of the client alone: it names the extra that the command needs."""
    code = (
        "import sys\nfor name in ('cv2', 'grpc_health', 'safetensors'): sys.modules[name] = None\n"
        f"from halftone.cli.app import main\nmain({command.split()!r})"
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
    words = command.partition(" -")[0].removesuffix(" resnet18").removesuffix(" starter")
    assert f"`halftone {words}` needs the package " in done.stderr
    assert f"pip install 'halftone-search[{extra}]'" in done.stderr
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


def commands(command, *path):
    """Every command below one, with its path."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from commands(found, *path, name)


class TestHelp:
    @pytest.mark.parametrize("path", [path for path, _ in commands(main)], ids=" ".join)
    def test_nothing_is_cut_off_or_left_as_markup(self, path):
        said = CliRunner().invoke(main, [*path, "--help"], env={"COLUMNS": "80"}).stdout
        assert said.startswith("Usage: ")
        assert "\\" not in said
        assert not any(line.endswith("...") for line in said.splitlines()[1:])

    def test_every_option_has_its_help(self):
        for path, command in commands(main):
            for option in command.params:
                if isinstance(option, click.Option):
                    assert option.help, (*path, option.name)

    def test_the_data_directory_is_by_default_that_of_the_environment(self):
        for path, command in commands(main):
            for option in command.params:
                if "--data" in option.opts:
                    assert "[default: HALFTONE_DATA, or ./data]" in option.help, path


def test_help_imports_nothing_heavy(tmp_path):
    code = (
        "import sys\nfrom halftone.cli.app import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "bad = {'torch', 'qdrant_client', 'skimage', 'structlog'} & set(sys.modules)\n"
        "sys.exit(str(bad) if bad else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
