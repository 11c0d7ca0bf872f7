"""Trains a small network to say where two registered printings show something else.

`halftone.matching.looks.difference_map` runs it; `halftone.evaluation.differing` prints what it
learns from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from halftone.vision.folding import fold_convolutions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Seen = NDArray[np.int8]
Cells = NDArray[np.int8]
Floats = NDArray[np.float32]
Dense = tuple[Floats, Floats]
"""Weights and biases of a dense layer."""

STEPS: Final = 64
"""Of what the network sees, in 1: it is kept in bytes."""
UNKNOWN: Final = -1
"""Of a cell that is not learnt from."""
_WIDTHS: Final = (16, 24, 32, 32, 32, 32)
_KERNELS: Final = (5, 3, 3, 3, 3, 3)
_DROPPED: Final = 0.1
_BATCH: Final = 24
_RATE: Final = 3e-3
_DECAY: Final = 1e-2
_WARM: Final = 0.15  # of the steps
_HALF: Final = 0.5


@dataclass(frozen=True, kw_only=True)
class SeenPrinting:
    """What the network sees of a picture and a printing of it.

    Attributes:
        variants: int8 [V][C, S, S], in 1/64: as they are, and as another press and another scanner
            might have them.
        changed: int8 [N, N], of each cell 1 where it was changed, 0 where not, -1 (`UNKNOWN`) where
            nothing is to be learnt.
        weight: How much the pair counts.
        kind: How it was changed.
        group: What the pair is left out with when the network is judged: a picture.
    """

    variants: tuple[Seen, ...]
    changed: Cells
    weight: float
    kind: str
    group: str


@dataclass(frozen=True)
class Form:
    """The form of the network, which `halftone.matching.looks.difference_map` fixes.

    Attributes:
        channels: Of what it sees.
        cell: Side of a cell in pixels.
        strides: Of its convolutions.
        dilations: Of its convolutions.
        pooled: Index of the convolution whose mean is told to each cell.
    """

    channels: int
    cell: int
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pooled: int


class DifferenceNetwork(nn.Module):
    """The network while it is trained: with normalisation, which `fold` takes into the kernels."""

    def __init__(self, form: Form) -> None:
        """Build the layers with random weights."""
        super().__init__()
        self.form = form
        inputs = (form.channels, *_WIDTHS)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(
                inputs[layer],
                width,
                kernel,
                form.strides[layer],
                kernel // 2 * form.dilations[layer],
                dilation=form.dilations[layer],
            )
            for layer, (width, kernel) in enumerate(zip(_WIDTHS, _KERNELS, strict=True))
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in _WIDTHS)
        usual = _WIDTHS[form.pooled]
        self.usual = nn.Linear(usual, usual)
        self.output = nn.Conv2d(sum(_WIDTHS[form.pooled :]), 1, 1)
        self.drop = nn.Dropout2d(_DROPPED)

    def forward(self, seen: Tensor) -> Tensor:
        """Return the logarithm of the odds that each cell differs: [B, C, S, S] to [B, N, N]."""
        inside = functional.avg_pool2d(seen[:, :1], self.form.cell)
        values, kept = seen, []
        for layer, (convolution, norm) in enumerate(
            zip(self.convolutions, self.norms, strict=True)
        ):
            values = functional.relu(norm(convolution(values)))
            if layer == self.form.pooled:
                mean = (values * inside).sum((2, 3)) / (inside.sum((2, 3)) + 1e-6)
                values = functional.relu(values + self.usual(mean)[:, :, None, None])
            if layer >= self.form.pooled:
                kept.append(values)
        logits: Tensor = self.output(self.drop(torch.cat(kept, 1)))[:, 0]
        return logits

    @torch.no_grad()
    def fold(self) -> tuple[list[Floats], list[Floats], Dense, Dense]:
        """Return kernels, biases, the pooled layer's and the output, normalisation taken in."""
        kernels, biases = fold_convolutions(self.convolutions, self.norms)
        if self.output.bias is None:
            raise TypeError("the output has a bias")
        usual = self.usual.weight.numpy(), self.usual.bias.numpy()
        return (
            kernels,
            biases,
            usual,
            (
                self.output.weight[0, :, 0, 0].numpy(),
                self.output.bias[0].numpy(),
            ),
        )


def train(
    printings: Sequence[SeenPrinting],
    *,
    form: Form,
    epochs: int,
    seed: int,
    progress: Callable[[int, float], None] = lambda *_: None,
) -> DifferenceNetwork:
    """Train the network.

    Args:
        printings: What it learns from.
        form: The network's form.
        epochs: How often it sees each printing.
        seed: Seed of weights, order, variants and turns.
        progress: Called after each epoch with its number from 1 and the mean loss.
    """
    torch.manual_seed(seed)
    generator = np.random.default_rng(seed)
    network = DifferenceNetwork(form).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=_DECAY)
    batches = max(1, len(printings) // _BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, _RATE, total_steps=epochs * batches, pct_start=_WARM
    )
    for epoch in range(1, epochs + 1):
        network.train()
        order, total = generator.permutation(len(printings)), 0.0
        for rows in np.array_split(order, batches):
            loss = _loss(network, [printings[int(row)] for row in rows], generator=generator)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            total += float(loss.detach())
        progress(epoch, total / batches)
    network.eval()
    return network


def _loss(
    network: DifferenceNetwork, batch: Sequence[SeenPrinting], *, generator: np.random.Generator
) -> Tensor:
    seen, changed = [], []
    for printing in batch:
        chosen = printing.variants[int(generator.integers(len(printing.variants)))]
        flip, turns = generator.random() < _HALF, int(generator.integers(4))
        seen.append(_turn(chosen, flip=flip, turns=turns))
        changed.append(_turn(printing.changed, flip=flip, turns=turns))
    labels = torch.from_numpy(np.stack(changed)).float()
    weights = torch.tensor([printing.weight for printing in batch])[:, None, None]
    weights = weights * (labels != UNKNOWN)
    losses = functional.binary_cross_entropy_with_logits(
        network(_to_tensor(np.stack(seen))), labels.clamp(min=0), reduction="none"
    )
    return (losses * weights).sum() / weights.sum().clamp(min=1e-6)


def _turn(values: NDArray[np.int8], *, flip: bool, turns: int) -> NDArray[np.int8]:
    flipped = values[..., ::-1] if flip else values
    return np.ascontiguousarray(np.rot90(flipped, turns, axes=(-2, -1)))


def _to_tensor(seen: Seen) -> Tensor:
    values = torch.from_numpy(seen).float().div_(STEPS)
    return values.contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def predict(network: DifferenceNetwork, printings: Sequence[SeenPrinting]) -> Floats:
    """Return how probably each cell of each printing differs, float32 [P, N, N]."""
    network.eval()
    return np.stack(
        [
            torch.sigmoid(network(_to_tensor(printing.variants[0][None])))[0].numpy()
            for printing in printings
        ]
    )
