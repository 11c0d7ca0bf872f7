"""After the loop: fit the last layers, evaluate, report, publish."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from halftone import errors, files
from halftone.registry import ModelVersion, Registry
from halftone.vision.model import Model, ModelSpec, collect, set_whitening
from halftone.vision.network import DescriptorNetwork
from halftone.vision.whitening import fit_background, fit_whitening
from services.trainer.dataset import read_pictures
from services.trainer.evaluate import Truth, evaluate, evaluate_scores, read_manifest, read_truth
from services.trainer.report import write_report

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from services.trainer.config import TrainingConfig
    from services.trainer.events import Events

_BATCH = 64
# From 0.5 to 1 nothing changes, below it gets worse: weak directions of embeddings are noise.
_SHRINKAGE = 1.0


def finish(
    network: DescriptorNetwork,
    *,
    config: TrainingConfig,
    pictures: torch.Tensor,
    history: Sequence[dict[str, float]],
    log: Callable[[str], None],
    events: Events,
) -> ModelVersion:
    """Publish a trained network as a version.

    Args:
        network: As trained, without fitted layers.
        config: Of the run.
        pictures: uint8 [N, S, S], what whitening and background are fitted on.
        history: Entries of the progress lines.
        log: Takes lines for people.
        events: Takes phases for programs.
    """
    complete = fit_last_layers(
        network,
        pictures=pictures,
        frequencies=config.frequencies,
        background=config.background,
        seed=config.seed,
    )
    spec = ModelSpec(
        name=config.name,
        network=complete.spec,
        preprocessing=config.preprocessing,
        whitening={"method": "PCA", "images": len(pictures), "data": _names(config.data)},
        training={
            "job": config.job,
            "objective": "self_supervised",
            "data": describe_data(config.data),
            "command": config.command,
            "configuration": config.to_dict(),
            "torch": torch.__version__,
            "finished": time.strftime("%Y-%m-%d", time.gmtime()),
        },
    )
    model = Model(spec, network=complete)
    metrics: dict[str, Any] = {"history": list(history)}
    found = None
    with tempfile.TemporaryDirectory(prefix="halftone-") as folder:
        staging = Path(folder)
        model.save(staging)
        # What is measured is what was written: float16 weights, read back.
        stored = Model.load(staging)
        if config.evaluate_on is not None:
            found = evaluate_archive(stored, folder=config.evaluate_on)
            metrics[config.evaluate_on.name] = {
                "metrics": found.metrics,
                "variants": found.variants,
            }
            log(f"{config.evaluate_on.name}: {summary(found.metrics)}")
            for name, values in found.variants.items():
                log(f"  {name}: {summary(values)}")
        events.progress("publishing", fraction=0.98)
        write_report(staging / "report", spec=spec, history=history, found=found)
        files.replace_file(staging / "metrics.json", files.to_json(metrics))
        version = find_published(config) or Registry(config.models).publish(
            staging, name=config.name, version=config.version
        )
    log(f"published {version.id} in {version.directory}")
    return version


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


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """An archive, its truth, and what a model makes of it.

    Attributes:
        folder: Of the archive.
        rows: Its manifest.
        truth: Its reprints.
        scores: float32 [N, N], cosines of descriptors.
        metrics: By the protocol.
        variants: The same for other scores, named by what differs.
    """

    folder: Path
    rows: Sequence[dict[str, str]]
    truth: Truth
    scores: NDArray[np.float32]
    metrics: dict[str, Any]
    variants: dict[str, dict[str, Any]]


def evaluate_archive(model: Model, *, folder: Path) -> Evaluation:
    """Embed an archive's pictures and score them by the protocol.

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
        metrics=evaluate_scores(scores, truth=truth),
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


def describe_data(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """What a model learned from: per folder its name, how many pictures, their rights."""
    described = []
    for folder in folders:
        rows = read_manifest(folder)
        rights = sorted({row.get("rights", "") for row in rows} - {""})
        described.append({"name": folder.name, "images": len(rows), "rights": rights})
    return described


def _names(folders: Sequence[Path]) -> str:
    return ", ".join(folder.name for folder in folders)
