"""The end of a run: describes, evaluates and publishes the trained version.

`last_layers` fits the last layers, `judging` evaluates.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch

from halftone.core import errors, files
from halftone.registry.versions import Registry
from halftone.services.trainer.loop.judging import (
    calibrate_version,
    classify,
    evaluate_archive,
    evaluate_splits,
    summary,
)
from halftone.services.trainer.loop.last_layers import choose_last_layers
from halftone.vision import portable
from halftone.vision.model import Model
from halftone.vision.spec import ModelSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from halftone.evaluation.judged import JudgedImages
    from halftone.evaluation.tracking import Tracker
    from halftone.registry.version import ModelVersion
    from halftone.services.trainer.loop.config import TrainingConfig
    from halftone.services.trainer.loop.events import Events
    from halftone.services.trainer.loop.plan import TrainingPlan
    from halftone.services.trainer.loop.state import Run

_EVALUATING: Final = 0.95  # of the whole, for progress
_PUBLISHING: Final = 0.98


def finish(
    run: Run,
    *,
    log: Callable[[str], None],
    events: Events,
    tracker: Tracker,
    stop: Callable[[], bool] = lambda: False,
) -> ModelVersion | None:
    """Publish the trained network of a run as a version.

    Args:
        run: The run, at its end.
        log: Called with lines for people.
        events: Called with phases for programs.
        tracker: Receives the final figures.
        stop: Called before the publication. If it returns True, nothing is published.

    Returns:
        The published version; None if the run was stopped.
    """
    plan, config = run.plan, run.config
    log("fitting the last layers, evaluating and publishing")
    events.progress("evaluating", fraction=_EVALUATING)
    network, layers = choose_last_layers(run)
    spec = ModelSpec(
        name=config.name,
        network=network.spec,
        preprocessing=run.start.preprocessing,
        whitening=layers,
        parents=run.start.parents,
        initial_weights=run.start.initial_weights,
        training={
            "job": config.job,
            "objective": config.objective,
            "data": describe_data(config.data, plan=plan),
            "splits": plan.facts,
            "command": config.command,
            "configuration": config.to_dict(),
            "steps": run.step,
            "published_step": run.best.step if run.best.weights is not None else run.step,
            "torch": torch.__version__,
            "finished": time.strftime("%Y-%m-%d", time.gmtime()),
        },
    )
    model = Model(spec, network=network)
    metrics: dict[str, Any] = {"history": list(run.history)}
    judged: list[JudgedImages] = []
    with tempfile.TemporaryDirectory(prefix="halftone-") as folder:
        staging = Path(folder)
        model.save(staging)
        metrics["cosine_without_torch"] = _check_portable(staging, log=log)
        # Evaluate what was written: float16 weights, read back.
        stored = Model.load(staging, device=run.device)
        test = evaluate_splits(stored, run=run, metrics=metrics, log=log)
        judged += [test] if test is not None else []
        metrics["calibration"] = calibrate_version(stored, run=run, staging=staging, log=log)
        classification = classify(run)
        if classification is not None:
            metrics["classification"] = classification
            log(f"accuracy on {classification['on']}: {classification['accuracy']:.3f}")
        if config.evaluate_on is not None:
            threshold = metrics.get("test", {}).get("threshold")
            archive = evaluate_archive(stored, folder=config.evaluate_on, threshold=threshold)
            judged.append(archive)
            name = config.evaluate_on.name
            metrics[name] = {"metrics": archive.metrics, "variants": archive.variants}
            log(f"{name}: {summary(archive.metrics)}")
            for variant, values in archive.variants.items():
                log(f"  {variant}: {summary(values)}")
        events.progress("publishing", fraction=_PUBLISHING)
        # Imported here because matplotlib takes half a second of each start.
        from halftone.evaluation.report.model_report import write_report  # noqa: PLC0415

        write_report(
            staging / "report",
            spec=spec,
            history=run.history,
            judged=judged,
            classification=classification,
            calibration=metrics["calibration"],
            balance=plan.balance,
            left_out=[(finding.kind, finding.message) for finding in plan.findings],
        )
        files.replace_file(staging / "metrics.json", files.to_json(metrics))
        if stop():
            log("stopped before it was published; the same command continues")
            return None
        version = find_published(config) or Registry(config.models).publish(
            staging, name=config.name, version=config.version
        )
        final = {name: value for name, value in metrics.items() if name != "history"}
        report = staging / "report"
        tracker.finish(final, step=run.step, report=report, tags={"model_version": version.id})
    log(f"published {version.id} in {version.directory}")
    if spec.training["published_step"] == 0 and spec.parents:
        log(f"No step was better on the groups kept aside: {version.id} has its parent's weights.")
    return version


def _check_portable(directory: Path, *, log: Callable[[str], None]) -> float | None:
    """Compare the version without torch with its golden vectors; None if it cannot be run so.

    A version that torch alone can run is better than none after hours of training.
    """
    try:
        return portable.check_golden(directory)
    except errors.HalftoneError as error:
        if error.reason == "NOT_INSTALLED":
            log(f"not checked without torch: {error.message}")
        else:
            log(f"the version will need torch wherever it is used: {error.message}")
        return None


def find_published(config: TrainingConfig) -> ModelVersion | None:
    """Return the version that this job has already published; None if there is none."""
    if not config.job:
        return None
    for version in reversed(Registry(config.models).list()):
        if version.name == config.name and _job(version) == config.job:
            return version
    return None


def _job(version: ModelVersion) -> str:
    try:
        return str(version.spec().get("training", {}).get("job", ""))
    except errors.DataLoss:  # another version's damage is not this run's business
        return ""


def describe_data(sources: Sequence[Path], *, plan: TrainingPlan) -> list[dict[str, Any]]:
    """Return what each data set gave to a run, for the spec: its name, pictures used, and rights.

    Args:
        sources: The data sets of the run.
        plan: The plan, which says which of their pictures are used.
    """
    described = []
    for source in sources:
        folder = source if source.is_dir() else source.parent
        used = [
            entry
            for part in (plan.training, plan.validation, plan.test, plan.known)
            for entry in part.entries
            if entry.path.is_relative_to(folder.resolve()) or entry.path.is_relative_to(folder)
        ]
        rights = sorted({entry.rights for entry in used} - {""})
        described.append({"name": source.name, "images": len(used), "rights": rights})
    return described
