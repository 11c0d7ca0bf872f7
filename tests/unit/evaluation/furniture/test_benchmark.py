"""The furniture benchmark as a whole, on a few made pictures, with the starter."""

from __future__ import annotations

import ast
import importlib.util
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import halftone
from halftone.core import errors
from halftone.evaluation.furniture import benchmark
from halftone.evaluation.furniture.benchmark import Condition, conditions_of, plan_of
from halftone.evaluation.furniture.kinds import KINDS
from halftone.evaluation.furniture.report import summarise, write_report
from halftone.evaluation.press.benchmark import Version
from halftone.evaluation.press.gallery import read_collection
from halftone.vision.descriptor_model import open_model

STARTER = Path(__file__).parents[4] / "models" / "starter" / "1"


def write_picture(path: Path, *, seed: int) -> None:
    generator = np.random.default_rng(seed)
    tone = cv2.GaussianBlur(generator.normal(size=(240, 320)), (0, 0), 6)
    pixels = ((tone - tone.min()) / np.ptp(tone) * 255).astype(np.uint8)
    for _ in range(60):
        x, y = int(generator.integers(0, 300)), int(generator.integers(0, 220))
        cv2.circle(pixels, (x, y), int(generator.integers(3, 22)), int(generator.integers(256)), -1)
    Image.fromarray(pixels).save(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Thirteen pictures, one of them twice."""
    top = tmp_path_factory.mktemp("pictures")
    for number in range(13):
        write_picture(top / f"{number:02}.png", seed=number)
    (top / "again.png").write_bytes((top / "00.png").read_bytes())
    return top


@pytest.fixture(scope="module")
def version() -> Version:
    return Version(name="starter/1", model=open_model(STARTER), weights="starter")


def test_conditions_by_kind_case_and_strength():
    assert conditions_of(["frame", "different"], strengths=[2]) == (
        Condition("frame", "different", 2),
    )
    assert {one.kind for one in conditions_of(["shared"])} == {"emblem", "plate"}
    assert {one.case for one in conditions_of(["board"])} == {"different", "again"}
    every = conditions_of()
    assert len(every) == len(set(every)) == 5 * sum(len(kind.cases) for kind in KINDS.values())
    with pytest.raises(errors.InvalidArgument, match="no furniture and no case 'sofa'"):
        conditions_of(["sofa"])
    with pytest.raises(errors.InvalidArgument, match="such a case"):
        conditions_of(["board", "moved"])
    with pytest.raises(errors.InvalidArgument, match="strength"):
        conditions_of(["board"], strengths=[6])


def test_pairs_are_of_pictures_that_are_not_the_same(folder):
    plan = plan_of(read_collection(folder), sources=20, conditions=conditions_of(["plate", "form"]))
    assert len(plan.rows) == 13
    assert plan.pairs == 20 * len(plan.conditions)
    for condition in (Condition("plate", "different", 1), Condition("form", "moved", 5)):
        for number in range(plan.sources):
            rows = plan.rows_of(condition, number=number)
            groups = plan.pictures.groups[list(rows)]
            assert len(set(groups.tolist())) == (12 if condition.kind == "plate" else 2)
    few = read_collection(folder, limit=5)
    with pytest.raises(errors.InvalidArgument, match="different pictures; this needs 12"):
        plan_of(few, sources=2, conditions=conditions_of(["plate"]))
    assert plan_of(few, sources=2, conditions=conditions_of(["form"])).rows


@pytest.mark.soak
def test_a_run_repeats_itself_and_its_report_shows_what_is_wrong(folder, version, tmp_path):
    conditions = (
        Condition("frame", "again", 1),
        Condition("frame", "different", 4),
        Condition("chart", "again", 2),
    )
    plan = plan_of(read_collection(folder), sources=1, conditions=conditions, seed=3)
    told = []
    outcomes = benchmark.run(plan, versions=[version], progress=told.append)
    assert sum(told) == plan.pairs == 3
    again = benchmark.run(plan, versions=[version])
    chosen = ("kind", "case", "strength", "number", "probability", "relation", "inliers")
    for first, second in zip(outcomes["starter/1"], again["starter/1"], strict=True):
        assert [getattr(first, name) for name in chosen] == [
            getattr(second, name) for name in chosen
        ]
    for condition in conditions:
        twice = [plan.print_pair(condition, number=0) for _ in range(2)]
        assert [one.tobytes() for one in twice[0]] == [one.tobytes() for one in twice[1]]
    summary = summarise(plan, outcomes=outcomes)
    json.dumps(summary, allow_nan=False)
    found = summary["versions"]["starter/1"]
    assert found["bars"] == 3
    assert found["kinds"]["frame"]["cases"]["again"]["all"]["share"] == 1.0
    assert found["kinds"]["frame"]["cases"]["different"]["strengths"]["4"]["pairs"] == 1
    assert found["kinds"]["chart"]["roc"]["auc"] is None
    wrong = [one for one in outcomes["starter/1"] if one.is_wrong]
    assert len(found["failures"]) == len(wrong)
    write_report(tmp_path, plan=plan, outcomes=outcomes, summary=summary, settings={"seed": 3})
    page = (tmp_path / "index.html").read_text()
    assert f"Worst pairs of starter/1: {len(wrong)} of 2" in page or not wrong
    assert "different pictures in the same furniture" in page
    for file in ("roc.png", "frame-different.png", "chart-again.png"):
        with Image.open(tmp_path / file) as image:
            assert image.width > 300, file
        assert file in page


def test_nothing_else_learns_from_what_judges():
    """No room but its own and the command imports the furniture, which imports no training."""
    top = Path(halftone.__file__).parent
    own = importlib.util.find_spec("halftone.evaluation.furniture")
    (home,) = own.submodule_search_locations
    allowed = {Path(home), top / "cli" / "evaluation"}
    for path in [*top.rglob("*.py"), *(top / "services").resolve().rglob("*.py")]:
        names = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                names |= {node.module, *(f"{node.module}.{one.name}" for one in node.names)}
            elif isinstance(node, ast.Import):
                names |= {one.name for one in node.names}
        if path.parent not in allowed:
            assert not any(name.startswith("halftone.evaluation.furniture") for name in names), path
        elif path.parent == Path(home):
            trains = {name for name in names if name.startswith("halftone.vision")}
            assert trains <= {"halftone.vision", "halftone.vision.threads"}, path
