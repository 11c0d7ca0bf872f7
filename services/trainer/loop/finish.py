"""After the loop: fit the last layers, evaluate, report, publish."""

from __future__ import annotations

import csv
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from halftone.core import errors, files
from halftone.evaluation.evaluate import (
    Evaluation,
    Labelled,
    evaluate,
    evaluate_classification,
    evaluate_scores,
    read_manifest,
    read_truth,
)
from halftone.evaluation.metrics import Cosines, judge, threshold_of
from halftone.registry.versions import Registry
from halftone.services.trainer.data.dataset import read_pictures
from halftone.services.trainer.data.listing import is_below
from halftone.services.trainer.loop.initialise import shrink
from halftone.services.trainer.loop.objectives import SceneClassifier
from halftone.vision.model import Model, ModelSpec, collect, set_whitening
from halftone.vision.network import DescriptorNetwork
from halftone.vision.whitening import fit_background, fit_whitening

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from halftone.evaluation.tracking import Tracker
    from halftone.registry.version import ModelVersion
    from halftone.services.trainer.data.dataset import SceneDataset
    from halftone.services.trainer.loop.config import TrainingConfig
    from halftone.services.trainer.loop.events import Events
    from halftone.services.trainer.loop.plan import Plan
    from halftone.services.trainer.loop.state import Run

_BATCH = 64
_EVALUATING, _PUBLISHING = 0.95, 0.98  # of the whole, for progress
# From 0.5 to 1 nothing changes, below it gets worse: weak directions of embeddings are noise.
_SHRINKAGE = 1.0


def finish(
    run: Run,
    *,
    log: Callable[[str], None],
    events: Events,
    tracker: Tracker,
    stop: Callable[[], bool] = lambda: False,
) -> ModelVersion | None:
    """Publish what a run trained as a version.

    Args:
        run: At its end.
        log: Takes lines for people.
        events: Takes phases for programs.
        tracker: Takes the final figures.
        stop: Asked before it publishes; when true nothing is, and the result is None.
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
    found = None
    with tempfile.TemporaryDirectory(prefix="halftone-") as folder:
        staging = Path(folder)
        model.save(staging)
        # What is measured is what was written: float16 weights, read back.
        stored = Model.load(staging, device=run.device)
        labelled = evaluate_splits(stored, run=run, metrics=metrics, log=log)
        metrics["calibration"] = calibrate_version(stored, run=run, staging=staging, log=log)
        classification = classify(run)
        if classification is not None:
            metrics["classification"] = classification
            log(f"accuracy on {classification['on']}: {classification['accuracy']:.3f}")
        if config.evaluate_on is not None:
            threshold = metrics.get("test", {}).get("threshold")
            found = evaluate_archive(stored, folder=config.evaluate_on, threshold=threshold)
            metrics[config.evaluate_on.name] = {
                "metrics": found.metrics,
                "variants": found.variants,
            }
            log(f"{config.evaluate_on.name}: {summary(found.metrics)}")
            for name, values in found.variants.items():
                log(f"  {name}: {summary(values)}")
        events.progress("publishing", fraction=_PUBLISHING)
        # Not with the others: matplotlib takes half a second of each start.
        from halftone.evaluation.report.model_report import write_report  # noqa: PLC0415

        write_report(
            staging / "report",
            spec=spec,
            history=run.history,
            found=found,
            labelled=labelled,
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


def calibrate_version(
    model: Model, *, run: Run, staging: Path, log: Callable[[str], None]
) -> dict[str, Any]:
    """Fit the probabilities of a version that is about to be published, into its `spec.json`.

    On simulated printings of the pictures that were held out, as a search meets them; the labelled
    groups among these are too few in most archives, and `evaluate_on` is there to judge. Where too
    few pictures were held out the parent's are taken over.
    """
    plan = run.plan
    paths = [entry.path for part in (plan.validation, plan.test) for entry in part.entries]
    try:
        # Not with the others: OpenCV and scikit-learn take a second of each start, and a machine
        # that only trains may lack them.
        from halftone.evaluation.calibration import fit_held_out  # noqa: PLC0415
    except ImportError as error:
        calibration, found = None, {"why": f"Probabilities were not fitted: {error}."}
    else:
        calibration, found = fit_held_out(model, paths=paths, seed=run.config.seed)
    parent = run.start.parent
    fitted = parent.spec.calibration if parent is not None else None
    if calibration is not None:
        fitted = calibration.to_dict()
        log(f"probabilities: calibration error {found['ece_likely']:.3f} on {found['on']}")
    else:
        log(f"probabilities were not fitted: {found['why']}")
    spec = replace(model.spec, calibration=fitted)
    files.replace_file(staging / "spec.json", files.to_json(spec.to_dict()))
    return found


def choose_last_layers(run: Run) -> tuple[DescriptorNetwork, dict[str, Any]]:
    """A network with its last layers, and how these were come by.

    A run that trained through its parent's layers may keep them or have them fitted anew on the
    training pictures: whichever finds more on the validation split, since few pictures fit a poor
    whitening and many a better one. Fewer pictures than dimensions fit none at all.
    """
    plan, config, network = run.plan, run.config, run.result()
    spec, start = network.spec, run.start
    clean = shrink(plan.training.pixels.to(run.device), size=run.size)
    candidates: dict[str, DescriptorNetwork] = {}
    if start.fitted:
        candidates["of the parent"] = network
    if len(clean) > spec.dimension:
        candidates["PCA"] = fit_last_layers(
            network,
            pictures=clean,
            frequencies=spec.frequencies if start.fitted else config.frequencies,
            background=spec.background if start.fitted else config.background,
            seed=config.seed,
        )
    elif not start.fitted:
        candidates["none"] = network
    figures = {}
    if len(candidates) > 1:
        for name, candidate in candidates.items():
            if len(plan.validation.truth.matches):
                held_out = shrink(plan.validation.pixels.to(run.device), size=run.size)
                truth = plan.validation.truth
                rows = run.collect(candidate, held_out)
                figures[name] = evaluate(rows, truth=truth, resamples=0)["micro_ap"]
            elif len(plan.validation):
                figures[name] = run.score_copies(candidate)["copy_micro_ap"]
    chosen = max(candidates, key=lambda name: figures.get(name, 0.0))
    facts: dict[str, Any] = {"method": chosen, "images": len(clean), "data": _names(config.data)}
    if chosen == "of the parent" and start.parent is not None:
        facts = {**start.parent.spec.whitening, "parent": start.parents[0]}
    return candidates[chosen], facts | ({"validation_micro_ap": figures} if figures else {})


def evaluate_splits(
    model: Model, *, run: Run, metrics: dict[str, Any], log: Callable[[str], None]
) -> Labelled | None:
    """Score the test split, and by the parent too; thresholds are from the validation split.

    Adds `validation`, `test` and, with a parent, `parent` to `metrics`; does nothing where no group
    was held out.
    """
    plan = run.plan
    if not run.config.labelled or not len(plan.test.truth.matches):
        return None

    def score(judged: Model) -> tuple[NDArray[np.float32], dict[str, Any], dict[str, Any]]:
        chosen, threshold = None, None
        if len(plan.validation.truth.matches):
            held_out = _describe(judged, plan.validation, size=run.size)
            chosen = evaluate(held_out, truth=plan.validation.truth)
            # In the middle of the gap: the lowest true pair of a small split is no good bound.
            threshold = threshold_of(judge(Cosines(held_out), truth=plan.validation.truth))
        rows = _describe(judged, plan.test, size=run.size)
        return rows, evaluate(rows, truth=plan.test.truth, threshold=threshold), chosen or {}

    rows, metrics["test"], metrics["validation"] = score(model)
    log(f"test split: {summary(metrics['test'])}")
    before: dict[str, dict[str, Any]] = {}
    if run.start.parent is not None:
        parent = run.start.parent
        parent = Model(parent.spec, network=parent.network, device=run.device)
        _, test, validation = score(parent)
        metrics["parent"] = {
            "version": run.start.parents[0],
            "test": test,
            "validation": validation,
        }
        before = {f"its parent {run.start.parents[0]}": test}
        log(f"  its parent {run.start.parents[0]}: {summary(test)}")
    return Labelled(
        name="groups left out of training",
        descriptors=rows,
        groups=plan.test.groups,
        paths=[entry.path for entry in plan.test.entries],
        metrics=metrics["test"],
        truth=plan.test.truth,
        variants=before,
    )


def _describe(model: Model, data: SceneDataset, *, size: int) -> NDArray[np.float32]:
    """Descriptors of a data set's pictures, in batches: float32 [N, D]."""
    clean = shrink(data.pixels, size=size)
    return np.concatenate([model.embed(part) for part in torch.split(clean, _BATCH)])


def classify(run: Run) -> dict[str, Any] | None:
    """Accuracy of the classifier, on pictures of its classes that it was not trained on.

    Splits are by group, so a held-out group has no class; where no class could spare a picture,
    new printings of the training pictures have to do, and `on` says so.
    """
    if not isinstance(run.objective, SceneClassifier):
        return None
    plan, network = run.plan, run.result()
    known, names = plan.known, list(plan.training.names)
    if len(known):
        pictures = shrink(known.pixels.to(run.device), size=run.size)
        labels = [names.index(name) for name in known.groups]
    else:
        generator = torch.Generator(run.device).manual_seed(run.config.seed + 3)
        pictures = torch.cat(
            [
                run.simulation(part, generator=generator)
                for part in torch.split(plan.training.pixels.to(run.device), _BATCH)
            ]
        )
        labels = plan.training.families.tolist()
    rows = run.collect(lambda part: run.start.embed(network, part), pictures)
    with torch.inference_mode():
        logits = run.objective.logits(torch.from_numpy(rows).to(run.device)).float().cpu().numpy()
    found = evaluate_classification(logits, labels=labels, names=names)
    on = "pictures left out" if len(known) else "new printings of the training pictures"
    return {"on": on, **found}


def find_published(config: TrainingConfig) -> ModelVersion | None:
    """The version that this job has published already, if it has."""
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


def fit_last_layers(
    network: DescriptorNetwork,
    *,
    pictures: torch.Tensor,
    frequencies: int,
    background: int,
    seed: int,
) -> DescriptorNetwork:
    """Add low frequencies, fit whitening and background on uint8 [N, S, S]: a complete network.

    There are at most `background` centres, and at least three pictures to each on average:
    fewer would be pictures rather than what pictures have in common.
    """
    device = next(network.parameters()).device
    centres = min(background, len(pictures) // 3)
    spec = replace(network.spec, frequencies=frequencies, background=centres)
    complete = DescriptorNetwork(spec).to(device).eval()
    for part in ("stem", "stages", "projection"):
        getattr(complete, part).load_state_dict(getattr(network, part).state_dict())
    signatures = collect(complete.signature, pictures=pictures.to(device), batch=_BATCH)
    whitening = fit_whitening(signatures, dimension=complete.spec.dimension, shrinkage=_SHRINKAGE)
    set_whitening(complete, whitening)
    if centres:
        with torch.inference_mode():
            whitened = complete.whiten(torch.from_numpy(signatures).to(device)).cpu().numpy()
        means = fit_background(whitened, centres=centres, seed=seed)
        complete.background.copy_(torch.from_numpy(means))
    return complete


def check_archive(folder: Path, *, roots: Sequence[Path] = ()) -> None:
    """See before a run whether it can be evaluated on an archive afterwards.

    Raises:
        errors.InvalidArgument: It has no manifest or no groups, names a picture twice or one that
            is not there or not below `roots`, or no picture has a match.
    """
    try:
        rows = read_manifest(folder)
        ids = [row["image_id"] for row in rows]
        journals = {row["image_id"]: row["journal"] for row in rows}
        named = [(row["file"], folder / row["file"]) for row in rows]
        missing = [name for name, file in named if not file.is_file()]
        outside = [name for name, file in named if not is_below(file, roots=roots)]
        queries = read_truth(folder, image_ids=ids, journals=journals).queries
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise errors.InvalidArgument(
            f"{folder} cannot be evaluated on; it takes a manifest.csv with image_id, file and "
            f"journal, and a groups.json: {error!r}",
            field="evaluate_on",
        ) from error
    problem = ""
    if missing:
        problem = f"{missing[0]} is not there"
    elif outside:
        problem = f"{outside[0]} is not below the data roots"
    elif len(set(ids)) < len(ids):
        problem = "an image_id is listed twice"
    elif not len(queries):
        problem = "no picture has a match in another publication"
    if problem:
        raise errors.InvalidArgument(
            f"{folder} cannot be evaluated on: {problem}.", field="evaluate_on"
        )


def evaluate_archive(model: Model, *, folder: Path, threshold: float | None = None) -> Evaluation:
    """Embed an archive's pictures and score them by the protocol.

    Args:
        model: To judge.
        folder: Of the archive.
        threshold: At which precision, recall and F1 are taken.

    Raises:
        errors.InvalidArgument: A picture cannot be read: the protocol needs all of them.
    """
    rows = read_manifest(folder)
    pictures = read_pictures([folder], preprocessing=model.spec.preprocessing)
    if pictures.rejected:
        raise errors.InvalidArgument(
            f"{folder}: {pictures.rejected[0][0]} cannot be read.", field="evaluate_on"
        )
    journals = {row["image_id"]: row["journal"] for row in rows}
    truth = read_truth(folder, image_ids=pictures.ids, journals=journals)
    network, pixels = model.network, pictures.pixels.to(model.device)

    signatures = torch.from_numpy(collect(network.signature, pictures=pixels, batch=_BATCH))
    with torch.inference_mode():
        whitened = network.whiten(signatures.to(model.device))
        descriptors = network.suppress_background(whitened).cpu().numpy()
    trained = signatures[:, : network.spec.width]
    plain = torch.nn.functional.normalize(trained, dim=1).numpy()
    scores = descriptors @ descriptors.T
    # As searches do it: the query lies four ways, the archive one; the best counts.
    turned = scores.copy()
    for quarter in (1, 2, 3):
        sideways = collect(network, pictures=torch.rot90(pixels, quarter, (1, 2)), batch=_BATCH)
        turned = np.maximum(turned, sideways @ descriptors.T)
    turned = np.maximum(turned, turned.T)
    return Evaluation(
        folder=folder,
        rows=rows,
        truth=truth,
        scores=scores,
        metrics=evaluate_scores(scores, truth=truth, threshold=threshold),
        variants={
            "query turned four ways": evaluate_scores(turned, truth=truth),
            "without background suppression": evaluate(whitened.cpu().numpy(), truth=truth),
            "the trained embedding alone": evaluate(plain, truth=truth),
        },
    )


def summary(metrics: dict[str, Any]) -> str:
    """One line for people."""
    names = {
        "R@1": "recall_at_1",
        "mAP": "map",
        "uAP": "micro_ap",
        "best F1": "best_f1",
        "R@P90": "recall_at_p90",
    }
    return "  ".join(f"{label} {metrics[name]:.3f}" for label, name in names.items())


def describe_data(sources: Sequence[Path], *, plan: Plan) -> list[dict[str, Any]]:
    """What a model learned from: per data set its name, how many pictures, their rights."""
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


def _names(folders: Sequence[Path]) -> str:
    return ", ".join(folder.name for folder in folders)
