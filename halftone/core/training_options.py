"""Defines every option of the training loop once: name, type, default, limits, help and group.

Three forms are derived from `LoopOptions`:

- `halftone.core.training.TrainingOptions` checks what a training job may set (gRPC and Celery),
  and gives the JSON schema its texts;
- `halftone.services.trainer.loop.config.TrainingConfig` is a run's settings, as the worker hands
  them to the loop in a JSON file;
- the loop's command line is generated from the fields of `TrainingConfig`.

Fields stand in the order of the command line. Needs no torch.
"""
# ruff: noqa: RUF009  # `_option` and `_setting` are `dataclasses.field` with the metadata checked

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field

from halftone.core.backbones import Backbone  # noqa: TC001  # pydantic reads the annotations

if TYPE_CHECKING:
    from collections.abc import Mapping

_FEWEST: Final = 2  # groups of a batch, and pictures of a group
_MOST_HELD_OUT: Final = 0.9

Objective = Literal["self_supervised", "classification", "metric"]
MetricLoss = Literal["multi_similarity", "supervised_contrastive"]
Balance = Literal["none", "inverse", "effective", "sampling"]
Group = Literal[
    "run", "data", "steps", "loss", "validation", "parent", "network", "printing", "process"
]

GROUPS: Final[tuple[Group, ...]] = typing.get_args(Group)
"""The groups of options, in the order in which a job's options are listed."""


def _setting(default: Any, text: str, *, group: Group, shapes: bool = True) -> Any:
    """Define a field of the loop that a job cannot set by name.

    Args:
        default: Its value if nothing is given.
        text: The help text in the loop's `--help`.
        group: One of `GROUPS`.
        shapes: Whether a run that resumes must have the same value.
    """
    metadata = {"help": text, "group": group, "shapes": shapes, "job": False, "limits": {}}
    return field(default=default, metadata=metadata)


def _option(
    default: Any,
    text: str,
    *,
    group: Group,
    shapes: bool = True,
    **limits: float,
) -> Any:
    """Define a field of the loop that a job may set, in `options`.

    Args:
        default: Its value if nothing is given.
        text: The text in the loop's `--help`, the JSON schema and the documentation.
        group: One of `GROUPS`.
        shapes: Whether a run that resumes must have the same value.
        limits: The bounds of a job's value, as pydantic names them: `ge`, `gt`, `le`, `lt`,
            `min_length`.
    """
    metadata = {"help": text, "group": group, "shapes": shapes, "job": True, "limits": limits}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class LoopOptions:
    """The options of a training run, with the loop's defaults."""

    objective: Objective = _setting("self_supervised", "what the network learns", group="run")
    data: tuple[Path, ...] = _setting(
        (),
        "folders with manifest.csv, manifests, or wide tables (a reference, its similar ones)",
        group="data",
    )
    roots: tuple[Path, ...] = _setting(
        (),
        "directories out of which no manifest may name a file; none: anywhere",
        group="data",
        shapes=False,
    )
    group_column: str = _option(
        "group",
        "column of a manifest that names the group; a folder may have groups.json instead",
        group="data",
        min_length=1,
    )
    init: str = _setting(
        "", 'what to start from: "imagenet" or a version NAME/NUMBER; random', group="run"
    )
    weights: Path | None = _setting(
        None,
        "file with ImageNet weights, if they are neither installed nor to be downloaded",
        group="run",
        shapes=False,
    )
    work: Path = _setting(Path("run"), "checkpoint, splits and lock", group="run", shapes=False)
    models: Path = _setting(Path("models"), "registry to publish to", group="run", shapes=False)
    name: str = _setting("model", "name to publish under", group="run", shapes=False)
    version: int | None = _setting(
        None, "number to publish; the next one if none", group="run", shapes=False
    )
    evaluate_on: Path | None = _setting(
        None,
        "archive with groups.json to evaluate on; never trained on",
        group="data",
        shapes=False,
    )
    job: str = _setting(
        "", "id of the job this run belongs to; published once", group="run", shapes=False
    )
    seed: int = _option(0, "of every random choice", group="run", ge=0, lt=2**63)

    epochs: float = _setting(0.0, "length of the run in epochs; 0: not by epochs", group="steps")
    steps: int = _setting(0, "length of the run in steps; 0: not by steps", group="steps")
    time_limit: float = _setting(
        0.0, "length in minutes, shapes the schedule; 0: not by time", group="steps"
    )
    batch: int = _option(64, "pictures per step", group="steps", ge=2, le=65536)
    accumulate: int = _option(
        1, "parts of a batch, taken one after the other; saves memory", group="steps", ge=1, le=4096
    )
    per_group: int = _option(
        2, "pictures of each group in a batch, labelled objectives", group="steps", ge=2, le=1024
    )
    learning_rate: float = _option(1e-3, "of the backbone, at its peak", group="steps", gt=0, le=10)
    head_learning_rate: float = _option(3e-4, "of the projection", group="steps", gt=0, le=10)
    proxy_learning_rate: float = _option(
        1e-3, "of the pictures' proxies, self-supervised", group="steps", gt=0, le=10
    )
    weight_decay: float = _option(0.02, "of the network's weights", group="steps", ge=0, le=1)
    warmup: int = _option(100, "steps until the peak", group="steps", ge=1)
    clip: float = _option(5.0, "largest norm of the gradient", group="steps", gt=0)
    average: float = _option(0.998, "decay of the averaged weights", group="steps", ge=0, lt=1)

    scale: float = _option(
        20.0, "inverse temperature of the softmax over pictures", group="loss", gt=0, le=1000
    )
    margin: float = _option(
        0.1,
        "by which a printing must prefer its own picture, self-supervised",
        group="loss",
        ge=0,
        le=1,
    )
    unified: float = _option(
        0.5,
        "weight of the loss against one threshold for all pictures, self-supervised",
        group="loss",
        ge=0,
    )
    same_above: float = _option(
        0.9,
        "initial cosine from which pictures may be copies, self-supervised",
        group="loss",
        ge=0,
        le=1,
    )
    koleo: float = _option(0.0, "weight of the entropy term, self-supervised", group="loss", ge=0)
    metric_loss: MetricLoss = _option(
        "multi_similarity", "loss of the objective metric", group="loss"
    )
    hard_negatives: int = _option(
        64, "closest others from memory per picture, metric", group="loss", ge=0, le=65536
    )
    balance: Balance = _option(
        "effective", "of unequal classes by weights or by sampling, classification", group="loss"
    )

    validation: int = _option(
        400,
        "most pictures held out, self-supervised; never above a fifth",
        group="validation",
        ge=0,
    )
    validation_share: float = _option(
        0.15, "of the groups, held out to stop and to choose by", group="validation", ge=0, lt=1
    )
    test_share: float = _option(
        0.15, "of the groups, held out for the final figures", group="validation", ge=0, lt=1
    )
    splits: Path | None = _option(
        None,
        "`splits.json` of an earlier run, below the data roots, to split alike",
        group="validation",
        min_length=1,
    )
    validate_epochs: float = _option(
        0.0,
        "epochs between validations; 0: one with labels, else by the clock",
        group="validation",
        ge=0,
    )
    patience: int = _option(
        0, "validations without a better one until it stops; 0: never", group="validation", ge=0
    )

    part: float = _option(
        0.0, "probability of a printing of a part of the picture", group="printing", ge=0, le=1
    )
    part_side: float = _option(
        0.3, "smallest share of a side of such a part", group="printing", gt=0, le=0.75
    )
    composite: float = _option(
        0.05, "probability of a plate shared with another picture", group="printing", ge=0, le=1
    )
    mirror: float = _option(0.0, "probability of a mirrored printing", group="printing", ge=0, le=1)
    dot_gain: float = _option(0.0, "probability of ink that spreads", group="printing", ge=0, le=1)
    bilevel: float = _option(
        0.0, "probability of a printing in black and white alone", group="printing", ge=0, le=1
    )
    show_through: float = _option(
        0.0, "probability of the other side shining through", group="printing", ge=0, le=1
    )

    init_rate: float = _option(
        0.1, "share of the rates for a run with a parent", group="parent", gt=0, le=1
    )
    layer_decay: float = _option(
        0.5, "of the rate per stage towards the input, with a parent", group="parent", gt=0, le=1
    )
    freeze_epochs: float = _option(
        1.0, "in which the backbone keeps still, with a parent", group="parent", ge=0
    )
    frozen_stages: int = _option(
        0,
        "first stages that keep still throughout, with the stem, with a parent; saves time",
        group="parent",
        ge=0,
        le=4,
    )
    norms: Literal["train", "keep"] = _option(
        "train", "statistics of batch norm, with a parent", group="parent"
    )

    backbone: Backbone = _setting(
        "resnet18", "the network; this and below: of the parent", group="network"
    )
    stages: int = _option(3, "stages of the backbone to run, of four", group="network", ge=1, le=4)
    pooled_stages: tuple[int, ...] = _option(
        (), "stages to pool, in gRPC as `2,3`; the last one if none", group="network"
    )
    size: int = _option(112, "side of the input in pixels", group="network", ge=16, le=1024)
    trim: float = _option(
        0.0, "most of a side to cut off as paper margin", group="network", ge=0, lt=0.5
    )
    grid: int = _option(4, "cells per side of the pooled layout", group="network", ge=1, le=16)
    grids: tuple[int, ...] = _option(
        (), "cells for each pooled stage, in gRPC as `4,1`; grid if none", group="network"
    )
    gem: float = _option(
        1.0, "exponent of the pooling; 1 is the average", group="network", ge=1, le=16
    )
    thumbnail: int = _option(
        16, "side of the low-pass picture beside the features; 0: none", group="network", ge=0
    )
    dimension: int = _option(512, "of the descriptor", group="network", ge=2, le=4096)
    frequencies: int = _option(
        16,
        "lowest frequencies per direction that join the descriptor; 0: none",
        group="network",
        ge=0,
        le=128,
        shapes=False,
    )
    background: int = _option(
        2048,
        "most centres of the background suppression; 0: none",
        group="network",
        ge=0,
        shapes=False,
    )

    precision: Literal["fp32", "bf16"] = _option(
        "fp32", "on the CPU; CUDA always has bf16", group="process"
    )
    threads: int = _option(
        0, "of torch on the CPU; 0 is its own choice", group="process", ge=0, le=1024, shapes=False
    )
    report_seconds: float = _setting(30.0, "between progress lines", group="process", shapes=False)
    validate_seconds: float = _option(
        600.0, "between validations by the clock", group="process", gt=0, shapes=False
    )
    checkpoint_seconds: float = _option(
        300.0, "between checkpoints", group="process", ge=0.1, shapes=False
    )
    command: str = _setting("", "recorded in the spec", group="process", shapes=False)

    @property
    def labelled(self) -> bool:
        """Whether the objective learns from groups."""
        return self.objective != "self_supervised"

    @property
    def draws_groups(self) -> bool:
        """Whether steps draw groups, all equally often, rather than pictures."""
        return self.objective == "metric" or (
            self.objective == "classification" and self.balance == "sampling"
        )

    def find_contradiction(self) -> tuple[str, str] | None:
        """Return the name of an option that does not go with the others, and a sentence about it.

        Returns None if they go together.
        """
        pooled = self.pooled_stages or (self.stages,)
        problems = {
            "accumulate": self._find_uneven_part(),
            "per_group": self.labelled
            and (self.per_group < _FEWEST or self.batch < _FEWEST * self.per_group)
            and f"A batch of {self.batch} with {self.per_group} pictures of each group does not "
            "hold at least two groups of at least two pictures.",
            "validation_share": self.validation_share + self.test_share > _MOST_HELD_OUT
            and "validation_share and test_share leave too little to train on: together they are "
            f"at most {_MOST_HELD_OUT}.",
            "pooled_stages": not set(pooled) <= set(range(1, self.stages + 1))
            and f"pooled_stages must lie between 1 and stages, {self.stages}.",
            "grids": self.grids
            and (len(self.grids) != len(pooled) or min(self.grids) < 1)
            and f"grids must give at least 1 for each of the {len(pooled)} pooled stages.",
        }
        return next(((name, text) for name, text in problems.items() if text), None)

    def _find_uneven_part(self) -> str:
        part, rest = divmod(self.batch, max(self.accumulate, 1))
        if rest or self.accumulate < 1:
            return f"A batch of {self.batch} cannot be divided into {self.accumulate} parts."
        if self.labelled and part % max(self.per_group, 1):
            return (
                f"Each part of a batch, {part} pictures, must hold whole groups of "
                f"{self.per_group}."
            )
        return ""


def fill_in(options: Mapping[str, Any], **settings: Any) -> LoopOptions:
    """Return the options of a job, with the loop's defaults where it sets none.

    Args:
        options: The values by name. None stands for the default.
        settings: Settings that a job has elsewhere, for example `objective`.
    """
    given = {name: value for name, value in options.items() if value is not None}
    return LoopOptions(**{**given, **settings})


def job_fields() -> dict[str, tuple[Any, Any]]:
    """Return the options that a job may set, as `pydantic.create_model` takes them.

    All of them may be left out; the loop's default holds then. A path travels as text, and a list
    may be given as text with commas, since gRPC's options are a map of texts.
    """
    hints = typing.get_type_hints(LoopOptions)
    options = [entry for entry in dataclasses.fields(LoopOptions) if entry.metadata["job"]]
    options.sort(key=lambda entry: GROUPS.index(entry.metadata["group"]))
    return {
        entry.name: (
            _job_type(hints[entry.name]),
            Field(default=None, description=entry.metadata["help"], **entry.metadata["limits"]),
        )
        for entry in options
    }


def _job_type(hint: Any) -> Any:
    """Return the type of a job's option: the loop's, or None."""
    if hint in (Path, Path | None):
        return str | None
    if typing.get_origin(hint) is tuple:
        return Annotated[hint | None, BeforeValidator(_split)]
    return hint | None


def _split(value: object) -> object:
    """Split `2,3` into a list; return anything but text as it is."""
    return [part for part in value.split(",") if part] if isinstance(value, str) else value
