"""Writes the settings file and the environment of a training process."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from halftone.core import files, training
from halftone.services.trainer.jobs import door

if TYPE_CHECKING:
    from pathlib import Path

    from halftone.core.settings import TrainerSettings
    from halftone.services.trainer.jobs.intake import Intake
    from halftone.services.trainer.jobs.job import TrainingJob


def write(
    job: TrainingJob, *, folder: Path, intake: Intake, settings: TrainerSettings, models: Path
) -> Path:
    """Write the settings of a job's training process. Returns the file's path.

    Checks again for everything that may have vanished since the job was accepted.

    Args:
        job: The job to run.
        folder: The directory of the job, created if needed. Checkpoints go to `run/` below it.
        intake: Finds data sets and checks the parent version.
        settings: The settings of the trainer.
        models: The registry's directory.

    Raises:
        errors.InvalidArgument: A data set is gone.
        errors.NotFound: The parent version is gone.
        errors.StorageFull: The disk has less room than a job needs.
        OSError: The file cannot be written.
    """
    spec = training.parse_spec(job.spec)
    datasets, archive = intake.check(spec)
    folder.mkdir(parents=True, exist_ok=True)
    door.check_room(folder, least=settings.min_free_bytes)
    values: dict[str, Any] = {
        "objective": spec.objective,
        "data": [str(path) for path in datasets],
        "roots": [str(root.resolve()) for root in settings.data_roots],
        "evaluate_on": None if archive is None else str(archive),
        "name": spec.model_name,
        "init": spec.parent or ("imagenet" if spec.initial_weights == "imagenet" else ""),
        "epochs": spec.epochs,
        "steps": spec.steps,
        "time_limit": spec.time_limit_minutes,
        "models": str(models.absolute()),
        "work": str(folder / "run"),
        "job": job.id,
        "threads": settings.threads,
        "command": shlex.join(["halftone", "jobs", "show", job.id]),
    }
    if spec.backbone:
        values["backbone"] = spec.backbone
    if settings.imagenet_weights is not None:
        values["weights"] = str(settings.imagenet_weights.absolute())
    values |= spec.options.model_dump(mode="json", exclude_none=True)
    if spec.options.splits is not None:
        splits = training.find_data(
            spec.options.splits, roots=settings.data_roots, field="spec.options.splits"
        )
        values["splits"] = str(splits)
    config = folder / "config.json"
    files.replace_file(config, files.to_json(values))
    return config


def make_environment(device: str) -> dict[str, str]:
    """Return the environment variables that restrict a process to a device.

    Args:
        device: The device: `auto`, `cpu`, `cuda` or `cuda:N`.
    """
    kind, _, number = device.partition(":")
    if kind == "auto":
        return {}
    return {"CUDA_VISIBLE_DEVICES": "" if kind == "cpu" else (number or "0")}
