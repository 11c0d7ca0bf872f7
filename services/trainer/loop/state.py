"""Holds the state of a training run: everything that changes in it. Saves and resumes it."""

from __future__ import annotations

import copy
import errno
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # its usual name

from halftone.core import errors, files
from halftone.evaluation.evaluate import evaluate, evaluate_copies
from halftone.services.trainer.data.sampling import class_weights
from halftone.services.trainer.loop.checkpoint import CHECKPOINT
from halftone.services.trainer.loop.initialise import (
    CHUNK,
    initialise_projection,
    likely_copies,
    shrink,
)
from halftone.services.trainer.loop.objectives import PictureProxies, SceneClassifier, SceneMetric
from halftone.services.trainer.loop.world import World
from halftone.vision.model import collect
from halftone.vision.simulation import PressSimulation

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from halftone.services.trainer.loop.initialise import Start
    from halftone.services.trainer.loop.plan import TrainingPlan
    from halftone.vision.network import DescriptorNetwork

_CALIBRATION_BATCHES: Final = 16
_FIGURE: Final = "micro_ap"  # what early stopping goes by: ranking and comparable scores in one


@dataclass
class Best:
    """The best validation so far. `weights` are the averaged weights, on the CPU."""

    figure: float = -1.0
    step: int = 0
    worse: int = 0
    weights: dict[str, Tensor] | None = None
    classes: Tensor | None = None


class Run:
    """The state of one run: weights, their average, objective, optimizer and counters.

    Attributes:
        step: The number of steps taken.
        elapsed: The seconds spent in these steps, including steps before an interruption.
        history: The entries of the progress lines.
        averaged: The network with the mean of the weights of late steps. Its batch norm is valid
            only after calibration.
        best: The best validation so far.
    """

    def __init__(
        self,
        plan: TrainingPlan,
        *,
        start: Start,
        device: torch.device,
        world: World | None = None,
        state: dict[str, Any] | None = None,
    ) -> None:
        """Create the state of a run: a new one, or one that continues from a checkpoint.

        Args:
            plan: The settings and the data of the run.
            start: The network to train.
            device: The device to train on.
            world: This process among the processes of the run; None if it is the only one.
            state: The checkpoint from `read_checkpoint`. None begins a new run: layers that are not
                trained yet are then initialised from the training pictures.

        Raises:
            errors.InvalidArgument: A batch cannot be divided equally among parts and processes.
            errors.FailedPrecondition: The data changed since the checkpoint was written.
        """
        self.plan, self.config, self.start = plan, plan.config, start
        self.device, self.world = device, world or World()
        self.size = start.preprocessing.size
        self.parts = max(self.config.accumulate, self.world.size)
        if self.parts % self.world.size or self.config.batch % self.parts:
            raise errors.InvalidArgument(
                f"{self.world.size} processes cannot share a batch of {self.config.batch} in "
                f"{self.parts} parts.",
                field="accumulate",
            )
        self.pixels = plan.training.pixels.to(device)
        self.simulation = PressSimulation(size=self.size, parameters=self.config.printing)
        self.step, self.elapsed = 0, 0.0
        self.history: list[dict[str, float]] = []
        self.best = Best()
        network: DescriptorNetwork = start.network.to(device)
        self.network = network.to(memory_format=torch.channels_last)
        width = self.network.spec.dimension if start.fitted else self.network.spec.width
        # The cosine that separates the training pictures' groups from others. The usual 0.5 is far
        # too high for whitened descriptors: a loss that only attracts would blur them.
        self.base = 0.5 if state is None else float(state["base"])
        if state is None:
            embeddings = self._initialise()
            if self.config.objective == "metric":
                truth = plan.training.truth
                figures = evaluate(embeddings.cpu().numpy(), truth=truth, resamples=0)
                self.base = float(figures["best_f1_threshold"])
            same = torch.empty(0, 2, dtype=torch.int64, device=device)
            if not self.config.labelled:
                same = likely_copies(embeddings, above=self.config.same_above)
        else:
            embeddings = torch.zeros(len(self.pixels), width or 0, device=device)
            same = state["objective"].get("same", torch.empty(0, 2, dtype=torch.int64)).to(device)
        self.objective = self._make_objective(embeddings, same=same).to(device)
        self.averaged = copy.deepcopy(self.network)
        self.optimizer = self._make_optimizer()
        if state is not None:
            self._restore(state)
        self.world.align(
            [*self.network.state_dict().values(), *self.objective.state_dict().values()]
        )

    @property
    def progress(self) -> float:
        """The share of the steps or of the time limit that has passed, from 0 to 1."""
        config, steps = self.config, self.plan.steps
        by_time = self.elapsed / (config.time_limit * 60) if config.time_limit else 0.0
        exhausted = config.patience and self.best.worse >= config.patience
        return max(by_time, self.step / steps if steps else 0.0, 1.0 if exhausted else 0.0)

    @property
    def frozen(self) -> bool:
        """Whether the backbone is not trained, as at the start if it is pretrained."""
        epochs = self.step / self.plan.per_epoch
        return self.start.pretrained and epochs < self.config.freeze_epochs

    def advance(self, rows: Tensor, *, rate: float) -> Tensor:
        """Take one step on the pictures `rows`, int64 [batch] on the CPU.

        The batch is taken in parts, each printed, normalised and compared by itself, and each
        process has its share of them: two processes compute the same as one with two parts.

        Args:
            rows: The rows of the training pictures.
            rate: The learning rates of this step, as a share of the peak rates.

        Returns:
            The loss, still on the device.
        """
        config, world = self.config, self.world
        self._set_rates(rate)
        self.optimizer.zero_grad(set_to_none=True)
        total = torch.zeros((), device=self.device)
        embedded: dict[int, Tensor] = {}
        chunks = rows.chunk(self.parts)
        for part in range(world.rank, self.parts, world.size):
            here = chunks[part].to(self.device)
            printings, neighbours = self.simulation.print_plates(
                self.pixels[here], generator=self._press(part)
            )
            beside = torch.where(neighbours < 0, neighbours, here[neighbours])
            with self._precision():
                embeddings = self.start.embed(self.network, printings.unsqueeze(1))
            loss: Tensor = self.objective(embeddings.float(), rows=here, beside=beside)
            loss = loss / self.parts
            torch.autograd.backward(loss)
            total += loss.detach()
            embedded[part] = embeddings.detach().float()
        parameters = [*self.network.parameters(), *self.objective.parameters()]
        world.sum_over_processes([total, *(parameter.grad for parameter in parameters)])
        nn.utils.clip_grad_norm_(self.network.parameters(), config.clip)
        self.optimizer.step()
        # The average follows quickly at first; otherwise it would remember the initial weights.
        decay = min(config.average, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(  # one call for all; it has no public name
                list(self.averaged.parameters()), list(self.network.parameters()), 1 - decay
            )
        if isinstance(self.objective, SceneMetric):
            self.objective.remember(world.gather(embedded, count=self.parts), rows=rows)
        self.step += 1
        return total

    def validate(self) -> dict[str, float]:
        """Evaluate the held-out pictures, and keep the weights if they are the best so far.

        With labels, this measures whether pictures find the other pictures of their group. Without
        labels, it measures whether two printings of each picture find each other.

        Returns:
            The figures by name; empty if no pictures were held out.
        """
        plan, network = self.plan, self.averaged_network()
        figures: dict[str, float] = {}
        if self.config.labelled and len(plan.validation.truth.matches):
            clean = shrink(plan.validation.pixels.to(self.device), size=self.size)
            rows = self.collect(lambda part: self.start.embed(network, part), clean)
            found = evaluate(rows, truth=plan.validation.truth, resamples=0)
            figures = {name: found[name] for name in ("recall_at_1", "map", _FIGURE)}
        elif not self.config.labelled and len(plan.validation):
            figures = self.score_copies(lambda part: self.start.embed(network, part))
        if figures:
            self._judge(figures.get(_FIGURE, figures.get(f"copy_{_FIGURE}", 0.0)))
        return figures

    def score_copies(self, embed: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """Print held-out pictures twice, and measure whether the printings find each other.

        Args:
            embed: Maps pictures [N, 1, S, S] to embeddings [N, D]. Their length does not matter.
        """
        generator = torch.Generator(self.device).manual_seed(self.config.seed + 2)
        sides = []
        for _ in range(2):
            parts = [
                self.simulation(part.to(self.device), generator=generator)
                for part in torch.split(self.plan.validation.pixels, CHUNK)
            ]
            sides.append(self.collect(embed, torch.cat(parts)))
        return evaluate_copies(sides[0] @ sides[1].T)

    def collect(self, embed: Callable[[Tensor], Tensor], pictures: Tensor) -> NDArray[np.float32]:
        """Apply `embed` to `pictures`, uint8 [N, S, S], in batches. Returns unit rows [N, D]."""
        with self._precision():
            embeddings = collect(embed, pictures=pictures, batch=CHUNK)
        rows: NDArray[np.float32] = F.normalize(torch.from_numpy(embeddings), dim=1).numpy()
        return rows

    def averaged_network(self) -> DescriptorNetwork:
        """Return the averaged network in evaluation mode, with calibrated batch norm."""
        if not self._keeps_norms and (not self.start.pretrained or self._thawed):
            self._calibrate(self.averaged)
        return self.averaged.eval()

    def result(self) -> DescriptorNetwork:
        """Return the network to publish. It has the best validated weights, or else the last."""
        if self.best.weights is not None:
            self.averaged.load_state_dict(self.best.weights)
            if isinstance(self.objective, SceneClassifier) and self.best.classes is not None:
                self.objective.classes.data.copy_(self.best.classes)
            return self.averaged.eval()
        return self.averaged_network()

    def save(self) -> None:
        """Replace the checkpoint atomically.

        Raises:
            errors.StorageFull: The disk is full. The previous checkpoint is still there.
        """
        content = io.BytesIO()
        torch.save(
            {
                "settings": self.config.identity(),
                "data": self.plan.facts["sha256"],
                "network": self.network.state_dict(),
                "averaged": self.averaged.state_dict(),
                "objective": self.objective.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "step": self.step,
                "elapsed": self.elapsed,
                "history": self.history,
                "best": vars(self.best),
                "base": self.base,
            },
            content,
        )
        path = self.config.work / CHECKPOINT
        try:
            files.replace_file(path, content.getvalue())
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise errors.StorageFull(
                f"The disk is full; the checkpoint {path} was not written."
            ) from error

    # ---- steps

    @property
    def _thawed(self) -> bool:
        """Whether a step was taken that changed the backbone."""
        return self.step > self.config.freeze_epochs * self.plan.per_epoch

    @property
    def _keeps_norms(self) -> bool:
        """Whether batch norm keeps the statistics that the run began with."""
        return self.start.pretrained and self.config.norms == "keep"

    def _restore(self, state: dict[str, Any]) -> None:
        if state["data"] != self.plan.facts["sha256"]:
            raise errors.FailedPrecondition(
                "The data changed since the run began; choose another work directory.",
                reason="DATA_CHANGED",
            )
        for name in ("network", "averaged", "objective", "optimizer"):
            getattr(self, name).load_state_dict(state[name])
        self.step, self.elapsed, self.history = state["step"], state["elapsed"], state["history"]
        self.best = Best(**state["best"])

    def _press(self, part: int) -> torch.Generator:
        """Return the random generator of a part of this step, from seed, step and part alone."""
        number = (self.config.seed * 1_000_003 + self.step) * 1_009 + part
        return torch.Generator(self.device).manual_seed(number)

    def _set_rates(self, rate: float) -> None:
        """Set this step's rates, and which parts of the backbone and its statistics are frozen."""
        still = self.config.frozen_stages if self.start.pretrained else 0
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * rate
        self.network.train()
        for number, part in enumerate((self.network.stem, *self.network.stages)):
            frozen = self.frozen or number < still + bool(still)  # the stem goes with the first
            part.requires_grad_(not frozen)
            part.train(not frozen and not self._keeps_norms)

    def _initialise(self) -> Tensor:
        """Initialise the untrained layers of a new network.

        Returns the unit embeddings of the pictures, [N, D].
        """
        if not self.start.pretrained:
            self._calibrate(self.network)
        self.network.eval()
        clean = shrink(self.pixels, size=self.size)
        if not self.start.projected:
            with self._precision():
                initialise_projection(self.network, clean=clean, seed=self.config.seed)
        rows = self.collect(lambda part: self.start.embed(self.network, part), clean)
        return torch.from_numpy(rows).to(self.device)

    def _make_objective(self, embeddings: Tensor, *, same: Tensor) -> nn.Module:
        config, data = self.config, self.plan.training
        if config.objective == "classification":
            return SceneClassifier(
                embeddings,
                labels=torch.from_numpy(data.families).to(self.device),
                weights=class_weights(data.sizes, balance=config.balance).to(self.device),
                scale=config.scale,
                margin=config.margin,
            )
        if config.objective == "metric":
            return SceneMetric(
                embeddings,
                families=torch.from_numpy(data.families).to(self.device),
                composite=torch.from_numpy(data.composite[data.families]).to(self.device),
                links=torch.from_numpy(data.links).to(self.device),
                hard=config.hard_negatives,
                loss=config.metric_loss,
                scale=config.scale,
                base=self.base,
            )
        return PictureProxies(
            embeddings,
            scale=config.scale,
            margin=config.margin,
            unified=config.unified,
            same=same,
            koleo=config.koleo,
        )

    def _make_optimizer(self) -> torch.optim.AdamW:
        """Create AdamW with groups: a full rate would undo the fit that the head starts from.

        With a pretrained backbone all rates are lower, and each stage's is lower than the next's.
        """
        config, network = self.config, self.network
        backbone = [network.stem, *network.stages]
        share = config.init_rate if self.start.pretrained else 1.0
        rate, decay = config.learning_rate * share, config.weight_decay
        if self.start.pretrained and config.layer_decay != 1:
            groups = [
                (list(part.parameters()), rate * config.layer_decay ** (len(backbone) - 1 - depth))
                for depth, part in enumerate(backbone)
            ]
        else:
            groups = [([p for part in backbone for p in part.parameters()], rate)]
        groups.append((list(network.projection.parameters()), config.head_learning_rate * share))
        of_network = [
            {"params": parameters, "peak": peak, "weight_decay": decay}
            for parameters, peak in groups
        ]
        proxies = {
            "params": list(self.objective.parameters()),
            "peak": config.proxy_learning_rate,
            "weight_decay": 0.0,
        }
        learned = [*of_network, proxies] if proxies["params"] else of_network
        return torch.optim.AdamW(learned)

    def _judge(self, figure: float) -> None:
        """Keep the weights if `figure` is the best. Without labels and patience none are kept."""
        if not (self.config.labelled or self.config.patience):
            return
        if figure > self.best.figure:
            weights = {
                name: tensor.detach().cpu().clone()
                for name, tensor in self.averaged.state_dict().items()
            }
            self.best = Best(figure=figure, step=self.step, weights=weights)
            if isinstance(self.objective, SceneClassifier):
                self.best.classes = self.objective.classes.detach().cpu().clone()
        else:
            self.best.worse += 1

    def _calibrate(self, network: DescriptorNetwork) -> None:
        """Set batch norm's statistics from printings of the pictures.

        Averaged and freshly initialised weights have no statistics and are useless without.
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
            for rows in torch.split(order[: _CALIBRATION_BATCHES * CHUNK], CHUNK):
                pictures = self.pixels[rows.to(self.device)]
                network.features(self.simulation(pictures, generator=generator).unsqueeze(1))
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        network.eval()

    def _precision(self) -> contextlib.AbstractContextManager[Any]:
        """Return the autocast to bfloat16: always on CUDA, on request on the CPU."""
        enabled = self.device.type == "cuda" or self.config.precision == "bf16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled)
