"""Everything that a training run changes while it goes, and how it is kept and resumed."""

from __future__ import annotations

import copy
import io
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # its usual name

from halftone import errors, files
from halftone.vision.model import collect
from halftone.vision.network import DescriptorNetwork
from halftone.vision.simulation import PressSimulation
from halftone.vision.whitening import fit_whitening
from services.trainer.evaluate import evaluate_copies
from services.trainer.objectives import PictureProxies

if TYPE_CHECKING:
    import contextlib

    from services.trainer.config import TrainingConfig

CHECKPOINT: Final = "checkpoint.pt"
_CALIBRATION_BATCHES: Final = 16
_INITIAL_PICTURES: Final = 3000
_CHUNK: Final = 128


class Run:
    """Weights, their average, proxies, optimizer, presses and counters of one run.

    Attributes:
        step: Steps taken.
        elapsed: Seconds spent in them, also before an interruption.
        history: The progress lines' entries.
        averaged: The network to publish; its batch norm holds only after `calibrate`.
    """

    def __init__(self, config: TrainingConfig, *, pixels: Tensor, device: torch.device) -> None:
        """Continue from the checkpoint, or initialise from the pictures (uint8 [N, H, H]).

        Raises:
            errors.FailedPrecondition: The checkpoint belongs to a run with other settings.
        """
        self.config, self.device = config, device
        self.pixels = pixels.to(device)
        self.simulation = PressSimulation(size=config.size, parameters=config.printing)
        self.presses = torch.Generator(device).manual_seed(config.seed)
        self.step, self.elapsed = 0, 0.0
        self.history: list[dict[str, float]] = []
        torch.manual_seed(config.seed)
        network = DescriptorNetwork(config.network)
        self.network = network.to(device).to(memory_format=torch.channels_last)
        state = self._read()
        if state is None:
            embeddings, same = self._initialise()
        else:
            embeddings, same = state["objective"]["proxies"], state["objective"]["same"]
        self.objective = PictureProxies(
            embeddings, scale=config.scale, margin=config.margin, unified=config.unified, same=same
        ).to(device)
        self.averaged = copy.deepcopy(self.network)
        self.optimizer = self._make_optimizer()
        if state is not None:
            self._restore(state)

    @property
    def progress(self) -> float:
        """From 0 to 1: the share of the steps or of the time limit that is spent."""
        config = self.config
        by_time = self.elapsed / (config.time_limit * 60) if config.time_limit else 0.0
        return max(by_time, self.step / config.steps if config.steps else 0.0)

    def advance(self, rows: Tensor, *, rate: float) -> float:
        """Take one step on the pictures `rows` at `rate` times the peak rates; return the loss."""
        config = self.config
        peaks = (config.learning_rate, config.head_learning_rate, config.proxy_learning_rate)
        for group, peak in zip(self.optimizer.param_groups, peaks, strict=True):
            group["lr"] = peak * rate
        here = rows.to(self.device)
        printings = self.simulation(self.pixels[here], generator=self.presses)
        self.network.train()
        with self._precision():
            embeddings = self.network.project(printings.unsqueeze(1))
        loss: Tensor = self.objective(embeddings.float(), rows=here)
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self.network.parameters(), config.clip)
        self.optimizer.step()
        # The average follows quickly at first, or it would remember the initial weights.
        decay = min(config.average, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for mean, value in zip(
                self.averaged.parameters(), self.network.parameters(), strict=True
            ):
                mean.lerp_(value, 1 - decay)
        self.step += 1
        return float(loss.detach())

    def calibrated(self) -> DescriptorNetwork:
        """The averaged network, its batch norm calibrated, in evaluation mode."""
        self._calibrate(self.averaged)
        return self.averaged

    def validate(self, pixels: Tensor) -> dict[str, float]:
        """Print held-out pictures, uint8 [N, H, H], twice: do the printings find each other?"""
        if not len(pixels):
            return {}
        network = self.calibrated()
        generator = torch.Generator(self.device).manual_seed(self.config.seed + 2)
        sides = []
        for _ in range(2):
            parts = [
                self.simulation(part.to(self.device), generator=generator)
                for part in torch.split(pixels, _CHUNK)
            ]
            with self._precision():
                embeddings = collect(network.project, pictures=torch.cat(parts), batch=_CHUNK)
            sides.append(F.normalize(torch.from_numpy(embeddings), dim=1).numpy())
        return evaluate_copies(sides[0] @ sides[1].T)

    def save(self) -> None:
        """Replace the checkpoint atomically."""
        content = io.BytesIO()
        torch.save(
            {
                "settings": self.config.identity(),
                "network": self.network.state_dict(),
                "averaged": self.averaged.state_dict(),
                "objective": self.objective.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "presses": self.presses.get_state(),
                "step": self.step,
                "elapsed": self.elapsed,
                "history": self.history,
            },
            content,
        )
        self.config.work.mkdir(parents=True, exist_ok=True)
        files.replace_file(self.config.work / CHECKPOINT, content.getvalue())

    # ---- steps

    def _read(self) -> dict[str, Any] | None:
        path = self.config.work / CHECKPOINT
        if not path.exists():
            return None
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        if not self.config.continues(state["settings"]):
            raise errors.FailedPrecondition(
                f"{path} belongs to a run with other settings; choose another --work or remove it.",
                reason="OTHER_RUN",
            )
        return state

    def _restore(self, state: dict[str, Any]) -> None:
        for name in ("network", "averaged", "objective", "optimizer"):
            getattr(self, name).load_state_dict(state[name])
        self.presses.set_state(state["presses"])
        self.step, self.elapsed, self.history = state["step"], state["elapsed"], state["history"]

    def _initialise(self) -> tuple[Tensor, Tensor]:
        """Give the random network a working head; return embeddings [N, D] and copies [P, 2]."""
        self._calibrate(self.network)
        clean = shrink(self.pixels, size=self.config.size)
        with self._precision():
            self._initialise_projection(clean)
            embeddings = torch.from_numpy(
                collect(self.network.project, pictures=clean, batch=_CHUNK)
            ).to(self.device)
        embeddings = F.normalize(embeddings, dim=1)
        return embeddings, likely_copies(embeddings, above=self.config.same_above)

    def _initialise_projection(self, clean: Tensor) -> None:
        """Make the projection the PCA-whitening of the features that the network gives now."""
        projection = self.network.projection
        if not isinstance(projection, nn.Linear):
            return
        generator = torch.Generator().manual_seed(self.config.seed)
        order = torch.randperm(len(clean), generator=generator)[:_INITIAL_PICTURES]
        chosen = clean[order.to(clean.device)]
        features = collect(self.network.features, pictures=chosen, batch=_CHUNK)
        whitening = fit_whitening(features, dimension=projection.out_features)
        # The embedding is normalised, so its scale is free; this one, about three times that of
        # a fresh layer, keeps the optimizer's first steps small beside the fit.
        matrix = torch.from_numpy(whitening.matrix).to(self.device) * 0.03
        with torch.no_grad():
            projection.weight.copy_(matrix)
            projection.bias.copy_(-(matrix @ torch.from_numpy(whitening.mean).to(self.device)))

    def _make_optimizer(self) -> torch.optim.AdamW:
        """AdamW in three groups: the head starts from a fit, which a full rate would undo."""
        network, decay = self.network, self.config.weight_decay
        backbone = [*network.stem.parameters(), *network.stages.parameters()]
        return torch.optim.AdamW(
            [
                {"params": backbone, "weight_decay": decay},
                {"params": list(network.projection.parameters()), "weight_decay": decay},
                {"params": list(self.objective.parameters()), "weight_decay": 0.0},
            ]
        )

    def _calibrate(self, network: DescriptorNetwork) -> None:
        """Set batch norm's statistics from printings of the pictures.

        Averaged and freshly initialised weights have none of their own and are useless without.
        """
        seed = self.config.seed + 1
        generator = torch.Generator(self.device).manual_seed(seed)
        norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
        momenta = [norm.momentum for norm in norms]
        network.train()
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a plain average over what follows
        order = torch.randperm(len(self.pixels), generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            for rows in torch.split(order[: _CALIBRATION_BATCHES * _CHUNK], _CHUNK):
                pictures = self.pixels[rows.to(self.device)]
                network.features(self.simulation(pictures, generator=generator).unsqueeze(1))
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        network.eval()

    def _precision(self) -> contextlib.AbstractContextManager[Any]:
        """Autocast to bfloat16: on CUDA always, on the CPU where it is asked for."""
        enabled = self.device.type == "cuda" or self.config.precision == "bf16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled)


def likely_copies(embeddings: Tensor, *, above: float) -> Tensor:
    """Pairs of unit rows with a cosine above a limit, both ways round: int64 [P, 2].

    Pools of press pictures hold copies of their own, which must not be taught to differ.
    """
    pairs = []
    for start in range(0, len(embeddings), 1024):  # a million pictures squared fit no memory
        cosine = embeddings[start : start + 1024] @ embeddings.T
        rows, columns = (cosine > above).nonzero(as_tuple=True)
        apart = rows + start != columns
        pairs.append(torch.stack([rows[apart] + start, columns[apart]], dim=1))
    return torch.cat(pairs)


def shrink(pixels: Tensor, *, size: int) -> Tensor:
    """Reduce uint8 [N, H, H] without aliasing: uint8 [N, size, size]."""
    parts = []
    for part in torch.split(pixels, _CHUNK):
        smaller = F.interpolate(
            part.float().unsqueeze(1), size=size, mode="bilinear", antialias=True
        )
        parts.append(smaller.round().clamp(0, 255).to(torch.uint8).squeeze(1))
    return torch.cat(parts)
