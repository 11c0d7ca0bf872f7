"""Decides what a run trains on, what evaluates it, and how long it takes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from halftone.archive.data_sets import Finding
from halftone.core import errors
from halftone.services.trainer.data.dataset import SceneDataset, read_scenes
from halftone.services.trainer.data.sampling import batches, group_batches, group_steps, hold_out
from halftone.services.trainer.data.splits import (
    FILE,
    SPLITS,
    Split,
    read_splits,
    split_groups,
    splits_hash,
    splits_of_groups,
    write_splits,
)
from halftone.vision.preprocessing import Preprocessing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from halftone.services.trainer.loop.config import TrainingConfig
    from halftone.services.trainer.loop.initialise import Start

_FEWEST_GROUPS = 2
_FEWEST_KNOWN = 3
_FEWEST_OPTION = 2  # of a batch and of a descriptor
_LARGEST_HELD_OUT = 5  # one picture in so many, without labels


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """The data of a run, split into training and evaluation.

    Attributes:
        config: The settings of the run.
        training: The pictures that steps draw from.
        validation: The pictures that decide when to stop, the threshold and the last layers.
        test: The pictures for the final figures. Nothing has seen their groups.
        known: Pictures of training classes that are held out, to measure the accuracy of a
            classification; empty if no class has three pictures, and with other objectives.
        findings: Oddities of the data.
        facts: Facts about the splits, for the spec.
    """

    config: TrainingConfig
    training: SceneDataset
    validation: SceneDataset
    test: SceneDataset
    known: SceneDataset
    findings: tuple[Finding, ...]
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def sampled(self) -> bool:
        """Whether steps draw groups, all equally often, rather than pictures."""
        return self.config.draws_groups

    @property
    def per_epoch(self) -> int:
        """The number of steps of an epoch, in which each picture or each group occurs once."""
        config = self.config
        if self.sampled:
            count = len(self.training.names)
            return group_steps(count, size=config.batch, per_group=config.per_group)
        return max(1, len(self.training) // config.batch)

    @property
    def steps(self) -> int:
        """The length of the run in steps; 0 if only the clock ends it."""
        config = self.config
        if config.steps:
            return config.steps
        return config.steps_in(config.epochs, per_epoch=self.per_epoch) if config.epochs else 0

    @property
    def balance(self) -> dict[str, dict[str, int]] | None:
        """The size of each group of each split; None without groups."""
        parts = {"train": self.training, "validation": self.validation, "test": self.test}
        if not self.config.labelled:
            return None
        return {
            split: {
                name: int(size) for name, size in zip(part.names, part.sizes, strict=True) if name
            }
            for split, part in parts.items()
        }

    def batches(self, *, start: int) -> Iterator[Tensor]:
        """Yield rows of `training` from step `start` on, int64 [batch] each."""
        config = self.config
        if not self.sampled:
            return batches(len(self.training), size=config.batch, seed=config.seed, start=start)
        families = self.training.families
        order = np.argsort(families, kind="stable")
        groups = np.split(order, np.cumsum(self.training.sizes)[:-1])
        return group_batches(
            groups, size=config.batch, per_group=config.per_group, seed=config.seed, start=start
        )


def read_plan(
    config: TrainingConfig,
    *,
    start: Start,
    resumes: bool,
    writes: bool = True,
    progress: Callable[[float], None] = lambda _share: None,
) -> TrainingPlan:
    """Read the data, split it, and write `splits.json` into the work directory.

    Args:
        config: The settings of the run.
        start: The start of the run, whose preprocessing the pictures get.
        resumes: Whether the work directory has a checkpoint, so that its splits are used.
        writes: Whether to write the file; False in all processes of a run but the first.
        progress: Called with the share that has been read.

    Raises:
        errors.InvalidArgument: The data cannot be used, or there is too little of it.
    """
    # Keep more detail than the network sees, so that a crop stays sharp.
    cached = Preprocessing(
        size=round(start.preprocessing.size * 1.5), trim=start.preprocessing.trim
    )
    data = read_scenes(
        config.data,
        preprocessing=cached,
        group_column=config.group_column,
        roots=config.roots,
        progress=progress,
    )
    findings = list(data.findings)
    kept = config.work / FILE
    source = kept if resumes and kept.exists() else config.splits
    of_image = (_split_groups if config.labelled else _split_images)(
        config, data=data, source=source, findings=findings
    )
    training, validation, test = (
        np.array([row for row, split in enumerate(of_image) if split == name], dtype=np.int64)
        for name in SPLITS
    )
    known = np.array([], dtype=np.int64)
    if config.objective == "classification":
        training, known = _set_aside(data, rows=training, seed=config.seed)
    splits = dict(zip(data.ids, of_image, strict=True))
    plan = TrainingPlan(
        config=config,
        training=data.select(training),
        validation=data.select(validation),
        test=data.select(test),
        known=data.select(known),
        findings=tuple(findings),
        facts={"sha256": splits_hash(splits), "findings": _count(findings)},
    )
    counts = {
        name: {"images": len(part), "groups": int((part.sizes > 1).sum())}
        for name, part in (
            ("train", plan.training),
            ("validation", plan.validation),
            ("test", plan.test),
            ("classified", plan.known),
        )
    }
    plan.facts.update(counts)
    _check(plan, start=start, read=len(data))
    details = {
        **counts,
        "seed": config.seed,
        "findings": [str(finding) for finding in findings],
        "classified_images": list(plan.known.ids),
    }
    if writes:
        write_splits(kept, splits=splits, facts=details)
    return plan


def _split_groups(
    config: TrainingConfig, *, data: SceneDataset, source: Path | None, findings: list[Finding]
) -> list[Split]:
    """Return the split of each image. All images of a family are in one split."""
    if source is None:
        chosen = split_groups(
            data.sizes.tolist(),
            validation_share=config.validation_share,
            test_share=config.test_share,
            seed=config.seed,
        )
    else:
        members: list[list[str]] = [[] for _ in data.names]
        for image_id, family in zip(data.ids, data.families, strict=True):
            members[family].append(image_id)
        chosen, new = splits_of_groups(members, images=read_splits(source))
        findings += [
            Finding("new group", f"{', '.join(members[number])}: not in {source}, trained on")
            for number in new
        ]
    return [chosen[family] for family in data.families]


def _split_images(
    config: TrainingConfig, *, data: SceneDataset, source: Path | None, findings: list[Finding]
) -> list[Split]:
    """Assign each unlabelled picture to training or validation.

    Unless a file of splits is given, at most `validation` pictures are held out, and at most a
    fifth of all: the default of `validation` is for large sets.
    """
    if source is None:
        count = min(config.validation, len(data) // _LARGEST_HELD_OUT)
        _, held_out = hold_out(len(data), count=count, seed=config.seed)
        chosen: list[Split] = ["train"] * len(data)
        for row in held_out.tolist():
            chosen[row] = "validation"
        return chosen
    result, new = splits_of_groups([[name] for name in data.ids], images=read_splits(source))
    findings += [Finding("new group", f"{data.ids[row]}: not in {source}") for row in new]
    return result


def _set_aside(
    data: SceneDataset, *, rows: NDArray[np.int64], seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Divide the rows of classes: rows to train on, and one row of each class that has three."""
    generator = np.random.default_rng(seed)
    in_classes = rows[np.isin(data.families[rows], data.classes)]
    known = []
    for family in np.unique(data.families[in_classes]):
        members = in_classes[data.families[in_classes] == family]
        if len(members) >= _FEWEST_KNOWN:
            known.append(int(generator.choice(members)))
    aside = np.array(known, dtype=np.int64)
    return np.setdiff1d(in_classes, aside), aside


def _check(plan: TrainingPlan, *, start: Start, read: int) -> None:
    """Refuse data that are too few to train on.

    Raises:
        errors.InvalidArgument: There are too few. The error says how many there are and how many it
            takes.
    """
    config, training = plan.config, plan.training
    if config.labelled:
        groups = int((training.sizes > 1).sum())
        if groups < _FEWEST_GROUPS:
            raise errors.InvalidArgument(
                f"There are {groups} groups of at least two pictures to train on; it takes two. "
                f"{_summary(plan.findings)}",
                field="data",
            )
        if config.validation_share and not len(plan.validation.truth.matches):
            raise errors.InvalidArgument(
                "No group of two pictures is left for validation. Give more groups, a larger "
                "validation_share, or 0 to go without.",
                field="data",
            )
    fewest = 1 if plan.sampled else config.batch
    if not start.projected:  # the first projection is fitted, which takes more than its dimension
        fewest = max(fewest, config.dimension + 1)
    if len(training) < fewest:
        raise errors.InvalidArgument(
            f"A batch of {config.batch} and {config.dimension} dimensions need at least {fewest} "
            f"pictures to train on; there are {len(training)}. {_account(plan, read=read)} "
            f"{_way_out(plan, start=start, fewest=fewest)}",
            field="data",
        )


def _account(plan: TrainingPlan, *, read: int) -> str:
    """Return a sentence that says what happened to the pictures."""
    counts = _count(plan.findings)
    broken = counts.get("broken file", 0) + counts.get("missing file", 0)
    held_out = len(plan.validation) + len(plan.test) + len(plan.known)
    parts = [
        f"{read} different ones were read",
        f"{broken} could not be read",
        f"{held_out} were held out",
    ]
    return f"{', '.join(parts)}."


def _way_out(plan: TrainingPlan, *, start: Start, fewest: int) -> str:
    """Return a sentence that names the options that help against too few pictures."""
    config, count = plan.config, len(plan.training)
    lower = []
    if not plan.sampled and config.batch > count >= _FEWEST_OPTION:
        lower.append(f"batch to at most {count}")
    if not start.projected and config.dimension >= count > _FEWEST_OPTION:
        lower.append(f"dimension to at most {count - 1}")
    ways = ["give more pictures"]
    if lower:
        ways.append(f"lower {' and '.join(lower)}")
    if config.splits is None and count + len(plan.validation) + len(plan.test) >= fewest > 0:
        shares = "validation_share and test_share" if config.labelled else "validation"
        ways.append(f"hold out fewer with {shares}")
    text = f"{', '.join(ways[:-1])}, or {ways[-1]}" if len(ways) > 1 else ways[0]
    return f"{text[0].upper()}{text[1:]}."


def _count(findings: Sequence[Finding]) -> dict[str, int]:
    return dict(Counter(finding.kind for finding in findings))


def _summary(findings: Sequence[Finding]) -> str:
    counts = _count(findings)
    facts = ", ".join(f"{kind} ({count})" for kind, count in sorted(counts.items()))
    return f"What was found: {facts}." if facts else ""
