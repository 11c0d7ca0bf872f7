"""Connects the processes of one training run: one process, or several that `torchrun` started.

Each process holds the whole state and takes its share of every batch. Gradients are summed over the
processes, so that the states stay equal. The first process logs, validates, saves and publishes.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor, distributed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# The other processes wait while the first one validates and publishes.
_PATIENCE: Final = timedelta(hours=2)


@dataclass(frozen=True)
class World:
    """This process among the processes of a run."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the first process."""
        return self.rank == 0

    def sum_over_processes(self, tensors: Iterable[Tensor | None]) -> None:
        """Replace each tensor in place by its sum over all processes. None is skipped.

        All tensors are sent in one message.
        """
        if self.size == 1:
            return
        present = [tensor for tensor in tensors if tensor is not None]
        flat = torch.cat([tensor.reshape(-1) for tensor in present])
        distributed.all_reduce(flat)
        offset = 0
        for tensor in present:
            tensor.copy_(flat[offset : offset + tensor.numel()].view_as(tensor))
            offset += tensor.numel()

    def gather(self, parts: dict[int, Tensor], *, count: int) -> Tensor:
        """Join the parts of a batch from all processes, in order: [count * B, D].

        Args:
            parts: The parts that this process has, [B, D] each, by their numbers.
            count: The number of parts of all processes together.
        """
        if self.size == 1:
            return torch.cat([parts[number] for number in range(count)])
        example = next(iter(parts.values()))
        joined = torch.zeros(count, *example.shape, device=example.device)
        for number, part in parts.items():
            joined[number] = part
        distributed.all_reduce(joined)
        return joined.flatten(0, 1)

    def share(self, values: list[float], *, device: torch.device) -> list[float]:
        """Return, in every process, the `values` of the first process."""
        if self.size == 1:
            return values
        message = torch.tensor(values, dtype=torch.float64, device=device)
        distributed.broadcast(message, src=0)
        told: list[float] = message.tolist()
        return told

    def align(self, tensors: Iterable[Tensor]) -> None:
        """Replace tensors in place by the tensors of the first process."""
        if self.size > 1:
            for tensor in tensors:
                distributed.broadcast(tensor, src=0)


@contextlib.contextmanager
def join_world() -> Iterator[tuple[World, torch.device]]:
    """Join the processes of `torchrun`, if it started this one. Yields the world and the device."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    cuda = torch.cuda.is_available()
    if size == 1:
        yield World(), torch.device("cuda" if cuda else "cpu")
        return
    device = torch.device("cpu")
    if cuda:
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if cuda else "gloo", timeout=_PATIENCE)
    try:
        yield World(distributed.get_rank(), size), device
    finally:
        distributed.destroy_process_group()
