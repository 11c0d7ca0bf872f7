"""Figures on terminals of any width, and in plain words."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from halftone.cli import tables
from halftone.cli.evaluation import figures
from halftone.evaluation.comparison import JudgedVersion
from halftone.evaluation.judged import JudgedImages
from halftone.evaluation.report.retrieval import AT_THRESHOLD, COLUMNS

NAMES = [*COLUMNS, *AT_THRESHOLD]


def judged(version, value, **variants):
    metrics = dict.fromkeys(NAMES, value) | {"queries": 1234, "pairs": 5678}
    images = JudgedImages(
        name="press",
        judgement=None,
        metrics={**metrics, "intervals": {name: [value - 0.1, value + 0.05] for name in NAMES}},
        names=(),
        paths=None,
        rules="",
        variants={name: dict.fromkeys(COLUMNS, each) for name, each in variants.items()},
    )
    return JudgedVersion(version=version, judged=images, draws={})


def draw(width, candidates, changes=None):
    out = io.StringIO()
    layouts = figures.lay_out_figures(candidates, changes=changes or {})
    tables.print_table(Console(file=out, width=width), *layouts)
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_a_broad_terminal_has_a_row_for_each_version():
    lines = draw(200, [judged("starter/1", 0.9, upright=0.7)])
    assert lines[0].split()[:2] == ["R@1", "mAP"]
    assert [line.split()[:2] for line in lines[1:]] == [
        ["starter/1", "0.900"],
        ["95", "%"],
        ["upright", "0.700"],
    ]


@pytest.mark.parametrize("width", [60, 80, 100])
def test_a_narrow_one_has_a_row_for_each_figure(width):
    lines = draw(width, [judged("starter/1", 0.9, upright=0.7)])
    assert lines[0].split() == ["starter/1", "95", "%", "upright"]
    assert lines[1].split() == ["R@1", "0.900", "0.800-0.950", "0.700"]
    assert [line.split()[0] for line in lines[1:]][-1] == "F1"
    assert all(len(line) <= width for line in lines)


def test_several_versions_and_their_differences():
    change = {name: {"difference": 0.05, "interval": [-0.01, 0.1]} for name in NAMES}
    versions = [judged("starter/1", 0.8), judged("mine/12", 0.85)]
    lines = draw(120, versions, {"mine/12": change})
    assert "mine/12 - starter/1" in lines[0]
    assert lines[1].split()[-3:] == ["+0.050", "-0.010", "+0.100"]
