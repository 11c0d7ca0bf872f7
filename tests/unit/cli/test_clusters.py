"""`halftone clusters`, `cluster`, `judge` and `verdicts` against a real gRPC server."""

from __future__ import annotations

import csv
import dataclasses
import functools
import io
import json

import pytest
from click.testing import CliRunner
from rich.console import Console

from halftone.cli import cluster_tables, clusters, tables, verdicts
from halftone.cli.app import main
from halftone.client import Client, ClusterJob, ClusterJobState, Decision
from halftone.core import errors
from halftone.rendering import timelines
from halftone.v1 import clusters_pb2 as pb
from halftone.v1 import search_pb2
from tests.support.client.fake_clusters import FakeClusters
from tests.support.client.fake_search import fails
from tests.support.terminal import Terminal


@pytest.fixture
def fake():
    with FakeClusters() as server:
        yield server


@pytest.fixture
def run(fake, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HALFTONE_SEARCH", raising=False)

    def invoke(*arguments, **options):
        words = [*map(str, arguments), "--server", fake.address]
        return CliRunner().invoke(main, words, **options)

    return invoke


@pytest.fixture
def built(fake, run):
    names = fake.story()
    run("clusters", "build", "--watch")
    return names


class TestList:
    @pytest.mark.parametrize("words", [("clusters",), ("clusters", "list")])
    def test_the_most_printed_first(self, run, built, words):
        result = run(*words)
        assert result.exit_code == 0, result.output
        lines = result.stdout.splitlines()
        assert lines[0].split()[1:6] == ["printings", "journals", "years", "undated", "weakest"]
        assert lines[1].split()[1:6] == ["5", "3", "1898-1909", "1", "0.830"]
        assert "1 May 1898, The Sphere" in lines[1]
        assert lines[1].split()[0] == "album"
        assert len(lines) == 3

    def test_options_reach_the_service(self, run, fake, built):
        result = run(
            *("clusters", "--journal", "J", "--from", "1900", "--sort", "journals"),
            *("--min-size", "2", "--min-journals", "3", "--min-span", "4", "--limit", "7"),
        )
        assert result.exit_code == 0, result.output
        sent = next(each for each in reversed(fake.requests) if hasattr(each, "min_size"))
        assert list(sent.filter.journals) == ["J"]
        assert sent.filter.date.start == "1900"
        assert sent.order == pb.ListClustersRequest.JOURNAL_COUNT
        assert (sent.min_size, sent.min_journal_count, sent.min_span_years) == (2, 3, 4)
        assert sent.page_size == 7
        assert "No image has the journal 'J'" in result.stderr

    def test_a_limit_below_the_total_is_said(self, run, built):
        assert "1 of 2; --limit shows more." in run("clusters", "--limit", "1").stdout

    def test_json(self, run, built):
        found = json.loads(run("clusters", "--json").stdout)
        assert found["total"] == 2
        assert found["clusters"][0]["journals"] == ["The Sphere", "L'Illustration", "Die Woche"]

    @pytest.mark.parametrize("words", [("clusters",), ("clusters", "status"), ("cluster", "x")])
    def test_before_the_first_build_it_says_what_to_do(self, run, fake, words):
        fake.add_printing("one")
        result = run(*words)
        assert "`halftone clusters build`" in result.stderr
        assert len(result.stderr.splitlines()) == 1


class TestJobs:
    def test_build_and_watch(self, run, fake):
        fake.job_polls = 1
        result = run("clusters", "build", "--watch", "--from-scratch")
        assert result.exit_code == 0, result.output
        assert any(getattr(each, "from_scratch", False) for each in fake.requests)
        assert "7 printings of 2 pictures among 7 images; the most printed has 5." in result.stdout
        assert "100%  succeeded" in result.stderr

    def test_what_is_told_of_a_job_never_goes_back(self):
        """Pairs are found and compared in one go: their number is no total to wait for."""
        runs = functools.partial(ClusterJob, name="clusterJobs/1", state=ClusterJobState.RUNNING)
        steps = [
            runs(),
            runs(image_count=100, searched_count=10, compared_count=300, pair_count=320),
            runs(image_count=100, searched_count=20, compared_count=500, pair_count=900),
            runs(image_count=100, searched_count=100, compared_count=900, pair_count=900),
            dataclasses.replace(runs(image_count=100), state=ClusterJobState.SUCCEEDED),
        ]
        assert [clusters.estimate_share(step) for step in steps] == [0, 0.1, 0.2, 0.99, 1]
        assert [clusters.describe_progress(step) for step in steps] == [
            "counting the images",
            "10 of 100 images looked up, 300 pairs compared",
            "20 of 100 images looked up, 500 pairs compared",
            "100 of 100 images looked up, 900 pairs compared, grouping",
            "succeeded",
        ]

    def test_a_failed_job_is_an_error_of_the_command(self, run, fake):
        fake.job_polls, fake.job_end = 1, pb.ClusterJob.FAILED
        result = run("clusters", "build", "--watch")
        assert result.exit_code == 1
        assert "The grouping failed: The store is full." in result.stdout

    def test_status_and_cancel(self, run, fake):
        run("clusters", "build")
        assert "is running: 0 of 7 images looked up" in run("clusters", "status").stdout
        assert "was stopped" in run("clusters", "cancel").stdout
        again = run("clusters", "cancel")
        assert again.exit_code == 1
        assert "is over" in again.stderr
        assert json.loads(run("clusters", "status", "--json").stdout)["state"] == "cancelled"


class TestCluster:
    def test_a_timeline(self, run, built):
        result = run("cluster", "album")
        assert result.exit_code == 0, result.output
        lines = result.stdout.splitlines()
        said = "clusters/album  5 printings in 3 journals, 1898 to 1909 (11 years), 1 undated"
        assert lines[0] == said
        assert lines[1].split() == ["1898", "1900", "1902", "1904", "1906", "1908"]
        assert "about 11 years later" in result.stdout
        (first,) = [line for line in lines if "earliest known" in line]
        assert first.split()[:4] == ["1", "1", "May", "1898"]
        (mirrored,) = [line for line in lines if "mirrored" in line]
        assert "Une maison & son toit" in mirrored
        assert "Weakest link: between 4 and 5, 0.830 (40 matching details)." in result.stdout

    @pytest.mark.parametrize(
        "words",
        [
            ("clusters/album",),
            ("archives/a/images/sphere/1",),
            ("sphere/1", "--archive", "a"),
        ],
    )
    def test_by_any_of_its_names(self, run, built, words):
        found = json.loads(run("cluster", *words, "--json").stdout)
        assert found["name"] == "clusters/album"
        assert found["printings"][3]["gap"] == "the same year"
        assert found["printings"][0]["is_earliest"]

    def test_writes_a_page(self, run, built, tmp_path):
        result = run("cluster", "album", "--html", tmp_path / "life.html")
        assert f"Wrote {tmp_path / 'life.html'}." in result.stderr.replace("\n", "")
        assert (tmp_path / "life.html").read_text().startswith("<!doctype html>")
        run("cluster", "album", "--html", tmp_path / "life")
        assert (tmp_path / "life" / "index.html").is_file()

    def test_what_is_not_there_is_said_in_one_sentence(self, run, fake, built):
        lone = fake.add_printing("lone")
        for name, words in (
            ("nothing", "There is no cluster 'nothing'"),
            ("lone", "An image's id alone needs --archive."),
            (lone, f"`halftone search {lone}` finds plates and pages"),
            ("archives/a/images/no", "There is no image archives/a/images/no."),
        ):
            result = run("cluster", name)
            assert result.exit_code == 1
            assert words in result.stderr
            assert "Traceback" not in result.stderr

    def test_a_file_is_neither_a_cluster_nor_an_image(self, run, built, tmp_path):
        (tmp_path / "found.jpg").touch()
        result = run("cluster", "found.jpg")
        assert result.exit_code == 2
        # The box around it breaks the lines.
        said = " ".join(result.stderr.replace("│", " ").split())
        assert "'found.jpg' is a file; this command takes" in said
        assert "`halftone search found.jpg` finds" in said

    def test_a_narrow_terminal_breaks_no_word(self, fake):
        journal, caption = "The Larkhaven Courier and Advertiser", "Wahlberechtigte Brahmanen"
        names = [
            fake.add_printing(str(year), date=str(year), journal=journal, page="3", caption=caption)
            for year in (1898, 1905)
        ]
        with Client(fake.address) as client:
            client.judge(*names, Decision.SAME)
            printings = timelines.list_printings(client.cluster(names[0]))
        layouts = cluster_tables.lay_out_timeline(printings)
        for width in (60, 80, 120, 200):
            out = io.StringIO()
            tables.print_table(Console(file=out, width=width), *layouts)
            lines = out.getvalue().splitlines()
            assert all(len(line.rstrip()) <= width for line in lines)
            words = {*journal.split(), *caption.split(), *names, "1898", "later", "weakest"}
            assert words <= set(out.getvalue().replace(",", "").split()), width
        assert [column.title for column in layouts[0].columns[5:8]] == [
            "journal",
            "page",
            "caption",
        ]

    def test_what_an_archivist_linked_is_marked(self, run, fake, built):
        _, b, *_, other, _ = built
        assert "judged" not in run("cluster", b).stdout
        run("judge", other, b, "same")
        with Client(fake.address) as client:
            printings = timelines.list_printings(client.cluster(b))
        marked = [each for each in printings if "judged same" in cluster_tables.list_marks(each)]
        assert {each.image.name for each in marked} == {b, other}
        assert [each.weakest for each in printings if each.image.name == other] == ["judged"]
        assert "Weakest link: between" in run("cluster", b).stdout
        held = [fake.add_printing(str(year), date=str(year)) for year in (1898, 1905)]
        run("judge", *held, "same")
        *_, row, last = run("cluster", held[0]).stdout.splitlines()
        assert last == "Nothing but what archivists said holds them together."
        assert row.split()[-4:] == ["judged", "judged", "same", held[1]]

    def test_a_printing_that_differs_is_marked(self, run, fake, built):
        a, b, *_ = built
        fake.link(a, b)
        fake.differ(a, b, boxes=((10, 10, 90, 90), (10, 10, 90, 90)))
        said = " ".join(run("cluster", a).stdout.split())
        assert "differs in 1 place" in said

    def test_the_story_is_told_whatever_becomes_of_the_page(self, run, built, tmp_path):
        (tmp_path / "file").write_text("")
        result = run("cluster", "album", "--html", tmp_path / "file" / "life.html")
        assert result.exit_code == 1
        assert "clusters/album" in result.stdout

    def test_printings_of_one_time_stand_below_each_other(self, fake):
        names = [
            fake.add_printing(f"{number:02}", date="1900-05-01" if number < 11 else "1910")
            for number in range(12)
        ]
        for name in names[1:]:
            fake.link(names[0], name)
        with Client(fake.address) as client:
            printings = timelines.list_printings(client.cluster(names[0]))
        _, line, *rows = cluster_tables.draw_axis(printings, width=60)
        assert len(rows) == 11
        assert rows[0].split() == ["1", "12"]
        assert rows[10].split() == ["11"]
        assert all(len(row) <= 60 for row in [line, *rows])


class TestUnfinished:
    """Printings may be missing until a grouping has come to its end."""

    RUNNING = "The archive is being grouped (0 of 7 images looked up), so printings may be missing"

    @pytest.mark.parametrize("words", [("clusters",), ("cluster", "album"), ("clusters", "export")])
    def test_while_a_grouping_runs_it_is_said(self, run, fake, tmp_path, words):
        fake.story()
        run("clusters", "build")
        options = ("--format", "csv", "-o", tmp_path / "x.csv") if "export" in words else ()
        result = run(*words, *options)
        assert result.exit_code == 0, result.output
        assert self.RUNNING in result.stderr
        run("clusters", "status", "--watch")
        assert "grouped" not in run(*words, *options).stderr

    def test_an_image_without_a_cluster_may_get_one(self, run, fake):
        name = fake.add_printing("lonely")
        run("clusters", "build")
        result = run("cluster", name)
        assert result.exit_code == 1
        assert f"{name} is in no cluster yet. {self.RUNNING}" in result.stderr

    @pytest.mark.parametrize(("words", "how"), [((), "failed"), (("cancel",), "was stopped")])
    def test_a_grouping_that_never_came_to_its_end_is_said(self, run, fake, words, how):
        fake.story()
        fake.job_end = pb.ClusterJob.FAILED
        run("clusters", "build")
        run("clusters", *words or ("status", "--watch"))
        said = f"The grouping {how} before its end, so printings may be missing"
        assert said in run("clusters").stderr
        fake.job_end, fake.job_polls = pb.ClusterJob.SUCCEEDED, 2
        run("clusters", "build", "--watch")
        assert "grouping" not in run("clusters").stderr

    def test_an_archive_without_images_is_told(self, run):
        assert "`halftone import DIR`" in run("clusters").stderr


class TestExport:
    @pytest.mark.parametrize("kind", ["csv", "jsonl", "annotations"])
    def test_each_format(self, run, built, tmp_path, kind):
        path = tmp_path / "out"
        result = run("clusters", "export", "--format", kind, "-o", path)
        assert result.exit_code == 0, result.output
        assert "Wrote 2 clusters to" in result.stderr
        text = path.read_text()
        if kind == "csv":
            assert len(list(csv.reader(text.splitlines()))) == 8
        elif kind == "jsonl":
            assert len(text.splitlines()) == 2
        else:
            assert json.loads(text)["total"] == 5
        assert [each.name for each in tmp_path.iterdir()] == ["out"]

    def test_to_standard_output_and_under_a_filter(self, run, built):
        result = run(
            *("clusters", "export", "--format", "jsonl", "--journal", "The Graphic", "-o", "-")
        )
        assert json.loads(result.stdout)["size"] == 2

    def test_the_bytes_of_standard_output_are_those_of_a_file(self, run, built, fake, tmp_path):
        fake.records[built[0]].journal = "Правда"
        arguments = ("clusters", "export", "--format", "csv", "-o")
        path = tmp_path / "out.csv"
        assert run(*arguments, path).exit_code == 0
        assert "Правда" in path.read_text()
        words = [*arguments, "-", "--server", fake.address]
        result = CliRunner(charset="cp1252").invoke(main, words)
        assert result.stdout_bytes == path.read_bytes()

    def test_a_folder_that_is_not_there_is_made(self, run, built, tmp_path):
        path = tmp_path / "new" / "folder" / "out.csv"
        result = run("clusters", "export", "--format", "csv", "-o", path)
        assert result.exit_code == 0
        assert f"The folder {path.parent} did not exist and was made." in result.stderr
        assert path.is_file()

    def test_before_any_grouping_nothing_is_written(self, run, tmp_path):
        result = run("clusters", "export", "--format", "csv", "-o", tmp_path / "out.csv")
        assert result.exit_code == 1
        said = "The archive has not been grouped yet: `halftone clusters build` does it."
        assert result.stderr == f"Error: {said}\n"
        assert not (tmp_path / "out.csv").exists()

    def test_a_failed_export_leaves_the_old_file(self, run, fake, built, tmp_path):
        path = tmp_path / "out.csv"
        path.write_text("old")
        for record in fake.records.values():
            record.earliest_date = "not a day"
        assert run("clusters", "export", "--format", "csv", "-o", path).exit_code != 0
        assert path.read_text() == "old"
        assert [each.name for each in tmp_path.iterdir()] == ["out.csv"]


class TestJudge:
    def test_says_what_becomes_of_the_cluster(self, run, fake, built):
        a, b, c, d, e, other, _ = built
        result = run("judge", d, e, "different", "--note", "another day", "--author", "Eva")
        assert result.exit_code == 0, result.output
        assert f"{d} and {e} are different pictures." in result.stdout
        assert f"They are apart now: {d} is in clusters/illu-7, {e} is alone." in result.stdout
        assert (fake.verdicts[0].note, fake.verdicts[0].author) == ("another day", "Eva")
        assert "will not come together" in run("judge", a, e, "different").stdout
        joined = run("judge", a, other, "same").stdout
        assert "They are now together in clusters/illu-7, 6 printings" in joined
        assert "They stay together" in run("judge", a, b, "same").stdout
        assert "stay as they are" in run("judge", a, c, "unsure").stdout

    def test_says_which_clusters_become_one(self, run, built):
        a, *_, other, _ = built
        said = run("judge", a, other, "same").stdout
        assert (
            "They are now together in clusters/album, 7 printings, with the 2 of clusters/other-1."
        ) in said

    def test_warns_that_a_page_joins_the_clusters_of_its_pictures(self, run, fake, built):
        a, *_, other, _ = built
        warned = run("judge", a, other, "same")
        first, second = sorted((a, other))
        shows = f"{second} shows more than {first}, as a page or a plate does"
        assert f"Warning: {shows}; what they share is 25% of it." in warned.stderr
        assert "take it back: halftone verdicts delete 1." in warned.stderr
        run("judge", a, other, "different")
        fake.relation = search_pb2.Hit.SHARED_ELEMENTS
        warned = " ".join(run("judge", a, other, "same").stderr.split())
        assert "looks like a frame, type, a base map or the like, and not like a picture" in warned
        # They are together now, and nothing joins any more.
        assert "Warning" not in run("judge", a, other, "same").stderr
        for decision in ("different", "unsure"):
            assert "Warning" not in run("judge", a, other, decision).stderr
        run("judge", a, other, "different")
        assert "Warning" in run("judge", a, other, "same", "--json").stderr
        # Two that share nothing, or that cannot be compared.
        run("judge", a, other, "different")
        fake.shares = False
        assert "Warning" not in run("judge", a, other, "same").stderr
        run("judge", a, other, "different")
        fake.faults["CompareImages"].append(fails(errors.NotFound("No features.")))
        result = run("judge", a, other, "same")
        assert (result.exit_code, result.stderr) == (0, "")

    def test_says_which_verdicts_lose_their_effect_and_what_to_do(self, run, fake, built):
        a, b, c, d, *_ = built
        run("judge", a, b, "same", "--note", "one plate", "--author", "Ada")
        assert "effect" not in run("judge", b, c, "same").stdout
        fake.contradicted = fake.verdicts[:1]
        result = run("judge", a, c, "different", "--author", "Eva")
        assert result.exit_code == 0, result.output
        why, which, what = result.stdout.splitlines()[2:]
        assert why.startswith(
            "An earlier verdict has no effect any more: where verdicts contradict"
        )
        said = "same (overruled), by Ada on 2025-03-04 (verdicts/1): one plate"
        assert which == f"  {b} and {a}: {said}"
        assert "right, take this one back: halftone verdicts delete 3." in what
        assert "wrong, take it back: halftone verdicts delete 1." in what
        fake.contradicted = [fake.verdicts[1]] * 11
        many = run("judge", a, d, "different").stdout
        assert "11 earlier verdicts have no effect any more" in many
        assert many.count("(verdicts/2)") == 10
        assert "`halftone verdicts` lists the others." in many
        fake.contradicted = fake.verdicts[1:2]
        found = json.loads(run("judge", a, c, "different", "--json").stdout)
        assert [each["name"] for each in found["overruled_verdicts"]] == ["verdicts/2"]
        fake.contradicted = fake.verdicts[1:2]
        back = run("verdicts", "delete", found["name"], "--yes").stdout
        assert f"what {found['name']} kept from its effect has it again" in back
        assert "(verdicts/2)" in back

    def test_a_doubt_in_the_place_of_a_verdict_is_told_as_what_it_does(self, fake):
        fake.story()
        with Client(fake.address) as client:
            here, there, *_ = client.clusters()

        def told(before, after):
            names = ("archives/a/images/1", "archives/a/images/2")
            return verdicts.describe_consequence(
                Decision.UNSURE, names=names, before=before, after=after
            )

        assert told([here, here], [here, there]) == "They are no longer together now."
        assert told([here, None], [here, here]) == "They are together now."
        assert told([None, None], [None, None]) == "The clusters stay as they are."

    def test_the_author_is_known_otherwise(self, run, fake, built):
        a, b, *_ = built
        run("judge", a, b, "same", env={"HALFTONE_AUTHOR": "Otto"})
        assert fake.verdicts[-1].author == "Otto"
        run("judge", a, b, "same", env={"HALFTONE_AUTHOR": "", "LOGNAME": "eva"})
        assert fake.verdicts[-1].author == "eva"

    def test_ids_of_one_archive(self, run, built):
        words = ("judge", "sphere/1", "illu/7", "same", "--archive", "a", "--json")
        found = json.loads(run(*words).stdout)
        assert found["cluster_a"] == found["cluster_b"] == "clusters/album"

    def test_unknown_images_and_words(self, run, built):
        result = run("judge", built[0], "archives/a/images/no", "same")
        assert result.exit_code == 1
        assert "There is no image archives/a/images/no." in result.stderr
        assert run("judge", built[0], built[1], "maybe").exit_code == 2


class TestVerdicts:
    def test_list_delete_and_history(self, run, built):
        a, b, *_ = built
        assert "No verdicts." in run("verdicts").stdout
        run("judge", a, b, "same", "--note", "a crack", "--author", "Eva")
        line = run("verdicts").stdout.splitlines()[1]
        assert "same" in line
        assert "a crack" in line
        refused = run("verdicts", "delete", "1", input="y\n")
        assert refused.exit_code == 2
        assert "There is no terminal to ask at" in refused.stderr
        no = run("verdicts", "delete", "01", input=Terminal(b"n\n"))
        assert f"Take back verdicts/1, that {b} and {a} are the same picture?" in no.stderr
        assert "same" in run("verdicts").stdout
        assert "nothing is said of" in run("verdicts", "delete", "1", "--yes").stdout
        assert "No verdicts." in run("verdicts", "list").stdout
        (gone,) = json.loads(run("verdicts", "--history", "--json").stdout)
        assert gone["end_time"]
        assert "nothing is said of" in run("verdicts", "delete", "1").stdout
        assert run("verdicts", "delete", "9").exit_code == 1
        run("judge", a, b, "same")
        ended = run("verdicts", "delete", "1").stdout
        assert ended.startswith("verdicts/1 does not hold any more: verdicts/2 says that ")
        assert ended.endswith(" are the same picture.\n")
        assert run("verdicts", "delete", "2", "--json", input=Terminal(b"y\n")).exit_code == 0
        assert run("verdicts", "--history", "--limit", "2").stderr == ""
        one = run("verdicts", "--history", "--limit", "1")
        assert one.stderr == "There are more than these 1: --limit shows more.\n"
        assert one.output.endswith(one.stderr)

    @pytest.mark.parametrize("verdict", ["abc", "1e3", "1" + "0" * 18, "9" * 5000])
    def test_what_is_no_verdicts_id_is_not_asked_for(self, run, fake, verdict):
        refused = run("verdicts", "delete", "--yes", verdict)
        assert refused.exit_code == 2
        assert "is no verdict's id" in refused.stderr
        assert not fake.requests

    def test_which_have_their_effect_again_is_told(self, run, fake, built):
        a, b, c, *_ = built
        run("judge", a, b, "different", "--note", "two plates", "--author", "Ada")
        run("judge", b, c, "different")
        fake.contradicted = fake.verdicts[:2]
        run("judge", a, c, "same")
        run("judge", a, c, "unsure")
        assert "effect" not in run("verdicts", "delete", "4", "--yes").stdout
        fake.restored = fake.verdicts[:1]
        _, what, which = run("verdicts", "delete", "3", "--yes").stdout.splitlines()
        assert what == "An earlier verdict has its effect again:"
        said = "different, by Ada on 2025-03-04 (verdicts/1): two plates"
        assert which == f"  {b} and {a}: {said}"

    def test_of_one_image(self, run, built):
        a, b, c, *_ = built
        run("judge", a, b, "same")
        run("judge", b, c, "unsure")
        found = json.loads(run("verdicts", "--image", a, "--json").stdout)
        assert [each["decision"] for each in found] == ["same"]

    def test_export_as_a_data_set(self, run, built, tmp_path):
        a, b, *_ = built
        run("judge", a, b, "same")
        result = run("verdicts", "export", tmp_path / "set")
        assert result.exit_code == 0, result.output
        assert "Wrote 2 images in 1 group to" in result.stdout
        result = run("verdicts", "export", tmp_path / "more", "--with-clusters")
        assert "Wrote 7 images in 2 groups" in result.stdout
        assert "not empty" in run("verdicts", "export", tmp_path / "set").stderr
