"""Trains a small network to judge registered pairs: whether what they share is a picture.

`halftone.matching.looks` says what it sees and runs it; `halftone.evaluation.judging` collects the
pairs. A pair shows one picture if one of its overlaps does, so the most favourable one is trained
on.
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
Floats = NDArray[np.float32]

STEPS: Final = 64
"""Of what the network sees, in 1: it is kept in bytes."""
_WIDTHS: Final = (16, 32, 48, 64, 64, 64)
_KERNELS: Final = (5, 3, 3, 3, 3, 3)
_UNITS: Final = 32
_DROPPED: Final = 0.3
_BATCH: Final = 32
_RATE: Final = 2e-3
_DECAY: Final = 1e-2
_SOFT: Final = 0.01  # labels are this far from certain
_HALF: Final = 0.5


@dataclass(frozen=True, kw_only=True)
class SeenPair:
    """What the network sees of a pair.

    Attributes:
        variants: int8 [V][K, 9, S, S], of each of K overlaps, in 1/64: as it is, and as another
            press and another scanner might have it.
        same: Whether both show one picture.
        weight: How much the pair counts.
        group: What the pair is left out with when the network is judged: a kind of furniture, a
            publication, a picture.
    """

    variants: tuple[Seen, ...]
    same: bool
    weight: float
    group: str


@dataclass(frozen=True)
class Form:
    """The form of the network, which `halftone.matching.looks.judge` fixes.

    Attributes:
        channels: Of what it sees.
        strides: Of its convolutions.
        taps: Indices of the convolutions whose outputs are pooled.
    """

    channels: int
    strides: tuple[int, ...]
    taps: tuple[int, ...]


class JudgeNetwork(nn.Module):
    """The network while it is trained: with normalisation, which `fold` takes into the kernels."""

    def __init__(self, form: Form) -> None:
        """Build the layers with random weights."""
        super().__init__()
        self.taps = form.taps
        inputs = (form.channels, *_WIDTHS)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(inputs[layer], width, kernel, form.strides[layer], kernel // 2)
            for layer, (width, kernel) in enumerate(zip(_WIDTHS, _KERNELS, strict=True))
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in _WIDTHS)
        self.hidden = nn.Linear(2 * sum(_WIDTHS[layer] for layer in form.taps), _UNITS)
        self.output = nn.Linear(_UNITS, 1)
        self.drop = nn.Dropout(_DROPPED)

    def forward(self, seen: Tensor) -> Tensor:
        """Return the logarithm of the odds of each overlap: [N, 9, S, S] to [N]."""
        values, pooled = seen, []
        for layer, (convolution, norm) in enumerate(
            zip(self.convolutions, self.norms, strict=True)
        ):
            values = functional.relu(norm(convolution(values)))
            if layer in self.taps:
                within = functional.avg_pool2d(seen[:, :1], seen.shape[-1] // values.shape[-1])
                within = within / (within.sum((2, 3), keepdim=True) + 1e-6)
                pooled += [(values * within).sum((2, 3)), values.amax((2, 3))]
        units = functional.relu(self.hidden(self.drop(torch.cat(pooled, 1))))
        logits: Tensor = self.output(units)[:, 0]
        return logits

    @torch.no_grad()
    def fold(
        self,
    ) -> tuple[list[Floats], list[Floats], tuple[Floats, Floats], tuple[Floats, Floats]]:
        """Return kernels, biases, the hidden layer and the output, normalisation taken in."""
        kernels, biases = fold_convolutions(self.convolutions, self.norms)
        hidden = self.hidden.weight.numpy(), self.hidden.bias.numpy()
        return kernels, biases, hidden, (self.output.weight[0].numpy(), self.output.bias[0].numpy())


def train(
    pairs: Sequence[SeenPair],
    *,
    form: Form,
    epochs: int,
    seed: int,
    progress: Callable[[int, float], None] = lambda *_: None,
) -> JudgeNetwork:
    """Train the network.

    Args:
        pairs: What it learns from.
        form: The network's form.
        epochs: How often it sees each pair.
        seed: Seed of weights, order, variants and turns.
        progress: Called with the number of an epoch, from 1, and its mean loss.
    """
    torch.manual_seed(seed)
    generator = np.random.default_rng(seed)
    network: JudgeNetwork = JudgeNetwork(form).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=_DECAY)
    batches = max(len(pairs) // _BATCH, 1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, _RATE, total_steps=epochs * batches, pct_start=0.15
    )
    for epoch in range(1, epochs + 1):
        network.train()
        order, lost = generator.permutation(len(pairs)), 0.0
        for batch in np.array_split(order[: batches * _BATCH], batches):
            loss = _loss(network, [pairs[row] for row in batch], generator=generator)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            lost += loss.item()
        progress(epoch, lost / batches)
    network.eval()
    return network


def _loss(
    network: JudgeNetwork, batch: Sequence[SeenPair], *, generator: np.random.Generator
) -> Tensor:
    shown = [_turn(_choose(pair, generator=generator), generator=generator) for pair in batch]
    owners = torch.tensor([at for at, each in enumerate(shown) for _ in each])
    logits = network(_to_tensor(np.concatenate(shown)))
    best = torch.full((len(batch),), -torch.inf).scatter_reduce(0, owners, logits, "amax")
    labels = torch.tensor([1 - _SOFT if pair.same else _SOFT for pair in batch])
    weights = torch.tensor([pair.weight for pair in batch])
    losses = functional.binary_cross_entropy_with_logits(best, labels, reduction="none")
    return (losses * weights).sum() / weights.sum()


def _choose(pair: SeenPair, *, generator: np.random.Generator) -> Seen:
    return pair.variants[int(generator.integers(len(pair.variants)))]


def _turn(seen: Seen, *, generator: np.random.Generator) -> Seen:
    """Turn and mirror what is seen at random; the eight ways show the same."""
    flipped = seen[..., ::-1] if generator.random() < _HALF else seen
    return np.ascontiguousarray(np.rot90(flipped, int(generator.integers(4)), axes=(2, 3)))


def _to_tensor(seen: Seen) -> Tensor:
    values = torch.from_numpy(seen).float().div_(STEPS)
    return values.contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def score(network: JudgeNetwork, pairs: Sequence[SeenPair]) -> NDArray[np.float64]:
    """Return the logarithm of the odds of each pair's most favourable overlap, [P]."""
    network.eval()
    return np.array([float(network(_to_tensor(pair.variants[0])).max()) for pair in pairs])
