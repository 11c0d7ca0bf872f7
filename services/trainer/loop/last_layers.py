"""Fits the last layers of a trained network: low frequencies, whitening, background suppression."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Final

import torch

from halftone.evaluation.evaluate import evaluate
from halftone.services.trainer.loop.initialise import shrink
from halftone.vision.model import collect, set_whitening
from halftone.vision.whitening import fit_background, fit_whitening

if TYPE_CHECKING:
    from halftone.services.trainer.loop.state import Run
    from halftone.vision.network import DescriptorNetwork

_BATCH: Final = 64
# From 0.5 to 1 the results are equal, below they are worse: weak directions are noise.
_SHRINKAGE: Final = 1.0


def choose_last_layers(run: Run) -> tuple[DescriptorNetwork, dict[str, Any]]:
    """Return the network with the best last layers, and the facts about them for the spec.

    If the run trained through its parent's layers, these are kept, or fitted again on the training
    pictures, whichever finds more on the validation split: a whitening that is fitted on few
    pictures is poor. Nothing is fitted unless there are more pictures than dimensions.
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
    facts: dict[str, Any] = {
        "method": chosen,
        "images": len(clean),
        "data": ", ".join(folder.name for folder in config.data),
    }
    if chosen == "of the parent" and start.parent is not None:
        facts = {**start.parent.spec.whitening, "parent": start.parents[0]}
    return candidates[chosen], facts | ({"validation_micro_ap": figures} if figures else {})


def fit_last_layers(
    network: DescriptorNetwork,
    *,
    pictures: torch.Tensor,
    frequencies: int,
    background: int,
    seed: int,
) -> DescriptorNetwork:
    """Return a copy of a network with low frequencies, whitening and background, newly fitted.

    Args:
        network: The trained network.
        pictures: The pictures to fit them on, uint8 [N, S, S].
        frequencies: The number of low frequencies; see `NetworkSpec`.
        background: The most background centres. There are fewer if there would be less than three
            pictures to a centre: it would stand for one picture rather than for what pictures have
            in common.
        seed: The seed of the background centres.
    """
    device = next(network.parameters()).device
    centres = min(background, len(pictures) // 3)
    complete = copy.deepcopy(network).eval()
    complete.reset_last_layers(frequencies=frequencies, background=centres)
    signatures = collect(complete.signature, pictures=pictures.to(device), batch=_BATCH)
    whitening = fit_whitening(signatures, dimension=complete.spec.dimension, shrinkage=_SHRINKAGE)
    set_whitening(complete, whitening)
    if centres:
        with torch.inference_mode():
            whitened = complete.whiten(torch.from_numpy(signatures).to(device)).cpu().numpy()
        means = fit_background(whitened, centres=centres, seed=seed)
        complete.background.copy_(torch.from_numpy(means))
    return complete
