"""Runs a model version with torch, on the CPU or on CUDA."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import torch

from halftone import errors
from halftone.vision.inference import Execution, runner
from halftone.vision.model import Model

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from halftone.registry import ModelVersion
    from services.embedder.decoding import Decoder
    from services.embedder.encoder import Picture, Prepared


# On the CPU, larger batches leave the caches: ResNet-18 at 128 pixels takes 10.1 ms of one core for
# an image in a batch of 8, and 11.4 in one of 32 or 64. On CUDA only the size fills the device.
_MAX_BATCH: Final = {"cpu": 8, "cuda": 128}


class TorchBackend:
    """Loads model versions onto one device."""

    name = "torch"

    def __init__(
        self,
        *,
        device: str,
        threads: int,
        max_batch: int,
        decoder: Decoder,
        execution: Execution = "eager",
    ) -> None:
        """Reads no model yet.

        Args:
            device: `auto`, `cpu`, `cuda` or `cuda:N`.
            threads: For the CPU; 0 means one per core.
            max_batch: Items in the largest batch; 0 means what suits the device.
            decoder: Decodes pictures.
            execution: How networks run on CUDA; on the CPU they always run as they are.
        """
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self._device = torch.device(device)
        self._threads = threads
        self._decoder = decoder
        self._execution: Execution = execution if self._device.type == "cuda" else "eager"
        self.max_batch = max_batch or _MAX_BATCH[self._device.type]

    def prepare_device(self) -> None:
        """Run once, on the thread that will own the device.

        Raises:
            errors.FailedPrecondition: There is no such device.
        """
        if self._device.type == "cuda" and (self._device.index or 0) >= torch.cuda.device_count():
            raise errors.FailedPrecondition(
                f"The device is set to {self._device}, but torch finds no such device.",
                reason="NO_DEVICE",
            )
        torch.set_num_threads(self._threads or os.cpu_count() or 1)

    def load(self, version: ModelVersion) -> TorchEncoder:
        """Reads a version's weights and puts them onto the device."""
        device = self._device
        if device.type == "cuda" and device.index is None:
            device = torch.device("cuda", torch.cuda.current_device())
        model = Model.load(version.directory, device=device)
        return TorchEncoder(
            model,
            version=version,
            device=device,
            max_batch=self.max_batch,
            decoder=self._decoder,
            execution=self._execution,
        )


class TorchEncoder:
    """One model version on one device."""

    backend = "torch"

    def __init__(
        self,
        model: Model,
        *,
        version: ModelVersion,
        device: torch.device,
        max_batch: int,
        decoder: Decoder,
        execution: Execution = "eager",
    ) -> None:
        self.model_version = version.id
        self.dimension = model.spec.dimension
        self.device = str(device)
        self._model = model
        self._device = device
        self._decoder = decoder
        self._run = (
            None
            if execution == "eager"
            else runner(model.network, execution=execution, device=device)
        )
        # On CUDA every new batch size is planned anew, so there are few of them, and batches are
        # padded. On the CPU a padded row costs what a real one does: batches go as they come.
        self._buckets = buckets(max_batch) if device.type == "cuda" else (1,)
        self._pads = device.type == "cuda"
        self._copies = torch.cuda.Stream(device) if self._pads else None  # type: ignore[no-untyped-call]

    def warm_up(self) -> None:
        """See `Encoder`."""
        size = self._model.spec.preprocessing.size
        blank = np.zeros((size, size), dtype=np.uint8)
        for items in self._buckets:
            self.encode(self.stage([blank] * items))

    def prepare(self, picture: Picture) -> Prepared:
        """See `Encoder`."""
        return self._decoder.prepare(picture, preprocessing=self._model.spec.preprocessing)

    def stage(self, pixels: Sequence[NDArray[np.uint8]]) -> _Staged:
        """See `Encoder`."""
        count = len(pixels)
        if self._copies is None:
            return _Staged(torch.from_numpy(np.stack(pixels)), count, None)
        padded = next(bucket for bucket in self._buckets if bucket >= count)
        pinned = torch.zeros((padded, *pixels[0].shape), dtype=torch.uint8, pin_memory=True)
        np.stack(pixels, out=pinned.numpy()[:count])
        # On a stream of its own, so that the copy runs beside the batch that is being computed.
        with torch.cuda.stream(self._copies):
            batch = pinned.to(self._device, non_blocking=True)
            copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
            copied.record(self._copies)
        return _Staged(batch, count, copied)

    def encode(self, staged: _Staged) -> NDArray[np.float32]:
        """See `Encoder`."""
        batch, items, copied = staged
        if copied is not None:
            stream = torch.cuda.current_stream(self._device)
            stream.wait_event(copied)
            # The memory belongs to the copying stream; it must not be reused before this is done.
            batch.record_stream(stream)
        if self._run is None:
            return self._model.embed(batch)[:items]
        vectors: NDArray[np.float32] = self._run(batch)[:items].cpu().numpy()
        return vectors


class _Staged(NamedTuple):
    batch: torch.Tensor
    items: int
    copied: torch.cuda.Event | None


def buckets(max_batch: int) -> tuple[int, ...]:
    """1, 2, 4, 8 … and `max_batch` itself."""
    powers = [1 << power for power in range(max_batch.bit_length()) if 1 << power < max_batch]
    return (*powers, max_batch)
