"""Checks the specification of a training job, from gRPC requests and Celery messages alike.

A job can be requested in two ways, by `TrainerService.CreateTrainingJob` and by a message on the
queue; both become a `TrainingSpec` here, with the same errors. `json_schema()` describes the
message for programs that have only JSON; docs/training-job.schema.json is a copy of it. The options
of a job are defined in `training_options`. Needs no torch.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from google.protobuf import json_format
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    create_model,
    model_validator,
)
from pydantic_core import PydanticCustomError

from halftone.core import errors, training_options
from halftone.core.backbones import Backbone  # noqa: TC001  # pydantic reads the annotations
from halftone.core.spelling import find_spelling
from halftone.v1 import trainer_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Self

    from pydantic_core import ErrorDetails

    from halftone.core.training_options import LoopOptions

TASK: Final = "halftone.train"
"""Name of the Celery task."""
QUEUE: Final = "halftone.training"
"""Name of the queue that the workers read."""

_JOB_PREFIX: Final = "trainingJobs/"
_REQUEST_ID: Final = r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}"
_MODEL_NAME: Final = r"^[a-z0-9][a-z0-9_-]{0,62}$"
_PARENT: Final = r"^([a-z0-9][a-z0-9_-]{0,62}/[1-9][0-9]{0,8})?$"
_PATTERNS: Final = {
    _MODEL_NAME: "1 to 63 lower-case letters, digits, - and _, beginning with a letter or digit",
    _PARENT: "a version's name/number",
}
_LIMITS: Final = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
# Keyed by the beginning of pydantic's name for the error.
_KINDS: Final = {
    "int_": "a whole number",
    "float_": "a number",
    "finite_": "a number",
    "bool_": "true or false",
    "string_": "a text",
    "too_short": "a list of at least one",
    "too_long": "a shorter list",
    "tuple_": "a list",
    "model_": "an object",
}
_SHOWN: Final = 60


class _JobOptions(BaseModel):
    """Settings of the training loop. What is not given takes the loop's default."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


if TYPE_CHECKING:

    class TrainingOptions(_JobOptions):
        """Settings of the training loop. What is not given takes the loop's default.

        The fields are those of `training_options.LoopOptions` that a job may set, each of the same
        type or None.
        """

        def __init__(self, **options: Any) -> None: ...
        def __getattr__(self, name: str) -> Any: ...

else:
    TrainingOptions = create_model(
        "TrainingOptions",
        __base__=_JobOptions,
        __doc__=_JobOptions.__doc__,
        __module__=__name__,
        **training_options.job_fields(),
    )


class TrainingSpec(BaseModel):
    """What to train, on which data, and how; the same fields as `halftone.v1.TrainingSpec`.

    Raises (when parsed with `parse_spec`):
        errors.InvalidArgument: Names the field.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    objective: Literal["classification", "metric", "self_supervised"] = Field(
        description="cross-entropy over the groups; pictures of one group attract, others repel; "
        "or no labels: two simulated printings of a picture attract"
    )
    datasets: tuple[str, ...] = Field(
        min_length=1,
        max_length=64,
        description="below the trainer's data roots: folders with a manifest.csv, manifests, or "
        "wide tables",
    )
    model_name: str = Field(
        pattern=_MODEL_NAME, description="published under it, with the next number"
    )
    parent: str = Field(
        default="", pattern=_PARENT, description="model version to start from, `name/version`"
    )
    initial_weights: Literal["", "random", "imagenet"] = Field(
        default="", description="only without a parent; random unless given"
    )
    backbone: Literal["", Backbone] = Field(default="", description="only without a parent")
    evaluation_archive: str = Field(
        default="", description="archive with groups.json below the data roots; never trained on"
    )
    epochs: float = Field(default=0.0, ge=0, description="length of the run, or:")
    steps: int = Field(default=0, ge=0, lt=2**63, description="length of the run, or:")
    time_limit_minutes: float = Field(default=0.0, ge=0, description="length of the run")
    options: TrainingOptions = Field(default=TrainingOptions(), description="of the loop, by name")
    promote: bool = Field(
        default=False, description="promote the version, unless it is worse than the active one"
    )

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        lengths = [
            name for name in ("epochs", "steps", "time_limit_minutes") if getattr(self, name)
        ]
        if len(lengths) != 1:
            raise _make_problem(
                lengths[1] if lengths else "steps",
                "give the length of the run as exactly one of epochs, steps and "
                "time_limit_minutes.",
            )
        for name in ("initial_weights", "backbone"):
            if self.parent and getattr(self, name):
                raise _make_problem(name, "the parent has its own; leave this out.")
        found = self.loop_options.find_contradiction()
        if found is not None:
            raise _make_problem(f"options.{found[0]}", found[1])
        return self

    @property
    def loop_options(self) -> LoopOptions:
        """Return the options with the loop's defaults where the job sets none."""
        return training_options.fill_in(dict(self.options), objective=self.objective)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as values for JSON, without fields that have their defaults."""
        found: dict[str, Any] = self.model_dump(mode="json", exclude_defaults=True)
        return found

    def to_message(self) -> trainer_pb2.TrainingSpec:
        """Return the protobuf message."""
        values = self.model_dump(mode="json", exclude={"options", "objective"})
        message: trainer_pb2.TrainingSpec = json_format.ParseDict(
            values, trainer_pb2.TrainingSpec()
        )
        objective = trainer_pb2.TrainingSpec.Objective.Value(self.objective.upper())
        message.objective = cast("trainer_pb2.TrainingSpec.Objective", objective)
        for name, value in self.options.model_dump(mode="json", exclude_none=True).items():
            text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
            message.options[name] = text
        return message


def parse_spec(values: object) -> TrainingSpec:
    """Check a job's specification.

    Args:
        values: The specification, as in JSON.

    Raises:
        errors.InvalidArgument: A value is wrong; `field` is the path of the first such value,
            beginning with `spec`.
    """
    try:
        return TrainingSpec.model_validate(values)
    except ValidationError as error:
        details = error.errors(include_url=False)[0]
        place = details.get("ctx", {}).get("field") or details["loc"]
        field = _path(place)
        raise errors.InvalidArgument(
            f"{field}: {_describe_problem(details)}", field=field
        ) from error


def spec_from_message(message: trainer_pb2.TrainingSpec) -> TrainingSpec:
    """Check the specification in a request.

    Raises:
        errors.InvalidArgument: A field is wrong; the error names it.
    """
    values: dict[str, Any] = {
        field.name: getattr(message, field.name)
        for field in message.DESCRIPTOR.fields
        if field.name not in {"objective", "datasets", "options"}
    }
    names = trainer_pb2.TrainingSpec.Objective
    if message.objective:
        known = names.DESCRIPTOR.values_by_number.get(message.objective)
        values["objective"] = known.name.lower() if known else str(message.objective)
    values["datasets"] = list(message.datasets)
    values["options"] = dict(message.options)
    return parse_spec(values)


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of the Celery task's keyword arguments."""
    spec = TrainingSpec.model_json_schema()
    definitions = spec.pop("$defs", {})
    for name in ("title", "description"):
        spec.pop(name, None)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Keyword arguments of the Celery task {TASK}",
        "type": "object",
        "properties": {
            "spec": {"$ref": "#/$defs/TrainingSpec"},
            "request_id": {
                "type": "string",
                "pattern": f"^{_REQUEST_ID}$",
                "description": "chosen by the caller: the job is trainingJobs/{request_id}, and "
                "sent again it is the same job; the message's task id where it is left out",
            },
        },
        "required": ["spec"],
        "additionalProperties": False,
        "$defs": {**definitions, "TrainingSpec": spec},
    }


def check_request_id(text: str) -> str:
    """Check the id that a caller chose for a job, and return it.

    Raises:
        errors.InvalidArgument: It has other characters than letters, digits, `_` and `-`.
    """
    if re.fullmatch(_REQUEST_ID, text) is None:
        raise errors.InvalidArgument(
            "A request id has 1 to 63 letters, digits, `_` and `-` and begins with none of the "
            "latter two; a UUID will do.",
            field="request_id",
        )
    return text


def job_name(job_id: str) -> str:
    """Return the resource name of a job."""
    return _JOB_PREFIX + job_id


def job_id(name: str) -> str:
    """Return the id in a job's resource name.

    Raises:
        errors.InvalidArgument: It is not such a name.
    """
    identifier = name.removeprefix(_JOB_PREFIX)
    if identifier == name or re.fullmatch(_REQUEST_ID, identifier) is None:
        raise errors.InvalidArgument(
            f"A job's name is {_JOB_PREFIX}ID, not {name!r}.", field="name"
        )
    return identifier


def find_data(path: str, *, roots: Sequence[Path], field: str) -> Path:
    """Return where a data set lies.

    Args:
        path: Relative to one of the roots, or absolute and below one.
        roots: Directories; neither `..` nor a symbolic link leads out of them.
        field: The field of the specification, for errors.

    Raises:
        errors.InvalidArgument: The path lies elsewhere, or nothing is there.
    """
    if not roots:
        raise errors.InvalidArgument(
            "The trainer has no data roots; set HALFTONE_TRAINER_DATA_ROOTS.",
            field=field,
            reason="NO_DATA_ROOTS",
        )
    outside = False
    for root in roots:
        top = root.resolve()
        try:
            # An absolute path replaces the root, and is checked like any other.
            candidate = find_spelling(top / path).resolve()
            exists = candidate.exists()
        except (OSError, ValueError):
            continue
        if not candidate.is_relative_to(top):
            outside = True
        elif exists:
            return candidate
    if outside:
        raise errors.InvalidArgument(
            f"{path} is not below the trainer's data roots.", field=field, reason="OUTSIDE_ROOTS"
        )
    raise errors.InvalidArgument(
        f"There is nothing named {path} below the trainer's data roots.",
        field=field,
        reason="DATASET_NOT_FOUND",
    )


def locate(spec: TrainingSpec, *, roots: Sequence[Path]) -> tuple[tuple[Path, ...], Path | None]:
    """Return where the data sets of a job lie, and where its evaluation archive lies.

    Args:
        spec: The specification of the job.
        roots: As in `find_data`.

    Returns:
        The paths of the data sets, and the path of the archive; None without one.

    Raises:
        errors.InvalidArgument: As in `find_data`.
    """
    datasets = tuple(
        find_data(path, roots=roots, field=f"spec.datasets[{index}]")
        for index, path in enumerate(spec.datasets)
    )
    archive = None
    if spec.evaluation_archive:
        archive = find_data(spec.evaluation_archive, roots=roots, field="spec.evaluation_archive")
    return datasets, archive


def as_message(spec: Mapping[str, Any]) -> trainer_pb2.TrainingSpec:
    """Convert a specification that may be wrong to a message.

    If it is wrong, only the fields that can be shown are filled in.
    """
    try:
        return parse_spec(spec).to_message()
    except errors.InvalidArgument:
        message = trainer_pb2.TrainingSpec()
        for name in ("model_name", "parent", "evaluation_archive"):
            if isinstance(spec.get(name), str):
                setattr(message, name, spec[name])
        datasets = spec.get("datasets")
        if isinstance(datasets, list):
            message.datasets.extend(item for item in datasets if isinstance(item, str))
        return message


def _make_problem(field: str, text: str) -> PydanticCustomError:
    return PydanticCustomError("disagrees", "{text}", {"text": text, "field": (field,)})


def _describe_problem(detail: ErrorDetails) -> str:
    """Say what is wrong with a field, in words that need no knowledge of the check."""
    kind, place, value = detail["type"], detail["loc"], detail["input"]
    if kind == "missing":
        return "it must be given."
    if kind == "extra_forbidden":
        if place[0] != "options":
            return "there is no such field."
        near = difflib.get_close_matches(str(place[-1]), TrainingOptions.model_fields)
        return "there is no such setting." + f" Did you mean {' or '.join(near)}?" * bool(near)
    wanted = _describe_wanted(kind, limits=detail.get("ctx", {}))
    if not wanted:
        return detail["msg"]
    shown = value if isinstance(value, str) and value.strip() == value != "" else repr(value)
    return f"it must be {wanted}, not {shown if len(shown) < _SHOWN else shown[:_SHOWN] + '…'}."


def _describe_wanted(kind: str, *, limits: Mapping[str, Any]) -> str:
    for name, words in _LIMITS.items():
        if name in limits:
            limit = limits[name]
            return f"{words} {f'{limit:g}' if isinstance(limit, float) else limit}"
    if kind == "literal_error":
        return str(limits["expected"]).replace("'", "")
    if kind == "string_pattern_mismatch":
        return _PATTERNS[limits["pattern"]]
    return next((words for begin, words in _KINDS.items() if kind.startswith(begin)), "")


def _path(place: Sequence[str | int]) -> str:
    path = "spec"
    for part in place:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    return path
