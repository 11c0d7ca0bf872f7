"""What is known of a model version: what it was trained on, how good it is, whose data it holds.

Read from its `spec.json` and `metrics.json`, as `Client.model_version` gives them. They are written
by the trainer of whatever release, or by hand: what is missing or of another kind is left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from halftone.client import ModelVersion

_MOST: Final = 50
_LONGEST: Final = 500
# Figures of the trainer that are no archive's.
_OTHERS: Final = frozenset(
    {"history", "calibration", "classification", "validation", "test", "parent"}
)


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """Data that a version was trained on.

    Attributes:
        images: The number of pictures; None if it is not known.
        rights: What is said of the rights in them.
    """

    name: str
    images: int | None
    rights: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """How well a version finds pictures whose printings are known. Shares are 0 to 1.

    Attributes:
        on: The archive; empty for groups that were left out of training.
        queries: Pictures that were searched by.
        pairs: Pairs of pictures that are the same; None if they were not counted.
        first_place: The share of searches with another printing in first place.
        first_place_range: In 95 of 100 archives of the same kind, it would lie within this.
        mean_average_precision: 1 if all printings stand at the top of every list.
        found_at_nine_in_ten: The share of the true pairs that is found if nine in ten that are
            called the same are the same.
    """

    on: str
    queries: int
    pairs: int | None
    first_place: float
    first_place_range: tuple[float, float] | None
    mean_average_precision: float | None
    found_at_nine_in_ten: float | None


@dataclass(frozen=True, kw_only=True)
class Probabilities:
    """What a version's probabilities are worth.

    Attributes:
        pairs: Pairs of pictures that they were held against.
        right: Of the pairs with at least 0.9, the share that is the same picture.
        found: Of the pairs that are the same picture, the share that has at least 0.9.
        on: The pairs in words, in English.
    """

    pairs: int
    right: float
    found: float
    on: str


@dataclass(frozen=True, kw_only=True)
class Report:
    """What is known of a version.

    Attributes:
        size: The side of the pictures that the network sees, in pixels.
        objective: What it learned, as `TrainingSpec.objective` names it; may be empty.
        finished: The day on which its training ended, as ISO 8601; may be empty.
        parents: The versions that it was trained further from.
        weights: The name of the weights that it began with; empty if they were random.
        weights_licence: Their licence.
        data: What it was trained on.
        measured: How well it finds pictures, on each archive that it was measured on.
        parent: The same of its parent, on the groups that were left out; None without one.
        probabilities: None if they were not measured.
        job: The training job that made it; may be empty.
    """

    version: ModelVersion
    size: int | None
    objective: str
    finished: str
    parents: tuple[str, ...]
    weights: str
    weights_licence: str
    data: tuple[DataSet, ...]
    measured: tuple[Measured, ...]
    parent: Measured | None
    probabilities: Probabilities | None
    job: str


def read_report(version: ModelVersion) -> Report:
    """Return what is known of a version that came with its spec and metrics."""
    spec, metrics = version.spec, version.metrics
    training = _mapping(spec.get("training"))
    weights = _mapping(spec.get("initial_weights"))
    measured = [_read_measured("", metrics.get("test"))]
    measured += [
        _read_measured(name, _mapping(value).get("metrics"))
        for name, value in list(metrics.items())[:_MOST]
        if name not in _OTHERS
    ]
    return Report(
        version=version,
        size=_integer(_mapping(spec.get("preprocessing")).get("size")),
        objective=_text(training.get("objective")),
        finished=_text(training.get("finished")),
        parents=_texts(spec.get("parents")),
        weights=_text(weights.get("name")),
        weights_licence=_text(weights.get("licence")),
        data=tuple(
            DataSet(
                name=_text(each.get("name")),
                images=_integer(each.get("images")),
                rights=_texts(each.get("rights")),
            )
            for each in map(_mapping, _sequence(training.get("data")))
            if _text(each.get("name"))
        ),
        measured=tuple(each for each in measured if each is not None),
        parent=_read_measured("", _mapping(metrics.get("parent")).get("test")),
        probabilities=_read_probabilities(metrics.get("calibration")),
        job=_text(training.get("job")),
    )


def _read_measured(on: str, value: object) -> Measured | None:
    figures = _mapping(value)
    queries, first = _integer(figures.get("queries")), _share(figures.get("recall_at_1"))
    if not queries or first is None:
        return None
    limits = _sequence(_mapping(figures.get("intervals")).get("recall_at_1"))
    ends = [end for end in map(_share, limits) if end is not None]
    return Measured(
        on=on,
        queries=queries,
        pairs=_integer(figures.get("pairs")),
        first_place=first,
        first_place_range=(ends[0], ends[1]) if len(ends) == 2 else None,  # noqa: PLR2004 - from, to
        mean_average_precision=_share(figures.get("map")),
        found_at_nine_in_ten=_share(figures.get("recall_at_p90")),
    )


def _read_probabilities(value: object) -> Probabilities | None:
    figures = _mapping(value)
    pairs = _integer(figures.get("pairs"))
    right, found = _share(figures.get("precision_at_90")), _share(figures.get("recall_at_90"))
    if not pairs or right is None or found is None:
        return None
    return Probabilities(pairs=pairs, right=right, found=found, on=_text(figures.get("on")))


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _sequence(value: object) -> Sequence[Any]:
    return value[:_MOST] if isinstance(value, list | tuple) else ()


def _text(value: object) -> str:
    return value[:_LONGEST] if isinstance(value, str) else ""


def _texts(value: object) -> tuple[str, ...]:
    return tuple(filter(None, map(_text, _sequence(value))))


def _integer(value: object) -> int | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return int(value) if is_number and math.isfinite(value) else None  # type: ignore[call-overload, arg-type]


def _share(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value <= 1 else None
