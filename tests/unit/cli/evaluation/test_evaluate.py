"""`halftone eval` from the command line to its report, with the starter on a tiny archive."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from mlflow.tracking import MlflowClient
from PIL import Image

from halftone.cli import app

STARTER = Path(__file__).parents[4] / "models" / "starter" / "1"


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    """Ten plates in two journals each, the last pair on its side, and a file that is no picture."""
    folder = tmp_path_factory.mktemp("plates")
    generator = np.random.default_rng(8)
    rows, groups = ["image_id,file,journal,date,group"], []
    for number in range(10):
        blocks = generator.integers(0, 255, (5, 6), dtype=np.uint8)
        plate = Image.fromarray(blocks).resize((150, 120), Image.Resampling.BICUBIC)
        plate.save(folder / f"{number}a.png")
        again = plate.point([round(30 + 0.7 * level) for level in range(256)])
        if number == 9:
            again = again.transpose(Image.Transpose.ROTATE_90)
        again.save(folder / f"{number}b.png")
        for letter, journal in (("a", "Die Woche"), ("b", "Le Monde")):
            rows.append(f"{number}{letter},{number}{letter}.png,{journal},1905,plate {number}")
        pair = {"a": f"{number}a", "b": f"{number}b"}
        groups.append(
            {
                "group": f"g{number}",
                "members": list(pair.values()),
                "links": [pair],
                "composite": False,
            }
        )
    (folder / "broken.png").write_bytes(b"no picture")
    rows += ["broken,broken.png,Die Woche,1905,", "gone,gone.png,Die Woche,1905,"]
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")
    (folder / "groups.json").write_text(json.dumps(groups))
    return folder


def run(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app.main, ["eval", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result.stdout if code == 0 else result.output


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    """A registry with the starter twice, under two names."""
    directory = tmp_path_factory.mktemp("models")
    shutil.copytree(STARTER, directory / "starter" / "1")
    shutil.copytree(STARTER, directory / "other" / "1")
    return directory


@pytest.mark.soak
def test_the_starter_is_judged_before_anything_is_published(archive, tmp_path, monkeypatch):
    monkeypatch.setenv("HALFTONE_DATA", str(tmp_path))
    monkeypatch.delenv("HALFTONE_MODELS_DIRECTORY", raising=False)
    assert "starter/1" in run("starter", "--archive", archive)
    assert "There is no model version 'other'" in run("other", "--archive", archive, code=1)


def test_figures_and_report_of_a_version(archive, models, tmp_path):
    report = tmp_path / "report"
    output = run("starter", "--models", models, "--archive", archive, "--report", report)

    assert f"{archive.name}: 20 queries, 10 pairs" in output
    line = next(line for line in output.splitlines() if line.split()[:1] == ["starter/1"])
    assert line.split()[1:4] == ["1.000", "1.000", "1.000"]
    upright = next(line for line in output.splitlines() if "not turned" in line)
    assert float(upright.split()[-6]) == 0.9, "the plate on its side is missed by both queries"
    page = (report / "index.html").read_text()
    assert f"<title>starter/1 on {archive.name}</title>" in page
    assert "broken" in page
    assert "gone" in page
    assert "20 queries among 20 pictures" in page
    assert "How to read this" in page
    assert "What was measured: the descriptor alone" in page
    assert "the share for which another printing stood in first place" in page
    assert "Measured: The descriptor alone" in output
    assert "--search measures the search as a whole." in output
    assert "R@1      of all pictures that were searched by" in output
    assert f"halftone eval starter --archive {archive}" in page


def test_the_whole_search(archive, models, tmp_path):
    report = tmp_path / "report"
    shared = ("starter/1", "--models", models, "--archive", archive, "--search", "--limit", 6)
    output = run(*shared, "--report", report)
    assert "Measured: The whole search, as a user gets it" in output
    assert "--search" not in output
    assert "starter/1: threshold 0.500 from what searches call likely" in output
    (row,) = [line for line in output.splitlines() if line.split()[:1] == ["starter/1"]]
    assert row.split()[1:4] == ["1.000", "1.000", "1.000"]
    assert "the descriptor alone" in output
    page = (report / "index.html").read_text()
    assert "What was measured: the whole search" in page
    assert "of the pairs that were called the same at the threshold" in page
    assert f"halftone eval starter/1 --archive {archive} --limit 6 " in page
    assert "--search" in page


def test_what_does_not_go_with_the_whole_search(archive, models, tmp_path):
    shared = ("starter/1", "--models", models, "--search")
    assert "leave out --upright" in run(*shared, "--archive", archive, "--upright", code=2)
    said = run(*shared, "--archive", archive, "--threshold-from", archive, code=2)
    assert "--threshold-from is a probability" in said
    assert "do not go with --press" in run(*shared, "--press", archive, code=2)


def test_json_with_a_threshold_of_another_archive(archive, models):
    shared = ("--models", models, "--archive", archive, "--upright", "--json")
    found = json.loads(run("starter/1", *shared, "--threshold-from", archive))
    metrics = found["versions"]["starter/1"]
    assert metrics["f1"] == pytest.approx(metrics["best_f1"])
    assert metrics["recall_at_1"] == 0.9
    assert found["orientations of a query"] == 1
    assert {what for what, _ in found["left_out"]} == {"broken", "gone"}
    assert set(metrics["intervals"]) >= {"recall_at_1", "ndcg_at_5", "micro_ap", "precision"}
    again = json.loads(run("starter/1", *shared, "--threshold-from", "0.99999"))
    assert again["archive (sha-256)"] == found["archive (sha-256)"]
    assert again["versions"]["starter/1"]["threshold"] == 0.99999
    assert again["versions"]["starter/1"]["recall"] < metrics["recall"]


def test_two_versions_side_by_side(archive, models, tmp_path):
    report = tmp_path / "report"
    arguments = ("starter/1", models / "other" / "1", "--models", models, "--archive", archive)
    output = run(*arguments, "--upright", "--report", report)
    assert "other/1 - starter/1" in output
    assert "+0.000" in output
    page = (report / "index.html").read_text()
    assert "starter/1 and other/1" in page
    assert "better for 0 queries, worse for 0, and equal for 20" in page
    assert (report / "starter-1" / "index.html").is_file()
    assert (report / "other-1" / "index.html").is_file()


@pytest.mark.filterwarnings("default")  # MLflow's own
def test_the_same_figures_reach_mlflow(archive, models, tmp_path, monkeypatch):
    uri = f"file:{tmp_path / 'mlruns'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    options = ("--models", models, "--archive", archive, "--upright", "--json")
    found = json.loads(run("starter/1", *options, "--report", tmp_path / "report"))
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    experiment = client.get_experiment_by_name("halftone")
    (logged,) = client.search_runs([experiment.experiment_id])
    metrics = found["versions"]["starter/1"]
    assert logged.data.metrics[f"{archive.name}/micro_ap"] == metrics["micro_ap"]
    assert logged.data.tags["model_version"] == "starter/1"
    assert logged.data.params["seed"] == "0"
    paths = {entry.path for entry in client.list_artifacts(logged.info.run_id, "report")}
    assert "report/index.html" in paths


def test_help_needs_no_torch():
    code = (
        "import sys; from halftone.cli import app as cli; "
        "cli.main(['eval', '--help'], standalone_mode=False); "
        "sys.exit(bool({'torch', 'matplotlib', 'mlflow'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, capture_output=True)


def test_labelled_groups_of_a_column_or_a_file(archive, models, tmp_path):
    folder = tmp_path / "labelled"
    shutil.copytree(archive, folder)
    (folder / "groups.json").unlink()
    shared = ("starter/1", "--models", models, "--archive", folder, "--upright", "--json")
    assert json.loads(run(*shared))["versions"]["starter/1"]["pairs"] == 10
    groups = tmp_path / "groups.csv"
    groups.write_text("image_id,group\n0a,x\n0b,x\n1a,x\n")
    found = json.loads(run(*shared, "--groups", groups))["versions"]["starter/1"]
    assert (found["pairs"], found["queries"]) == (3, 3)
    few = json.loads(run(*shared, "--limit", 9))
    assert few["archive"] == "labelled, 8 pictures"
    assert few["versions"]["starter/1"]["pairs"] == 4, "groups stay whole"


def test_what_cannot_be_judged_is_said(archive, models, tmp_path):
    shared = ("--models", models, "--archive", archive)
    assert "was looked for in" in run("starter/7", *shared, code=1)
    assert "neither a cosine nor an archive" in run(
        "starter", *shared, "--threshold-from", "never", code=2
    )
    full = tmp_path / "full"
    full.mkdir()
    (full / "index.html").write_text("mine")
    assert "not empty" in run("starter", *shared, "--report", full, code=2)
    assert (full / "index.html").read_text() == "mine"
    nothing = tmp_path / "groups.csv"
    nothing.write_text("image_id,group\n0a,x\n")
    assert "nothing to judge" in run("starter", *shared, "--groups", nothing, "--upright", code=2)
    nothing.write_text("picture\n0a\n")
    assert "image_id and group" in run("starter", *shared, "--groups", nothing, code=2)
    damaged = tmp_path / "models"
    shutil.copytree(models, damaged)
    (damaged / "starter" / "1" / "golden.json").write_text("{}")
    assert "golden.json differs" in run("starter", "--models", damaged, *shared[2:], code=1)


def test_a_threshold_cannot_be_chosen_where_nothing_matches(archive, models, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(archive, other)
    (other / "groups.json").write_text("[]")
    options = ("--models", models, "--archive", archive, "--upright")
    output = run("starter/1", *options, "--threshold-from", other, code=2)
    assert "has a match to choose a threshold by" in output


def test_the_starter_of_a_checkout_before_anything_was_published(archive, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HALFTONE_MODELS_DIRECTORY", raising=False)
    output = run("starter/1", "--archive", archive, "--upright", "--limit", 4)
    assert "starter/1" in output
    refused = run("starter/1", "--archive", archive, "--data", tmp_path / "gone", code=1)
    assert "It was looked for in" in refused


@pytest.mark.soak
def test_press_benchmark_of_a_folder(archive, models, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(14):
        generator = np.random.default_rng(number)
        blocks = generator.integers(0, 255, (9, 12), dtype=np.uint8)
        plate = Image.fromarray(blocks).resize((180, 140), Image.Resampling.BICUBIC)
        plate.save(folder / f"{number}.png")
    report = tmp_path / "report"
    shared = ("starter/1", "--models", models, "--press", folder, "--cache", tmp_path / "cache")
    some = ("--sources", 3, "--only", "blur,negative", "--strengths", "1")
    output = run(*shared, *some, "--distractors", archive, "--report", report)
    assert "2 pictures searched for among 33, 1 that are not among them; 6 queries" in output
    assert "sigma" not in output
    assert "0.2%" in output
    assert "R@1           the share of the printed pictures" in output
    page = (report / "index.html").read_text()
    assert "Press benchmark on pictures" in page
    assert "Worst failures of starter/1, verified" in page
    assert "negative.png" in page
    assert (report / "blur-example.png").is_file()
    kept = json.loads((report / "figures.json").read_text())
    found = json.loads(run(*shared, *some, "--distractors", archive, "--json"))
    assert found["systems"] == kept["systems"]
    assert "--press" in found["command"]
    assert found["left_out"] == [["broken.png", found["left_out"][0][1]]]
    assert found["systems"]["PDQ"]["transformations"]["blur"]["all"]["recall_at_1"] == 1.0


def test_press_options_are_checked(archive, models, tmp_path):
    shared = ("starter/1", "--models", models)
    assert "Give --archive, --press or --furniture" in run(*shared, code=2)
    assert "do not go with --press" in run(
        *shared, "--press", archive, "--archive", archive, code=2
    )
    assert "--sources belongs to --press or --furniture" in run(
        *shared, "--archive", archive, "--sources", 5, code=2
    )
    assert "no transformation" in run(*shared, "--press", archive, "--only", "sepia", code=2)
    assert "numbers from 1" in run(*shared, "--press", archive, "--strengths", "all", code=2)
    few = run(*shared, "--press", archive, "--limit", 5, code=2)
    assert "too few" in few


@pytest.mark.soak
def test_furniture_benchmark_of_a_folder(archive, models, tmp_path):
    report = tmp_path / "report"
    shared = ("starter/1", "--models", models, "--furniture", archive, "--sources", 2)
    some = ("--only", "board,again", "--strengths", "3")
    output = run(*shared, *some, "--report", report)
    assert "2 pairs of sheets, 2 of each kind, case and strength" in output
    (row,) = [line for line in output.splitlines() if line.split()[:1] == ["again"]]
    kept = json.loads((report / "figures.json").read_text())
    judged = kept["versions"]["starter/1"]["kinds"]["board"]["cases"]["again"]
    assert row.split()[1:3] == [f"{judged['all']['share']:.2f}", f"{judged['all']['share']:.3f}"]
    assert ("kept" in row) == judged["passes"]
    assert f"{int(judged['passes'])} of 1 bars are kept" in output
    page = (report / "index.html").read_text()
    assert "Furniture benchmark on" in page
    assert "Worst pairs of starter/1" in page
    assert (report / "board-again.png").is_file()
    found = json.loads(run(*shared, *some, "--json"))
    for each in (found, kept):
        each["versions"]["starter/1"].pop("seconds_a_pair")
    assert found["versions"] == kept["versions"]
    assert f"--furniture {archive} --sources 2 --only board,again --strengths 3" in found["command"]
    assert found["left_out"] == [["broken.png", found["left_out"][0][1]]]


def test_furniture_options_are_checked(archive, models):
    shared = ("starter/1", "--models", models, "--furniture", archive)
    for more in (("--archive", archive), ("--search",), ("--upright",), ("--threshold-from", 0.5)):
        assert f"{more[0]} does not go with --furniture" in run(*shared, *more, code=2)
    assert "Give one of --press and --furniture" in run(*shared, "--press", archive, code=2)
    assert "--distractors belongs to --press" in run(*shared, "--distractors", archive, code=2)
    assert "no furniture and no case 'sofa'" in run(*shared, "--only", "sofa", code=2)
    few = run(*shared, "--only", "plate", "--limit", 4, code=2)
    assert "different pictures; this needs 12" in few


def test_the_command_of_a_report_names_the_directory_of_the_versions(archive, models, tmp_path):
    data = tmp_path / "data dir"
    data.mkdir()
    (data / "models").symlink_to(models)
    figures = json.loads(run("starter/1", "--data", data, "--archive", archive, "--json"))
    assert f"--data '{data}'" in figures["command"]
