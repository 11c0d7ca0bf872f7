"""What a training job may be told."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from halftone.core import errors, training
from halftone.core.training_options import LoopOptions
from halftone.v1 import trainer_pb2

ROOT = Path(__file__).parents[3]
GOOD = {"objective": "metric", "datasets": ["a"], "model_name": "press", "steps": 5}


def test_text_and_json_are_the_same_specification():
    options = {"batch": "64", "learning_rate": "1e-4", "pooled_stages": "2,3", "precision": "bf16"}
    values = {**GOOD, "parent": "starter/4", "promote": True, "options": options}
    spec = training.parse_spec(values)
    assert spec.options.batch == 64
    assert spec.options.pooled_stages == (2, 3)
    assert training.spec_from_message(spec.to_message()) == spec
    assert training.parse_spec(json.loads(json.dumps(spec.to_json()))) == spec
    assert spec.to_json()["options"]["learning_rate"] == 1e-4


def test_what_is_not_given_is_not_told():
    assert training.parse_spec(GOOD).to_json() == {**GOOD}
    message = trainer_pb2.TrainingSpec(datasets=["a"], model_name="press", steps=5)
    with pytest.raises(errors.InvalidArgument) as caught:
        training.spec_from_message(message)
    assert caught.value.field == "spec.objective"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"objective": "guess"}, "spec.objective"),
        ({"datasets": []}, "spec.datasets"),
        ({"datasets": "a"}, "spec.datasets"),
        ({"datasets": ["a", 3]}, "spec.datasets[1]"),
        ({"model_name": "../x"}, "spec.model_name"),
        ({"model_name": "a\n"}, "spec.model_name"),
        ({"parent": "starter"}, "spec.parent"),
        ({"parent": "starter/1", "backbone": "resnet50"}, "spec.backbone"),
        ({"parent": "starter/1", "initial_weights": "imagenet"}, "spec.initial_weights"),
        ({"steps": 0}, "spec.steps"),
        ({"steps": -1}, "spec.steps"),
        ({"steps": 2**63}, "spec.steps"),
        ({"epochs": 3}, "spec.steps"),
        ({"epochs": float("nan")}, "spec.epochs"),
        ({"epoch": 3}, "spec.epoch"),
        ({"options": {"batch": "many"}}, "spec.options.batch"),
        ({"options": {"batch": 1}}, "spec.options.batch"),
        ({"options": {"work": "elsewhere"}}, "spec.options.work"),
        ({"options": {"pooled_stages": "2,x"}}, "spec.options.pooled_stages[1]"),
        ({"options": {"accumulate": 7}}, "spec.options.accumulate"),
    ],
)
def test_the_wrong_field_is_named(changes, field):
    with pytest.raises(errors.InvalidArgument) as caught:
        training.parse_spec({**GOOD, **changes})
    assert caught.value.field == field
    assert field in caught.value.message


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_name": "Mine"}, "it must be 1 to 63 lower-case letters"),
        ({"parent": "starter"}, "it must be a version's name/number, not starter."),
        ({"datasets": []}, "it must be a list of at least one, not []."),
        ({"options": {"batch": "1"}}, "it must be at least 2, not 1."),
        ({"options": {"learning_rate": "0"}}, "it must be more than 0, not 0."),
        ({"options": {"batch": "many"}}, "it must be a whole number, not many."),
        ({"options": {"scale": "nan"}}, "it must be a number, not nan."),
        ({"options": {"balance": "some"}}, "it must be none, inverse, effective or sampling, not"),
        ({"options": {"bach": 8}}, "there is no such setting. Did you mean batch?"),
        ({"options": {"batch": "9" * 5000}}, "not 9999"),
        ({"promote": "perhaps"}, "it must be true or false, not perhaps."),
        ({"options": {"accumulate": 7}}, "A batch of 64 cannot be divided into 7 parts."),
        ({"options": {"batch": 2, "per_group": 2}}, "does not hold at least two groups"),
        ({"options": {"batch": 66, "per_group": 4}}, "must hold whole groups of 4"),
        ({"options": {"validation_share": 0.6, "test_share": 0.5}}, "leave too little to train on"),
        ({"options": {"stages": 2, "pooled_stages": "2,3"}}, "must lie between 1 and stages, 2."),
    ],
)
def test_what_is_wrong_is_said_in_plain_words(changes, said):
    with pytest.raises(errors.InvalidArgument) as caught:
        training.parse_spec({**GOOD, **changes})
    assert said in caught.value.message
    assert len(caught.value.message) < 200


def test_data_lies_below_the_roots(tmp_path):
    for name in ("one/set", "two/other", "elsewhere"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "one" / "way-out").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "one" / "alias").symlink_to(tmp_path / "one" / "set")
    roots = (tmp_path / "one", tmp_path / "two")

    def find(path):
        return training.find_data(path, roots=roots, field="f")

    assert find("set") == tmp_path / "one" / "set"
    assert find("other") == tmp_path / "two" / "other"
    assert find("alias") == tmp_path / "one" / "set"
    assert find(str(tmp_path / "two" / "other")) == tmp_path / "two" / "other"
    for path, reason in (
        ("../elsewhere", "OUTSIDE_ROOTS"),
        ("way-out", "OUTSIDE_ROOTS"),
        ("/etc", "OUTSIDE_ROOTS"),
        ("missing", "DATASET_NOT_FOUND"),
        ("a\0b", "DATASET_NOT_FOUND"),
    ):
        with pytest.raises(errors.InvalidArgument) as caught:
            find(path)
        assert (caught.value.reason, caught.value.field) == (reason, "f")
    with pytest.raises(errors.InvalidArgument, match="DATA_ROOTS"):
        training.find_data("set", roots=(), field="f")


def test_the_published_schema_and_the_table_of_options_are_the_codes():
    published = json.loads((ROOT / "docs" / "training-job.schema.json").read_text())
    assert published == training.json_schema()
    page = (ROOT / "docs" / "api.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| ([^|]*?) \| ([^|]*?) \|$", page, re.MULTILINE)
    found = {name: (default, text) for name, default, text in rows}
    defaults = LoopOptions()
    for name, field in training.TrainingOptions.model_fields.items():
        default = getattr(defaults, name)
        shown = "" if default in (None, ()) else f"`{default}`"
        assert found[name] == (shown, field.description)


def test_a_job_may_give_every_default_of_the_loop():
    """The limits of an option hold its default, and both have the same type."""
    defaults = {
        name: str(value) if isinstance(value, Path) else value
        for name, value in vars(LoopOptions()).items()
        if name in training.TrainingOptions.model_fields
    }
    assert vars(training.TrainingOptions(**defaults)) == defaults
    as_text = {
        name: ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        for name, value in defaults.items()
        if value not in (None, ())
    }
    spec = training.parse_spec({**GOOD, "options": as_text})
    assert spec.options.model_dump(exclude_none=True).items() <= defaults.items()


def test_what_the_worker_decides_is_no_option_of_a_job():
    hidden = {"data", "roots", "work", "models", "job", "command", "weights", "name", "version"}
    assert hidden <= {entry.name for entry in dataclasses.fields(LoopOptions)}
    assert not hidden & set(training.TrainingOptions.model_fields)


def test_jobs_are_checked_without_torch():
    code = "import sys, halftone.core.training; print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert found.stdout.strip() == b"False"
