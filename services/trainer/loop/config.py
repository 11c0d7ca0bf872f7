"""The settings of a training run, its command line and its JSON file."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import types
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from halftone.core import errors, files
from halftone.core.training_options import LoopOptions
from halftone.vision.network_spec import NetworkSpec
from halftone.vision.preprocessing import Preprocessing
from halftone.vision.simulation import PrintParameters

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(LoopOptions):
    """The settings of one run: the fields of `LoopOptions`, each an option of the command."""

    @property
    def network(self) -> NetworkSpec:
        """The network to train. Low frequencies and a background are fitted at the end."""
        return NetworkSpec(
            backbone=self.backbone,
            stages=self.stages,
            pooled_stages=self.pooled_stages or (self.stages,),
            grid=self.grid,
            grids=self.grids,
            gem=self.gem,
            thumbnail=self.thumbnail,
            width=self.dimension,
            dimension=self.dimension,
            contrast="local",
        )

    @property
    def preprocessing(self) -> Preprocessing:
        """The preprocessing of the published version."""
        return Preprocessing(size=self.size, trim=self.trim)

    @property
    def printing(self) -> PrintParameters:
        """The limits of the press simulation."""
        return PrintParameters(
            part=self.part,
            part_side=self.part_side,
            composite=self.composite,
            mirror=self.mirror,
            dot_gain=self.dot_gain,
            bilevel=self.bilevel,
            show_through=self.show_through,
        )

    def steps_in(self, epochs: float, *, per_epoch: int) -> int:
        """Return the number of steps in `epochs` epochs of `per_epoch` steps, at least one."""
        return max(1, round(epochs * per_epoch))

    def validation_steps(self, *, per_epoch: int) -> int:
        """Return the number of steps between validations.

        It is 0 if they depend on the clock (`validate_seconds`). With labels, and when a run may
        stop early, they must not: a resumed run would validate at other steps and end with other
        weights.

        Args:
            per_epoch: The number of steps in an epoch.
        """
        if self.validate_epochs or self.labelled or self.patience:
            return self.steps_in(self.validate_epochs or 1.0, per_epoch=per_epoch)
        return 0

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON-ready values, for the spec."""
        values = dataclasses.asdict(self) | {"printing": self.printing.to_dict()}
        return typing.cast("dict[str, Any]", json.loads(json.dumps(values, default=str)))

    def identity(self) -> str:
        """Return, as text, the settings that a resumed run must share."""
        values = self.to_dict()
        names = [entry.name for entry in dataclasses.fields(self) if entry.metadata["shapes"]]
        return json.dumps({name: values[name] for name in [*names, "printing"]}, sort_keys=True)

    def continues(self, identity: str) -> bool:
        """Return whether a run with these settings can continue a run with another `identity()`.

        Settings that `identity` lacks are taken to have their default values.
        """
        defaults: dict[str, Any] = json.loads(TrainingConfig().identity())
        theirs: dict[str, Any] = json.loads(identity)
        printing = {**defaults["printing"], **theirs.get("printing", {})}
        mine: dict[str, Any] = json.loads(self.identity())
        return mine == {**defaults, **theirs, "printing": printing}

    def check(self) -> None:
        """Refuse settings that cannot work together.

        Raises:
            errors.InvalidArgument: Two settings contradict each other. The error names the field.
        """
        problems = {
            "data": not self.data and "Name at least one data set.",
            "steps": not (self.epochs or self.steps or self.time_limit)
            and "Give the length of the run: epochs, steps or time_limit.",
            "init": self.init not in ("", "imagenet")
            and "/" not in self.init
            and f'init is "imagenet" or a version NAME/NUMBER, not {self.init!r}.',
        }
        for name in ("epochs", "steps", "time_limit", "validation_share", "test_share", "patience"):
            problems[name] = problems.get(name) or (
                getattr(self, name) < 0 and f"{name} cannot be negative."
            )
        for name in ("batch", "learning_rate", "warmup", "clip", "dimension"):
            problems[name] = problems.get(name) or (
                getattr(self, name) <= 0 and f"{name} must be positive."
            )
        for name, problem in problems.items():
            if problem:
                raise errors.InvalidArgument(problem, field=name)
        contradiction = self.find_contradiction()
        if contradiction is not None:
            raise errors.InvalidArgument(contradiction[1], field=contradiction[0])
        try:
            self.network, self.preprocessing  # noqa: B018  # their own checks
        except ValueError as error:
            raise errors.InvalidArgument(str(error)) from error

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainingConfig:
        """Create the settings from a JSON object of fields.

        Raises:
            errors.InvalidArgument: A field is unknown, or its value has another type.
        """
        hints = typing.get_type_hints(cls)
        names = {entry.name for entry in dataclasses.fields(cls)}
        unknown = sorted(set(values) - names)
        if unknown:
            raise errors.InvalidArgument(
                f"There is no setting {', '.join(unknown)}.", field=unknown[0]
            )
        return cls(**{name: _convert(name, value, hints[name]) for name, value in values.items()})


def parse(arguments: Sequence[str], *, command: str = "") -> TrainingConfig:
    """Read the command line. Exits with a message when an option is unknown, as argparse does.

    Options override the file that `--config` names.

    Args:
        arguments: The arguments of the command.
        command: The command as text, which is recorded in the spec unless the file names another.

    Raises:
        errors.InvalidArgument: A value is wrong. The error names the setting.
    """
    parser = argparse.ArgumentParser(
        prog="python -m halftone.services.trainer.loop.train",
        description="Train a descriptor network and publish it.",
    )
    parser.add_argument("--config", type=Path, help="JSON object of these settings by name")
    parser.add_argument(
        "--events-fd", type=int, help="file descriptor that gets events, one JSON object a line"
    )
    hints = typing.get_type_hints(TrainingConfig)
    for entry in dataclasses.fields(TrainingConfig):
        if entry.name == "command":
            continue
        parser.add_argument(
            f"--{entry.name.replace('_', '-')}",
            default=argparse.SUPPRESS,
            help=f"{entry.metadata['help']} ({_show_default(entry.default)})".replace("%", "%%"),
            **_kind(hints[entry.name]),
        )
    given = vars(parser.parse_args(arguments))
    file = given.pop("config")
    given.pop("events_fd")
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in given.items()
    }
    config = TrainingConfig() if file is None else TrainingConfig.from_dict(_read(file))
    config = dataclasses.replace(config, **values)
    config = dataclasses.replace(config, command=config.command or command)
    config.check()
    return config


def _read(file: Path) -> dict[str, Any]:
    try:
        return files.read_object(file)
    except (OSError, errors.DataLoss) as error:
        raise errors.InvalidArgument(f"{file} cannot be read: {error}", field="config") from error


def _show_default(default: Any) -> str:
    if default is None or default in ("", ()):
        return "none"
    return " ".join(map(str, default)) if isinstance(default, tuple) else str(default)


def _convert(name: str, value: Any, hint: Any) -> Any:
    """Convert a JSON value to the type of a field."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    fits, result = False, value
    if origin is Literal:
        fits = value in inner
    elif origin is tuple:
        if isinstance(value, list):
            return tuple(_convert(name, item, inner[0]) for item in value)
    elif origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        return _convert(name, value, next(kind for kind in inner if kind is not type(None)))
    elif hint is Path:
        fits = isinstance(value, str) and value != ""
        result = Path(value) if fits else value
    elif hint is float:
        fits = isinstance(value, int | float) and not isinstance(value, bool)
        fits = fits and math.isfinite(value)
        result = float(value) if fits else value
    else:
        fits = isinstance(value, hint) and not isinstance(value, bool)
    if not fits:
        allowed = " or ".join(map(str, inner)) if origin is Literal else hint.__name__
        raise errors.InvalidArgument(f"{name} must be {allowed}, not {value!r}.", field=name)
    return result


def _kind(hint: Any) -> dict[str, Any]:
    """Return how argparse reads a field of a type."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return {"choices": inner}
    if origin is tuple:
        return {"type": inner[0], "nargs": "+"}
    if origin in (types.UnionType, typing.Union):
        return {"type": next(kind for kind in inner if kind is not type(None))}
    return {"type": hint}
