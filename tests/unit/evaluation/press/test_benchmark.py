"""The press benchmark as a whole, on a few made pictures, with the starter."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from halftone.core import errors
from halftone.evaluation.press import benchmark, gallery
from halftone.evaluation.press.benchmark import Version, conditions_of, plan_of
from halftone.evaluation.press.gallery import read_collection
from halftone.evaluation.press.report import failures, summarise
from halftone.evaluation.press.systems import PerceptualHash, PressQuery, hash_input, rank_by
from halftone.vision.model import Model

STARTER = Path(__file__).parents[4] / "models" / "starter" / "1"
COUNT = 26


def write_picture(path: Path, *, seed: int) -> None:
    generator = np.random.default_rng(seed)
    tone = cv2.GaussianBlur(generator.normal(size=(150, 200)), (0, 0), 5)
    pixels = ((tone - tone.min()) / np.ptp(tone) * 255).astype(np.uint8)
    for _ in range(25):
        x, y = int(generator.integers(0, 180)), int(generator.integers(0, 130))
        cv2.circle(pixels, (x, y), int(generator.integers(4, 18)), int(generator.integers(256)), -1)
    Image.fromarray(pixels).save(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Pictures in two folders, one of them twice, and a file that is none."""
    top = tmp_path_factory.mktemp("pictures")
    (top / "more").mkdir()
    for number in range(COUNT):
        write_picture((top / "more" if number % 2 else top) / f"{number:02}.png", seed=number)
    (top / "again.png").write_bytes((top / "00.png").read_bytes())
    (top / "broken.jpg").write_bytes(b"no picture")
    (top / "notes.txt").write_text("no picture either")
    return top


@pytest.fixture(scope="module")
def version() -> Version:
    return Version(name="starter/1", model=Model.load(STARTER), weights="starter")


def test_pictures_of_a_folder(folder, tmp_path):
    found = read_collection(folder)
    assert len(found.paths) == COUNT + 1
    assert [name for name, _ in found.left_out] == ["broken.jpg"]
    twice = [
        found.groups[row] for row, path in enumerate(found.paths) if path.stem in ("00", "again")
    ]
    assert twice[0] == twice[1], "equal bytes are the same picture"
    assert len(set(found.groups.tolist())) == COUNT
    other = tmp_path / "other"
    other.mkdir()
    write_picture(other / "x.png", seed=99)
    both = read_collection(folder, distractors=[other], limit=5)
    assert len(both.paths) + len(both.left_out) == 6
    assert both.sources.tolist() == [True] * (len(both.paths) - 1) + [False]
    with pytest.raises(errors.InvalidArgument, match="holds no pictures"):
        read_collection(tmp_path / "other" / "x.png")


def test_groups_of_an_archive_are_known(folder, tmp_path):
    for number in (1, 3, 5):
        name = f"{number:02}.png"
        (tmp_path / name).write_bytes((folder / "more" / name).read_bytes())
    rows = ["image_id,file,journal,date", *(f"{n},0{n}.png,J{n},1900" for n in (1, 3, 5))]
    (tmp_path / "manifest.csv").write_text("\n".join(rows) + "\n")
    group = {
        "group": "g",
        "members": ["1", "5"],
        "links": [{"a": "1", "b": "5"}],
        "composite": False,
    }
    (tmp_path / "groups.json").write_text(json.dumps([group]))
    groups = read_collection(tmp_path).groups
    assert groups[0] == groups[2] != groups[1]


def test_a_plan_keeps_its_promises(folder):
    pictures = read_collection(folder)
    plan = plan_of(pictures, sources=20, conditions=conditions_of(["crop"]), seed=1)
    drawn = [*plan.positives, *plan.others]
    assert len(set(pictures.groups[drawn].tolist())) == len(drawn), "one of each group"
    assert set(plan.positives) <= set(plan.gallery)
    assert not set(plan.others) & set(plan.gallery)
    away = pictures.groups[list(plan.others)]
    assert not np.isin(pictures.groups[list(plan.gallery)], away).any(), "nor their copies"
    assert len(plan.gallery) >= 11 * len(plan.positives)
    assert len(drawn) < 20, "fewer than asked for: the folder is small"
    assert plan == plan_of(pictures, sources=20, conditions=conditions_of(["crop"]), seed=1)
    few = read_collection(folder, limit=8)
    with pytest.raises(errors.InvalidArgument, match="--distractors"):
        plan_of(few, sources=5, conditions=conditions_of())


def test_three_queries_in_ten_have_no_match(folder):
    pictures = read_collection(folder)
    many = replace(
        pictures,
        paths=pictures.paths * 8,
        digests=tuple(str(number) for number in range(8 * len(pictures.paths))),
        groups=np.arange(8 * len(pictures.paths)),
        sources=np.ones(8 * len(pictures.paths), dtype=bool),
    )
    plan = plan_of(many, sources=20, conditions=conditions_of())
    assert (len(plan.positives), len(plan.others)) == (14, 6)


def test_conditions_by_name_and_strength():
    assert conditions_of(["mirror", "crop"], strengths=[4]) == (("crop", 4), ("mirror", 4))
    assert len(conditions_of()) == 66
    with pytest.raises(errors.InvalidArgument, match="no transformation 'sepia'"):
        conditions_of(["sepia"])
    with pytest.raises(errors.InvalidArgument, match="such a strength"):
        conditions_of(["negative"], strengths=[2])


def test_a_run_finds_what_is_there_and_repeats_itself(folder, version, tmp_path):
    pictures = read_collection(folder)
    conditions = (("crop", 1), ("rotation", 3), ("mirror", 1))
    plan = plan_of(pictures, sources=20, conditions=conditions, seed=2)
    told: dict[str, int] = {}

    def note(text, total):
        told[text] = -total
        return lambda count: told.__setitem__(text, told[text] + count)

    found = benchmark.run(plan, versions=[version], cache=tmp_path / "cache", note=note)
    assert set(told.values()) == {0}, "all of every stage"
    summary = summarise(found)
    assert list(summary["systems"]) == [
        "pHash",
        "PDQ",
        "starter/1, descriptor alone",
        "starter/1, verified",
    ]
    verified = summary["systems"]["starter/1, verified"]
    assert verified["all"]["recall_at_1"] == 1.0
    assert verified["threshold"] == 0.9
    for name in ("crop", "rotation", "mirror"):
        assert verified["transformations"][name]["all"]["corner_error_mean"] < 0.01, name
    assert summary["systems"]["pHash"]["transformations"]["mirror"]["all"]["recall_at_1"] == 1.0
    assert summary["distractors_per_positive"] >= 10
    json.dumps(summary, allow_nan=False)
    assert len(list((tmp_path / "cache").iterdir())) == 2
    again = benchmark.run(plan, versions=[version], cache=tmp_path / "cache")
    assert summarise(again) == summary, "also from what was kept"


def test_what_is_kept_is_what_was_made(folder, tmp_path):
    pictures = read_collection(folder, limit=4)
    made = gallery.fingerprints(pictures, cache=tmp_path)
    kept = gallery.fingerprints(pictures, cache=tmp_path)
    for first, second in zip(made, kept, strict=True):
        np.testing.assert_array_equal(first.features.descriptors, second.features.descriptors)
        np.testing.assert_array_equal(first.words[False].indices, second.words[False].indices)
        np.testing.assert_array_equal(first.words[False].values, second.words[False].values)
        np.testing.assert_array_equal(first.features.points, second.features.points)
    other = read_collection(folder, limit=7)
    assert len(gallery.fingerprints(other, cache=tmp_path)) == len(other.paths)


def test_the_cache_knows_every_module_that_makes_a_fingerprint():
    """Those that `fingerprint` and `images` import in these rooms, and what those import."""
    waiting, reached = ["halftone.matching.fingerprint", "halftone.imaging.images"], set()
    while waiting:
        name = waiting.pop()
        if name in reached:
            continue
        reached.add(name)
        tree = ast.parse(Path(importlib.util.find_spec(name).origin).read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                named = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
                waiting += [
                    found
                    for found in named
                    if re.fullmatch(r"halftone\.(imaging|matching)(\.formats)?\.\w+", found)
                ]
    assert reached == set(gallery.MAKERS)


def test_descriptors_are_kept_apart_by_what_is_done_before_the_network(folder, version, tmp_path):
    pictures = read_collection(folder, limit=3)

    def embedded(model):
        return gallery.descriptors(model, pictures=pictures, weights="one", cache=tmp_path)

    model, seen = version.model, embedded(version.model)
    trimmed = replace(model.spec.preprocessing, trim=0.3, trim_tolerance=120)
    other = Model(replace(model.spec, preprocessing=trimmed), network=model.network)
    assert not np.array_equal(embedded(other), seen)
    np.testing.assert_array_equal(embedded(model), seen)


def test_failures_come_by_gravity(folder, version):
    plan = plan_of(read_collection(folder), sources=3, conditions=(("crop", 5),), seed=2)
    found = benchmark.run(plan, versions=[version])
    wrong = failures(found, system="pHash", transformation="crop")
    assert wrong, "a tenth of a picture is beyond pHash"
    described = summarise(found)["systems"]["pHash"]["failures"]
    assert described[0]["strength"] == "10%"
    assert described[0]["found_first"] in {path.name for path in found.plan.pictures.paths}


def test_rankings_leave_out_other_printings_and_break_ties_against_the_match():
    query = PressQuery(
        image=Image.new("L", (8, 8)), fingerprint=None, views={}, truth=1, without=[3]
    )
    found = rank_by(np.array([0.5, 0.5, 0.7, 0.9]), query=query)
    assert found.rows.tolist() == [2, 0, 1]


def test_phash_knows_a_turned_and_a_paler_picture(folder):
    pictures = read_collection(folder)
    system = PerceptualHash([hash_input(pictures.picture(row)) for row in range(10)])
    pale = pictures.picture(4).point([100 + level // 3 for level in range(256)])
    turned = pale.transpose(Image.Transpose.ROTATE_90)
    query = PressQuery(image=turned, fingerprint=None, views={}, truth=4, without=[])
    found = system.search(query)
    assert found.rows[0] == 4
    assert found.scores[0] > 0.8 > found.scores[1]
