"""Reports, read as a browser would read them."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from halftone.evaluation.comparison import (
    JudgedVersion,
    changed_queries,
    differences,
    write_comparison,
)
from halftone.evaluation.evaluate import (
    evaluate_classification,
    evaluate_groups,
    figures_of,
)
from halftone.evaluation.judged import GROUP_RULES, JudgedImages
from halftone.evaluation.labelled import (
    EmbeddedArchive,
    LabelledArchive,
    judge_archive,
    read_labelled,
)
from halftone.evaluation.metrics import Cosines, Matrix, judge
from halftone.evaluation.report.model_report import write_report
from halftone.evaluation.truth import Truth
from halftone.vision.network_spec import NetworkSpec
from halftone.vision.preprocessing import Preprocessing
from halftone.vision.spec import ModelSpec

# Elements without an end tag.
VOID = {"meta", "img", "br", "link", "input"}


class Page(HTMLParser):
    """Headings, pictures, links and text of a page; fails on tags that do not close in order."""

    def __init__(self, folder):
        super().__init__()
        self.folder, self.open = folder, []
        self.headings, self.pictures, self.links, self.tags = [], {}, [], []
        self.text = ""
        self.feed((folder / "index.html").read_text(encoding="utf-8"))
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        if tag in {"h1", "h2", "h3"}:
            self.headings.append("")
        if tag == "img":
            self.pictures[attributes["src"]] = attributes["alt"]
        if tag == "a":
            self.links.append(attributes["href"])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if self.open and self.open[-1] in {"h1", "h2", "h3"}:
            self.headings[-1] += data

    def check(self):
        """What holds for every report."""
        assert not {"script", "link", "iframe"} & set(self.tags)
        assert not any("://" in address for address in [*self.pictures, *self.links])
        assert all(alt.strip() for alt in self.pictures.values())
        files = {path.name for path in self.folder.iterdir() if path.suffix == ".png"}
        assert files == set(self.pictures), "each picture is shown, and none is missing"
        for name in files:
            with Image.open(self.folder / name) as picture:
                picture.load()
                assert min(picture.size) > 50


def model_spec(**training):
    network = NetworkSpec(backbone="resnet18", dimension=8)
    configuration = {"seed": 7, "batch": 64}
    return ModelSpec(
        name="plates",
        network=network,
        preprocessing=Preprocessing(size=64),
        parents=("starter/1",),
        training={"command": "train <here>", "configuration": configuration, **training},
    )


@pytest.fixture
def found(collection):
    """The collection with scores in which p0 misses its printing and others are alike."""
    archive = read_labelled(collection)
    generator = np.random.default_rng(0)
    half = generator.normal(size=(40, 40)) * 0.05
    scores = np.clip(half + half.T + np.eye(40), -1, 1)
    scores[0, 1] = scores[1, 0] = 0.4
    scores[0, 9] = scores[9, 0] = 0.8
    return judged_scores(archive, scores)


def judged_scores(archive, scores):
    """An archive judged by a matrix of scores."""
    judgement = judge(Matrix(scores), truth=archive.truth())
    return JudgedImages(
        name=archive.name,
        judgement=judgement,
        metrics=figures_of(judgement, resamples=20),
        names=archive.ids,
        paths=archive.paths,
        rules=archive.rules,
        variants={"turned": figures_of(judgement, resamples=0)},
    )


def labelled_split(collection, *, threshold):
    generator = np.random.default_rng(1)
    rows = np.repeat(generator.normal(size=(6, 8)), 2, axis=0) + generator.normal(size=(12, 8)) / 2
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    groups = [f"scene {number // 2}" for number in range(12)]
    return JudgedImages(
        name="the test split",
        judgement=judge(Cosines(rows), truth=Truth.of_groups(groups)),
        metrics=evaluate_groups(rows, groups=groups, threshold=threshold, resamples=20),
        names=groups,
        paths=[collection / f"{number}.png" for number in range(12)],
        rules=GROUP_RULES,
        threshold_from="the validation split",
        variants={"its parent a/1": evaluate_groups(rows, groups=groups, threshold=None)},
    )


def test_the_report_of_a_run_has_everything(tmp_path, collection, found):
    names = ["church & <tower>", "ship", "portrait"]
    logits = np.eye(3)[[0, 1, 1, 2]]
    write_report(
        tmp_path / "report",
        spec=model_spec(objective="metric", torch="2"),
        history=[
            {"step": 10, "epoch": 1.0, "elapsed": 60.0, "loss": 2.0, "map": 0.4},
            {"step": 20, "epoch": 2.0, "elapsed": 120.0, "loss": 1.0, "map": 0.6},
        ],
        judged=[labelled_split(collection, threshold=0.6), found],
        classification=evaluate_classification(logits, labels=[0, 1, 0, 2], names=names),
        balance={"training": {"a": 3, "b": 1}, "test": {"c": 2}},
        left_out=[("p99", "the file is missing")],
    )

    page = Page(tmp_path / "report")
    page.check()
    assert page.headings[0] == "plates"
    for heading in (
        f"Retrieval on {collection.name}",
        "Retrieval on the test split",
        "False positives: 1",
        "Missed: 0",
        "Worst retrievals",
        "Best retrievals",
        "Classification",
        "Training",
        "Data",
        "To repeat it",
    ):
        assert heading in page.headings, heading
    for label in ("R@1", "mAP", "µAP", "R@P90", "nDCG@5", "best F1", "95 % intervals"):
        assert label in page.text
    assert "threshold 0.600" in page.text
    assert "its parent a/1" in page.text
    assert "the validation split" in page.text
    assert {"curves.png", "confusion.png", "balance.png"} <= set(page.pictures)
    # The alike pair is shown before anything else near the threshold, with its names.
    assert "0.800" in page.pictures["pair-r1-0-1.png"]
    assert "different pictures" in page.pictures["pair-r1-0-1.png"]
    # The query that is missed, with the rank of its match.
    assert "rank 2" in page.pictures["r1-worst-1.png"]
    assert "church & <tower>" in page.text
    assert "p99" in page.text
    assert "the file is missing" in page.text
    assert "train <here>" in page.text
    assert '"seed": 7' in page.text
    assert "starter/1" in page.text


def test_a_match_beyond_the_first_candidates_is_shown_with_its_rank(tmp_path, collection):
    scores = np.eye(40)
    scores[0, 1] = scores[1, 0] = 0.4
    scores[0, 9:30] = scores[9:30, 0] = 0.7
    found = judged_scores(read_labelled(collection), scores)
    write_report(tmp_path / "report", spec=model_spec(), history=[], judged=[found])
    page = Page(tmp_path / "report")
    page.check()
    assert "0.400  rank 22 the same picture" in page.pictures["r0-worst-1.png"]
    with Image.open(tmp_path / "report" / "r0-worst-1.png") as picture:
        seven = picture.width
    with Image.open(tmp_path / "report" / "pair-r0-0-1.png") as picture:
        assert seven > 3 * picture.width


def test_the_report_of_a_run_without_labels_is_short(tmp_path):
    write_report(tmp_path / "report", spec=model_spec(), history=[])
    page = Page(tmp_path / "report")
    page.check()
    assert page.headings == ["plates", "To repeat it"]


def test_a_picture_that_is_gone_does_not_end_the_report(tmp_path, found):
    moved = replace(found, paths=[tmp_path / "gone" / path.name for path in found.paths])
    write_report(tmp_path / "report", spec=model_spec(), history=[], judged=[moved])
    Page(tmp_path / "report").check()


def judged_by(collection, *, noise):
    """Descriptors of ten pairs, the worse the more noise."""
    generator = np.random.default_rng(6)
    pictures = np.repeat(generator.normal(size=(10, 12)), 2, axis=0)
    rows = pictures + noise * generator.normal(size=pictures.shape)
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    names = tuple(f"p{number}" for number in range(20))
    archive = LabelledArchive(
        name="plates",
        ids=names,
        paths=tuple(collection / f"{number}.png" for number in range(20)),
        journals=("",) * 20,
        names=names,
        groups=tuple(str(number // 2) for number in range(20)),
    )
    embedded = EmbeddedArchive(archive=archive, descriptors=rows, views=None, digest="")
    return judge_archive(embedded, threshold=0.5, threshold_from="elsewhere", resamples=300)


def test_a_comparison_shows_what_is_won_and_lost(tmp_path, collection):
    good, bad = (
        JudgedVersion(version=version, judged=judged, draws=draws)
        for version, (judged, draws) in (
            ("good/1", judged_by(collection, noise=0.4)),
            ("bad/1", judged_by(collection, noise=2.0)),
        )
    )
    worse = differences(good, bad)
    assert worse["map"]["difference"] == pytest.approx(
        bad.judged.metrics["map"] - good.judged.metrics["map"]
    )
    low, high = worse["map"]["interval"]
    assert low < worse["map"]["difference"] < high < 0
    assert worse["map"]["better"] == 0
    better = differences(bad, good)["map"]
    assert better["interval"] == pytest.approx([-high, -low])
    nothing = differences(good, good)["micro_ap"]
    assert (nothing["difference"], nothing["interval"], nothing["better"]) == (0, [0, 0], 0.5)

    won, lost = changed_queries(good.judged.judgement, bad.judged.judgement)
    assert lost
    drops = good.judged.judgement.average_precision - bad.judged.judgement.average_precision
    assert drops[lost[0]] == drops.max()
    assert changed_queries(bad.judged.judgement, good.judged.judgement) == (lost, won)

    write_comparison(
        tmp_path / "report",
        candidates=[good, bad],
        left_out=[("p77", "no picture")],
        settings={"command": "halftone eval good/1 bad/1", "seed": 0},
    )
    page = Page(tmp_path / "report")
    page.check()
    assert page.headings[0] == "good/1 and bad/1"
    assert {"What bad/1 changes", "Won against good/1", "Lost against good/1"} <= set(page.headings)
    assert page.links[-2:] == ["good-1/index.html", "bad-1/index.html"]
    assert "precision-recall.png" in page.pictures
    assert "halftone eval good/1 bad/1" in page.text
    assert f"{worse['map']['difference']:+.3f}" in page.text
    before, after = (page.pictures[f"lost-bad-1-1-{when}.png"] for when in ("before", "after"))
    assert before.startswith("good/1: p")
    assert after.startswith("bad/1: p")
    assert "rank 1" in before
