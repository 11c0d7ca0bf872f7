"""The settings of a training run; the command line is generated from them."""
# ruff: noqa: RUF009  # `_setting` is `dataclasses.field` with the metadata spelt shorter

from __future__ import annotations

import argparse
import dataclasses
import json
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from halftone.vision.network import Backbone, NetworkSpec
from halftone.vision.preprocessing import Preprocessing
from halftone.vision.simulation import PrintParameters

if TYPE_CHECKING:
    from collections.abc import Sequence


def _setting(default: Any, text: str, *, shapes: bool = True) -> Any:
    """A field. `shapes` is false where a resumed run may have another value."""
    return field(default=default, metadata={"help": text, "shapes": shapes})


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """One run. Every field is an option of the command with the same name."""

    data: tuple[Path, ...] = _setting((), "folders with manifest.csv, without labels")
    work: Path = _setting(Path("run"), "checkpoint, log and staging", shapes=False)
    models: Path = _setting(Path("models"), "registry to publish to", shapes=False)
    name: str = _setting("model", "name to publish under", shapes=False)
    version: int | None = _setting(None, "number to publish; the next one if none", shapes=False)
    evaluate_on: Path | None = _setting(
        None, "archive with groups.json to evaluate on; never trained on", shapes=False
    )
    seed: int = _setting(0, "of every random choice")

    steps: int = _setting(0, "length of the run in steps; 0: by time")
    time_limit: float = _setting(0.0, "length in minutes, shapes the schedule; 0: by steps")
    batch: int = _setting(64, "pictures per step")
    learning_rate: float = _setting(1e-3, "of the backbone, at its peak")
    head_learning_rate: float = _setting(3e-4, "of the projection")
    proxy_learning_rate: float = _setting(1e-3, "of the pictures' proxies")
    weight_decay: float = _setting(0.02, "of the network's weights")
    warmup: int = _setting(100, "steps until the peak")
    clip: float = _setting(5.0, "largest norm of the gradient")
    average: float = _setting(0.998, "decay of the averaged weights")
    scale: float = _setting(20.0, "inverse temperature of the softmax over pictures")
    margin: float = _setting(0.1, "by which a printing must prefer its own picture")
    unified: float = _setting(0.5, "weight of the loss against one threshold for all pictures")
    same_above: float = _setting(0.9, "initial cosine from which pictures may be copies")
    validation: int = _setting(400, "pictures held out for validation")

    backbone: Backbone = _setting("resnet18", "of torchvision, from random weights")
    stages: int = _setting(3, "ResNet stages to run")
    pooled_stages: tuple[int, ...] = _setting((), "stages to pool; the last one if none")
    size: int = _setting(112, "side of the input in pixels")
    trim: float = _setting(0.0, "most of a side to cut off as paper margin")
    grid: int = _setting(4, "cells per side of the pooled layout")
    gem: float = _setting(1.0, "exponent of the pooling; 1: average")
    thumbnail: int = _setting(16, "side of the low-pass picture beside the features; 0: none")
    dimension: int = _setting(512, "of the descriptor")
    frequencies: int = _setting(
        16, "lowest frequencies per direction that join the embedding; 0: none", shapes=False
    )
    background: int = _setting(
        2048, "most centres of the background suppression; 0: none", shapes=False
    )

    precision: Literal["fp32", "bf16"] = _setting("fp32", "on the CPU; CUDA always has bf16")
    threads: int = _setting(0, "of torch; 0: its own choice", shapes=False)
    report_seconds: float = _setting(30.0, "between progress lines", shapes=False)
    validate_seconds: float = _setting(600.0, "between validations", shapes=False)
    checkpoint_seconds: float = _setting(300.0, "between checkpoints", shapes=False)
    command: str = _setting("", "recorded in the spec", shapes=False)

    @property
    def network(self) -> NetworkSpec:
        """The network to train; `finish` adds low frequencies and a background."""
        return NetworkSpec(
            backbone=self.backbone,
            stages=self.stages,
            pooled_stages=self.pooled_stages or (self.stages,),
            grid=self.grid,
            gem=self.gem,
            thumbnail=self.thumbnail,
            width=self.dimension,
            dimension=self.dimension,
            contrast="local",
        )

    @property
    def preprocessing(self) -> Preprocessing:
        """How the published version prepares pictures."""
        return Preprocessing(size=self.size, trim=self.trim)

    @property
    def printing(self) -> PrintParameters:
        """What the press simulation does."""
        return PrintParameters()

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values, for the spec."""
        values = dataclasses.asdict(self) | {"printing": self.printing.to_dict()}
        return typing.cast("dict[str, Any]", json.loads(json.dumps(values, default=str)))

    def identity(self) -> str:
        """The settings that a resumed run must share, as text."""
        values = self.to_dict()
        names = [entry.name for entry in dataclasses.fields(self) if entry.metadata["shapes"]]
        return json.dumps({name: values[name] for name in [*names, "printing"]}, sort_keys=True)


def parse(arguments: Sequence[str], *, command: str = "") -> TrainingConfig:
    """Read the command line. Exits with a message when it is wrong, as argparse does."""
    parser = argparse.ArgumentParser(
        prog="python -m services.trainer.train",
        description="Train a descriptor network on unlabelled pictures and publish it.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    hints = typing.get_type_hints(TrainingConfig)
    for entry in dataclasses.fields(TrainingConfig):
        if entry.name == "command":
            continue
        parser.add_argument(
            f"--{entry.name.replace('_', '-')}",
            default=entry.default,
            help=entry.metadata["help"],
            **_kind(hints[entry.name]),
        )
    values = vars(parser.parse_args(arguments))
    if not values["data"]:
        parser.error("--data: name at least one folder")
    if not values["steps"] and not values["time_limit"]:
        parser.error("give --steps or --time-limit")
    values = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
    config = TrainingConfig(**values, command=command)
    try:
        config.network, config.preprocessing  # noqa: B018  # their own checks
    except ValueError as error:
        parser.error(str(error))
    return config


def _kind(hint: Any) -> dict[str, Any]:
    """How argparse reads a field of this type."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return {"choices": inner}
    if origin is tuple:
        return {"type": inner[0], "nargs": "+"}
    if origin in (types.UnionType, typing.Union):
        return {"type": next(kind for kind in inner if kind is not type(None))}
    return {"type": hint}
