"""Runs a model version with torch, on the CPU or on CUDA."""

from __future__ import annotations

import functools
import os
import time
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import torch

from halftone.core import errors
from halftone.vision.inference import Execution, fuse, runner
from halftone.vision.model import Model, best_device

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from halftone.registry.version import ModelVersion
    from halftone.services.embedder.encoders.decoding import Decoder
    from halftone.services.embedder.encoders.encoder import InputImage, PreparedImage


# On the CPU, larger batches do not fit the caches: with ResNet-18 at 128 pixels an image takes
# 10.1 ms of one core in a batch of 8, and 11.4 ms in one of 32 or 64. CUDA needs large batches.
_MAX_BATCH: Final = {"cpu": 8, "cuda": 128}
# Batches that a CPU works on at a time. Two cores that each run a batch of their own on one thread
# embed 241 images/s with the starter's float32 weights, and 411 in bfloat16; sharing each batch
# they wait for one another at the end of every layer, which leaves 182 and 260. More workers than
# this would keep Python's interpreter busy with starting layers.
_MOST_WORKERS: Final = 4
# A single image gets all threads if they need at most this share of the time of a worker's own.
_WORTH_SHARING: Final = 0.9
_TRIALS: Final = 3


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
        """Prepare the backend. No model is read yet.

        Args:
            device: `auto`, `cpu`, `cuda` or `cuda:N`.
            threads: The threads of all workers on the CPU together; 0 means one per core.
            max_batch: The most items in a batch; 0 means a size that suits the device.
            decoder: The decoder of images.
            execution: How networks run on CUDA. On the CPU they are always fused, and compute in
                bfloat16 if the processor supports it natively.
        """
        if device == "auto":
            device = best_device()
        self._device = torch.device(device)
        self._threads = threads or os.cpu_count() or 1
        self._decoder = decoder
        self._execution: Execution = execution
        self.max_batch = max_batch or _MAX_BATCH[self._device.type]
        self.on_cuda = self._device.type == "cuda"
        self.workers = 1 if self.on_cuda else min(self._threads, _MOST_WORKERS)
        self.stages_ahead = self.on_cuda

    def prepare_device(self) -> None:
        """Check that the device exists. Nothing else has to be prepared.

        Raises:
            errors.FailedPrecondition: It does not exist.
        """
        if self.on_cuda and (self._device.index or 0) >= torch.cuda.device_count():
            raise errors.FailedPrecondition(
                f"The device is set to {self._device}, but torch finds no such device.",
                reason="NO_DEVICE",
            )

    def load(self, version: ModelVersion) -> CpuEncoder | CudaEncoder:
        """Read a version's weights, put them onto the device and return the encoder."""
        device = self._device
        if device.type == "cuda" and device.index is None:
            device = torch.device("cuda", torch.cuda.current_device())
        model = Model.load(version.directory, device=device)
        if device.type == "cpu":
            return CpuEncoder(
                model,
                version=version,
                threads=self._threads,
                share=max(1, self._threads // self.workers),
                decoder=self._decoder,
            )
        return CudaEncoder(
            model,
            version=version,
            device=device,
            max_batch=self.max_batch,
            decoder=self._decoder,
            execution=self._execution,
        )


class CpuEncoder:
    """One model version on the CPU, run by several workers at a time."""

    backend = "torch"
    device = "cpu"
    golden = None

    def __init__(
        self, model: Model, *, version: ModelVersion, threads: int, share: int, decoder: Decoder
    ) -> None:
        """Take over a model and change its network. Do not use the model itself afterwards.

        Args:
            model: The model, on the CPU.
            version: The version of the model.
            threads: The threads of all workers together.
            share: The threads that a worker uses while others work, too.
            decoder: The decoder of images.
        """
        self.model_version = version.id
        self.dimension = model.spec.dimension
        self._preprocessing = model.spec.preprocessing
        self._network = fuse(model.network, dtype=find_cpu_precision())
        self._decoder = decoder
        self._share = share
        self._threads_alone = threads

    def warm_ups(self) -> Sequence[Callable[[], object]]:
        """Return the one call that warms up the network.

        It also finds out whether a single image is faster with all threads or with a worker's
        share.
        """
        return (self._compare_threads,)

    def _compare_threads(self) -> None:
        size = self._preprocessing.size
        blank = torch.zeros((1, size, size), dtype=torch.uint8)
        shared, whole = (
            min(self._seconds(blank, threads=threads) for _ in range(_TRIALS))
            for threads in (self._share, self._threads_alone)
        )
        if whole > _WORTH_SHARING * shared:
            self._threads_alone = self._share

    def prepare(
        self, picture: InputImage, *, is_over: Callable[[], bool] | None = None
    ) -> PreparedImage:
        """Decode and preprocess an image."""
        return self._decoder.prepare(picture, preprocessing=self._preprocessing, is_over=is_over)

    def stage(self, pixels: Sequence[NDArray[np.uint8]]) -> torch.Tensor:
        """Stack the inputs of a batch into a tensor."""
        return torch.from_numpy(np.stack(pixels))

    def encode(self, staged: torch.Tensor, *, alone: bool = True) -> NDArray[np.float32]:
        """Run the network with all threads if `alone`, otherwise with the worker's share."""
        return self._run(staged, threads=self._threads_alone if alone else self._share)

    def _run(self, batch: torch.Tensor, *, threads: int) -> NDArray[np.float32]:
        # OpenMP keeps this number for each thread that calls it.
        torch.set_num_threads(threads)
        with torch.inference_mode():
            descriptors: NDArray[np.float32] = self._network(batch.unsqueeze(1)).numpy()
        return descriptors

    def _seconds(self, batch: torch.Tensor, *, threads: int) -> float:
        started = time.perf_counter()
        self._run(batch, threads=threads)
        return time.perf_counter() - started


class CudaEncoder:
    """One model version on a CUDA device."""

    backend = "torch"
    golden = None

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
        # Each new batch size is planned, so only a few sizes are used and batches are padded.
        self._buckets = batch_sizes(max_batch)
        self._copies = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def warm_ups(self) -> Sequence[Callable[[], object]]:
        """Return the calls that plan and run each batch size on the device."""
        return [functools.partial(self._warm_up, items) for items in self._buckets]

    def _warm_up(self, items: int) -> None:
        size = self._model.spec.preprocessing.size
        self.encode(self.stage([np.zeros((size, size), dtype=np.uint8)] * items))

    def prepare(
        self, picture: InputImage, *, is_over: Callable[[], bool] | None = None
    ) -> PreparedImage:
        """Decode and preprocess an image."""
        return self._decoder.prepare(
            picture, preprocessing=self._model.spec.preprocessing, is_over=is_over
        )

    def stage(self, pixels: Sequence[NDArray[np.uint8]]) -> _Staged:
        """Copy the padded inputs of a batch to the device, on a separate stream."""
        count = len(pixels)
        padded = next(bucket for bucket in self._buckets if bucket >= count)
        pinned = torch.zeros((padded, *pixels[0].shape), dtype=torch.uint8, pin_memory=True)
        np.stack(pixels, out=pinned.numpy()[:count])
        # On a separate stream, so that the copy runs while another batch is computed.
        with torch.cuda.stream(self._copies):
            batch = pinned.to(self._device, non_blocking=True)
            copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
            copied.record(self._copies)
        return _Staged(batch, count, copied)

    def encode(self, staged: _Staged, *, alone: bool = True) -> NDArray[np.float32]:  # noqa: ARG002  # there is one worker
        """Run the network on a staged batch and return its descriptors."""
        batch, items, copied = staged
        stream = torch.cuda.current_stream(self._device)
        stream.wait_event(copied)
        # The memory belongs to the copying stream; keep it from being reused before this is done.
        batch.record_stream(stream)
        if self._run is None:
            return self._model.embed(batch)[:items]
        vectors: NDArray[np.float32] = self._run(batch)[:items].cpu().numpy()
        return vectors


class _Staged(NamedTuple):
    batch: torch.Tensor
    items: int
    copied: torch.cuda.Event


def batch_sizes(max_batch: int) -> tuple[int, ...]:
    """Return the sizes to which batches are padded: 1, 2, 4, 8 … and `max_batch` itself."""
    powers = [1 << power for power in range(max_batch.bit_length()) if 1 << power < max_batch]
    return (*powers, max_batch)


def find_cpu_precision() -> torch.dtype:
    """Return the precision of the backbone on this CPU: bfloat16 if it is native, else float32.

    Emulated bfloat16 would be slower than float32. With bfloat16 the starter's descriptors differ
    from float32 by a cosine of 0.999995.
    """
    can = torch.cpu.get_capabilities()
    native = can.get("avx512_bf16", False) or can.get("amx_bf16", False)
    return torch.bfloat16 if native else torch.float32
