"""Chooses the pictures of a step, as a function of the seed and the step alone.

So a resumed run gets the same pictures as an uninterrupted one, and no state has to be kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from halftone.core.training_options import Balance


def hold_out(total: int, *, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Split `total` rows into (training, validation), with `count` rows in validation.

    The same seed gives the same split.
    """
    order = torch.randperm(total, generator=torch.Generator().manual_seed(seed))
    return order[count:].sort().values, order[:count].sort().values


def batches(count: int, *, size: int, seed: int, start: int = 0) -> Iterator[Tensor]:
    """Yield the row numbers of each step, int64 [size], without end.

    In an epoch no row comes twice. Rows that do not fill a batch are left out until the next epoch.

    Args:
        count: The number of rows.
        size: The number of rows in a batch.
        seed: The same seed gives the same batches.
        start: The step to start with.

    Raises:
        ValueError: There are fewer rows than a batch has.
    """
    per_epoch = count // size
    if per_epoch == 0:
        raise ValueError(f"a batch of {size} needs at least {size} pictures, not {count}")
    step = start
    while True:
        epoch = step // per_epoch
        order = torch.randperm(
            count, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        )
        for position in range(step % per_epoch, per_epoch):
            yield order[position * size : (position + 1) * size]
        step = (epoch + 1) * per_epoch


def group_batches(
    groups: Sequence[NDArray[np.int64]], *, size: int, per_group: int, seed: int, start: int = 0
) -> Iterator[Tensor]:
    """Yield the row numbers of each step, int64 [size], without end: `per_group` of each group.

    Groups come in a random order, each of them once before any comes again, so each counts the same
    however many pictures it has.

    Args:
        groups: The row numbers of each group.
        size: The number of rows in a batch.
        per_group: The rows to take from a group at a time. A group with fewer pictures repeats
            them; each repetition is printed differently.
        seed: The same seed gives the same batches.
        start: The step to start with.
    """
    here = size // per_group
    current, order = -1, torch.empty(0, dtype=torch.int64)
    while True:
        generator = torch.Generator().manual_seed(seed * 1_000_003 + start)
        rows = []
        for place in range(start * here, (start + 1) * here):
            epoch, position = divmod(place, len(groups))
            if epoch != current:
                current, order = epoch, _order(len(groups), seed=seed, epoch=epoch)
            members = groups[int(order[position])]
            shuffled = torch.randperm(len(members), generator=generator)
            drawn = shuffled.repeat(-(-per_group // len(members)))[:per_group]
            rows.append(torch.from_numpy(members)[drawn])
        yield torch.cat(rows)
        start += 1


def group_steps(groups: int, *, size: int, per_group: int) -> int:
    """Return the number of steps of `group_batches` that show each group about once.

    Args:
        groups: The number of groups.
        size: As in `group_batches`.
        per_group: As in `group_batches`.
    """
    return max(1, round(groups / (size // per_group)))


def class_weights(counts: NDArray[np.int64], *, balance: Balance) -> Tensor:
    """Return the weight of each class, float32 [C]. The mean over all pictures is 1.

    Args:
        counts: The number of pictures of each class, [C].
        balance: "effective": weights are the inverse of the effective number of samples (Cui et al.
            2019), with their beta of (N - 1) / N. "inverse": the inverse of the number of pictures.
            "sampling": equal weights, because each class is drawn equally often.
    """
    counts = counts.astype(np.float64)
    if balance == "effective":
        beta = (counts.sum() - 1) / counts.sum()
        weights = (1 - beta) / (1 - beta**counts)
    elif balance == "inverse":
        weights = 1 / counts
    else:
        weights = np.ones_like(counts)
    weights = weights * counts.sum() / (weights * counts).sum()
    return torch.from_numpy(weights).float()


def _order(count: int, *, seed: int, epoch: int) -> Tensor:
    generator = torch.Generator().manual_seed((seed + 1) * 7_368_787 + epoch)
    return torch.randperm(count, generator=generator)
