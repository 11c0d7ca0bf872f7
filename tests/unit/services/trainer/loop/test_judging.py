"""An archive is judged at the end of a run as `halftone eval` judges it."""

from __future__ import annotations

import json
import shutil

import pytest
from click.testing import CliRunner

from halftone.cli.evaluation.evaluate import evaluate
from halftone.core import errors
from halftone.registry.versions import Registry
from halftone.services.trainer.loop.judging import evaluate_archive, read_archive
from halftone.vision.model import Model


@pytest.fixture
def version(trained):
    return Registry(trained).resolve("parent/1")


def test_the_figures_are_those_of_halftone_eval(version, collection):
    judged = evaluate_archive(Model.load(version.directory), folder=collection, threshold=0.5)

    options = ["--archive", str(collection), "--threshold-from", "0.5", "--upright", "--json"]
    result = CliRunner().invoke(evaluate, [str(version.directory), *options])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)["versions"]["parent/1"]
    del found["variants"]
    assert judged.metrics == found
    assert set(judged.variants) == {
        "query turned four ways",
        "without background suppression",
        "the trained embedding alone",
    }
    assert judged.threshold_from == "the validation split"


def test_manifests_are_read_as_halftone_eval_reads_them(version, collection, tmp_path):
    """With semicolons, a byte order mark and groups in a column."""
    folder = shutil.copytree(collection, tmp_path / "archive")
    (folder / "groups.json").unlink()
    first, *rows = (folder / "manifest.csv").read_text().splitlines()
    lines = [f"{first},group", *(f"{row},{'g' * (number < 2)}" for number, row in enumerate(rows))]
    text = "\n".join(lines).replace(",", ";")
    (folder / "manifest.csv").write_text(text, encoding="utf-8-sig")

    model = Model.load(version.directory)

    assert evaluate_archive(model, folder=folder).metrics["queries"] == 2
    assert (
        evaluate_archive(model, folder=folder).metrics["micro_ap"]
        == evaluate_archive(model, folder=collection).metrics["micro_ap"]
    )


def test_a_picture_that_cannot_be_decoded_ends_the_evaluation(version, collection, tmp_path):
    folder = shutil.copytree(collection, tmp_path / "archive")
    (folder / "7.png").write_bytes(b"no picture")
    read_archive(folder)

    with pytest.raises(errors.InvalidArgument, match="p7 cannot be read") as caught:
        evaluate_archive(Model.load(version.directory), folder=folder)
    assert caught.value.field == "evaluate_on"


def _rewrite(folder, rows):
    """Give an archive a manifest of two more columns, with given first rows."""
    _, *others = (folder / "manifest.csv").read_text().splitlines()
    lines = ["image_id,File,journal,date,rights,caption,language", *rows, *others[len(rows) :]]
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")


def test_what_the_protocol_does_not_use_may_be_wrong(version, collection, tmp_path):
    """A date that is none, a quote in the wrong place, a cell too few, a link within the roots."""
    folder = shutil.copytree(collection, tmp_path / "archive")
    (tmp_path / "elsewhere").mkdir()
    shutil.move(folder / "1.png", tmp_path / "elsewhere" / "1.png")
    (folder / "1.png").symlink_to(tmp_path / "elsewhere" / "1.png")
    _rewrite(
        folder,
        [
            'p0,0.png,Journal 0,spring 1912,,"The "Titanic" sinks",de',
            "p1,1.png,Journal 1,1912-13-45,,,not a language",
            "p2,2.png,Journal 0",
        ],
    )
    (folder / "manifest.jsonl").write_text("")

    archive = read_archive(folder, roots=(tmp_path,))

    assert archive.names[:2] == ("p0 (Journal 0, spring 1912)", "p1 (Journal 1, 1912-13-45)")
    model = Model.load(version.directory)
    assert (
        evaluate_archive(model, folder=folder).metrics
        == evaluate_archive(model, folder=collection).metrics
    )


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("p0,none.png,Journal 0", "none.png is not there"),
        ("p1,0.png,Journal 0", "p1 is listed twice"),
        ('p0,"0.png,Journal 0', "manifest.csv, row 2: the row is not well-formed"),
        ("p99,0.png,Journal 0", "p0: named by group g, but not usable"),
        (",0.png,Journal 0", "0.png has no image_id or no file"),
        ("p0,../outside.png,Journal 0", "is not below the data roots"),
    ],
)
def test_what_the_protocol_uses_must_be_right(collection, tmp_path, row, problem):
    folder = shutil.copytree(collection, tmp_path / "archive")
    shutil.copy(folder / "0.png", tmp_path / "outside.png")
    _rewrite(folder, [row])

    with pytest.raises(errors.InvalidArgument) as caught:
        read_archive(folder, roots=(folder,))
    assert problem in caught.value.message
    assert caught.value.field == "evaluate_on"


def test_an_archive_without_groups_is_told_what_it_takes(collection, tmp_path):
    folder = shutil.copytree(collection, tmp_path / "archive")
    (folder / "groups.json").unlink()
    with pytest.raises(errors.InvalidArgument, match=r"groups\.json or a column `group`"):
        read_archive(folder)


def test_an_archive_lies_below_the_roots(collection, tmp_path):
    with pytest.raises(errors.InvalidArgument, match="is not below the data roots"):
        read_archive(collection, roots=(tmp_path,))
