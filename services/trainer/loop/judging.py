"""Evaluates a trained version: on the test split, on an archive, its classes, its probabilities."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from halftone.archive import manifests
from halftone.archive.boundaries import Boundary
from halftone.archive.data_sets import Listing, open_data_set, read_rows
from halftone.core import errors, files
from halftone.core.spelling import find_spelling
from halftone.evaluation import labelled
from halftone.evaluation.evaluate import evaluate, evaluate_classification, figures_of
from halftone.evaluation.judged import SPLIT_RULES, JudgedImages
from halftone.evaluation.labelled import LabelledPicture
from halftone.evaluation.metrics import Cosines, judge, threshold_of
from halftone.imaging.orientations import orientations
from halftone.services.trainer.loop.initialise import shrink
from halftone.services.trainer.loop.objectives import SceneClassifier
from halftone.vision.model import Model

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from halftone.evaluation.labelled import LabelledArchive
    from halftone.services.trainer.data.dataset import SceneDataset
    from halftone.services.trainer.loop.state import Run

_BATCH: Final = 64
_VALIDATION: Final = "the validation split"


def evaluate_splits(
    model: Model, *, run: Run, metrics: dict[str, Any], log: Callable[[str], None]
) -> JudgedImages | None:
    """Evaluate a model, and its parent, on the test split. Thresholds are from validation.

    Args:
        model: The trained model.
        run: The run, with the splits and the parent.
        metrics: Gets the figures: `validation`, `test` and, with a parent, `parent`.
        log: Called with lines for people.

    Returns:
        The judged test split; None, with `metrics` unchanged, if no group was held out for it.
    """
    plan = run.plan
    if not run.config.labelled or not len(plan.test.truth.matches):
        return None

    def score(judged: Model) -> tuple[NDArray[np.float32], dict[str, Any], dict[str, Any]]:
        chosen, threshold = None, None
        if len(plan.validation.truth.matches):
            held_out = _embed(judged, plan.validation, size=run.size)
            chosen = evaluate(held_out, truth=plan.validation.truth)
            # In the middle of the gap: the lowest true pair of a small split is not a good bound.
            threshold = threshold_of(judge(Cosines(held_out), truth=plan.validation.truth))
        rows = _embed(judged, plan.test, size=run.size)
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
    return JudgedImages(
        name="groups left out of training",
        judgement=judge(Cosines(rows), truth=plan.test.truth),
        metrics=metrics["test"],
        names=[
            f"{entry.path.name} ({group})" if group else entry.path.name
            for entry, group in zip(plan.test.entries, plan.test.groups, strict=True)
        ],
        paths=[entry.path for entry in plan.test.entries],
        rules=SPLIT_RULES,
        threshold_from=_VALIDATION if "threshold" in metrics["test"] else "",
        variants=before,
    )


def read_archive(folder: Path, *, roots: Sequence[Path] = ()) -> LabelledArchive:
    """Read an archive to evaluate a version on, and check that all of it can be used.

    Dates and captions may be wrong: only the columns image_id, file, journal and group count.

    Args:
        folder: The folder of the archive.
        roots: Directories that the pictures must lie in; empty allows any place.

    Raises:
        errors.InvalidArgument: The archive has no manifest or no groups, a row cannot be read, a
            picture is missing, listed twice or outside `roots`, or no picture has a match. The
            protocol needs all pictures.
    """
    try:
        archive = labelled.label_pictures(_read_pictures(folder), folder=folder)
    except (OSError, ValueError, errors.InvalidArgument) as error:
        raise errors.InvalidArgument(
            f"{folder} cannot be evaluated on; it takes a manifest with image_id, file and "
            f"journal, and a {labelled.GROUPS} or a column `group`: {error}",
            field="evaluate_on",
        ) from error
    missing = [path for path in archive.paths if not path.is_file()]
    boundary = Boundary(roots)
    outside = [path for path in archive.paths if not boundary.has(path)]
    doubled = [name for name, count in Counter(archive.ids).items() if count > 1]
    problem = ""
    if missing:
        problem = f"{missing[0]} is not there"
    elif doubled:
        problem = f"{doubled[0]} is listed twice"
    elif archive.left_out:
        what, why = archive.left_out[0]
        problem = f"{what}: {why.rstrip('.')}"
    elif outside:
        problem = f"{outside[0]} is not below the data roots"
    elif not len(archive.truth().queries):
        problem = "no picture has a match in another publication"
    if problem:
        raise errors.InvalidArgument(
            f"{folder} cannot be evaluated on: {problem}.", field="evaluate_on"
        )
    return archive


def _read_pictures(folder: Path) -> list[LabelledPicture]:
    """Read the pictures of a manifest, whatever its other columns say.

    Raises:
        errors.InvalidArgument: The manifest or a row cannot be read.
        ValueError: A row has half a character (a lone surrogate).
    """
    listing = Listing()
    table = open_data_set(folder, listing=listing)
    table.check_columns(*manifests.REQUIRED)
    pictures = []
    for row in read_rows(table, listing=listing):
        image_id, file = row.get("image_id", ""), row.get("file", "")
        if not image_id or not file:
            raise errors.InvalidArgument(f"{image_id or file} has no image_id or no file")
        "".join(row.values()).encode()
        pictures.append(
            LabelledPicture(
                image_id=image_id,
                path=find_spelling(table.path.parent / file),
                journal=row.get("journal", ""),
                date=row.get("date", ""),
                group=row.get("group", ""),
            )
        )
    unreadable = [finding for finding in listing.findings if finding.kind == "unreadable row"]
    if unreadable:
        raise errors.InvalidArgument(unreadable[0].message)
    return pictures


def evaluate_archive(model: Model, *, folder: Path, threshold: float | None = None) -> JudgedImages:
    """Embed an archive's pictures and evaluate them, as `halftone eval --upright` does.

    Args:
        model: The model to evaluate.
        folder: The folder of the archive.
        threshold: The threshold of precision, recall and F1; None leaves these figures out.

    Returns:
        The figures of upright pictures. `variants` has the figures of queries that are turned four
        ways, as in searches; of descriptors without background suppression; and of the trained
        embedding alone.

    Raises:
        errors.InvalidArgument: A picture cannot be read: the protocol needs all of them.
    """
    embedded = labelled.embed(
        model,
        pictures=read_archive(folder),
        orientations=orientations(mirrored=False, rotated=True),
        others=lambda batch: _inner_descriptors(model, batch),
    )
    if embedded.archive.left_out:
        what, why = embedded.archive.left_out[0]
        raise errors.InvalidArgument(f"{folder}: {what} cannot be read: {why}", field="evaluate_on")
    judged, _ = labelled.judge_archive(
        replace(embedded, views=None),
        threshold=threshold,
        threshold_from="" if threshold is None else _VALIDATION,
    )
    truth = judged.judgement.truth
    scorers = {"query turned four ways": embedded.scorer}
    scorers |= {name: Cosines(rows) for name, rows in embedded.others.items()}
    variants = {name: figures_of(judge(scorer, truth=truth)) for name, scorer in scorers.items()}
    return replace(judged, variants=variants)


def _inner_descriptors(model: Model, batch: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    """Compute the embedding below a network's last layers for uint8 [B, S, S]: unit rows."""
    network = model.network
    with torch.inference_mode():
        pictures = torch.as_tensor(batch).to(model.device).unsqueeze(1)
        signatures = network.signature(pictures).float()
        whitened = network.whiten(signatures)
        trained = torch.nn.functional.normalize(signatures[:, : network.spec.width], dim=1)
    return {
        "without background suppression": whitened.cpu().numpy(),
        "the trained embedding alone": trained.cpu().numpy(),
    }


def classify(run: Run) -> dict[str, Any] | None:
    """Measure the classifier on pictures of its classes that it was not trained on.

    Splits are by group, so a held-out group has no class. If no class could spare a picture, new
    printings of the training pictures are used instead, and `on` says so. Returns None if the run
    has no classifier.
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


def calibrate_version(
    model: Model, *, run: Run, staging: Path, log: Callable[[str], None]
) -> dict[str, Any]:
    """Fit the probabilities of a version before it is published, and write them to `spec.json`.

    The fit uses simulated printings of the held-out pictures, as a search meets them. Most archives
    have too few labelled groups among these, and `evaluate_on` is kept for evaluation. If too few
    pictures were held out, the parent's calibration is taken over.

    Args:
        model: The trained model.
        run: The run, with the held-out pictures and the parent.
        staging: The directory of the version, whose `spec.json` is replaced.
        log: Called with lines for people.

    Returns:
        The figures of the fit; `why` if nothing was fitted.
    """
    plan = run.plan
    paths = [entry.path for part in (plan.validation, plan.test) for entry in part.entries]
    try:
        # Imported here: OpenCV and scikit-learn take a second of each start, and a machine
        # that only trains may lack them.
        from halftone.evaluation.calibration_samples import fit_held_out  # noqa: PLC0415
    except ImportError as error:
        calibration, figures = None, {"why": f"Probabilities were not fitted: {error}."}
    else:
        calibration, figures = fit_held_out(model, paths=paths, seed=run.config.seed)
    parent = run.start.parent
    fitted = parent.spec.calibration if parent is not None else None
    if calibration is not None:
        fitted = calibration.to_dict()
        log(f"probabilities: calibration error {figures['ece_likely']:.3f} on {figures['on']}")
    else:
        log(f"probabilities were not fitted: {figures['why']}")
    spec = replace(model.spec, calibration=fitted)
    files.replace_file(staging / "spec.json", files.to_json(spec.to_dict()))
    return figures


def summary(metrics: dict[str, Any]) -> str:
    """Return the main figures as one line for people."""
    names = {
        "R@1": "recall_at_1",
        "mAP": "map",
        "uAP": "micro_ap",
        "best F1": "best_f1",
        "R@P90": "recall_at_p90",
    }
    return "  ".join(f"{label} {metrics[name]:.3f}" for label, name in names.items())


def _embed(model: Model, data: SceneDataset, *, size: int) -> NDArray[np.float32]:
    """Return the descriptors of a data set's pictures: float32 [N, D]."""
    clean = shrink(data.pixels, size=size)
    return np.concatenate([model.embed(part) for part in torch.split(clean, _BATCH)])
