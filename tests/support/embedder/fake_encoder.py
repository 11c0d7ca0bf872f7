"""Small real implementations for the embedder's tests."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from halftone.core import errors, telemetry
from halftone.imaging import images
from halftone.imaging.orientations import orientations
from halftone.services.embedder.batching.batcher import Batcher
from halftone.services.embedder.batching.door import Limits
from halftone.services.embedder.encoders.encoder import InputImage, PreparedImage
from halftone.services.embedder.metrics import EmbedderMetrics

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray


class DummyEncoder:
    """A deterministic encoder: an image is a decimal number, its descriptor says which.

    Contents that begin with `bad` are refused as damaged, those with `bug` raise something else.
    """

    device = "dummy"
    backend = "dummy"
    golden = None
    dimension = 2

    def __init__(
        self,
        *,
        model_version: str = "dummy/1",
        decode_seconds: float = 0.0,
        seconds: Callable[[], float] = lambda: 0.0,
        fails: Callable[[], bool] = lambda: False,
    ) -> None:
        self.model_version = model_version
        self.batches: list[list[int]] = []
        self.prepared: list[int] = []
        self.staged: list[int] = []
        self.touched = threading.Event()
        self.steps: list[Callable[[], object]] = []
        self.go = threading.Event()
        self.go.set()
        self._decode_seconds = decode_seconds
        self._seconds = seconds
        self._fails = fails

    def warm_ups(self) -> Sequence[Callable[[], object]]:
        return self.steps

    def prepare(
        self, picture: InputImage, *, is_over: Callable[[], bool] | None = None
    ) -> PreparedImage:
        if picture.content.startswith(b"bad"):
            raise errors.ImageRejected("The file is damaged.", reason=images.CORRUPT)
        if picture.content.startswith(b"bug"):
            raise ZeroDivisionError
        time.sleep(self._decode_seconds)
        number = int(picture.content)
        self.prepared.append(number)
        pixels = np.array([[number % 256, number // 256]], dtype=np.uint8)
        inputs = tuple(orientation.apply(pixels) for orientation in picture.orientations)
        return PreparedImage(pixels=inputs, width=number, height=1)

    def stage(self, pixels: Sequence[NDArray[np.uint8]]) -> Any:
        self.staged.append(len(pixels))
        return np.stack(pixels)

    def encode(self, staged: Any, *, alone: bool = True) -> NDArray[np.float32]:
        self.batches.append([int(low) + 256 * int(high) for low, high in staged[:, 0]])
        self.touched.set()
        self.go.wait()
        time.sleep(self._seconds())
        if self._fails():
            raise MemoryError("no memory on the device")
        return staged[:, 0].astype(np.float32)

    @property
    def items(self) -> list[int]:
        return [number for batch in self.batches for number in batch]


def picture(number: int, *, mirrored: bool = False) -> InputImage:
    return InputImage(
        content=str(number).encode(), orientations=orientations(mirrored=mirrored, rotated=False)
    )


def make_batcher(
    *,
    max_batch: int = 4,
    max_queue_items: int = 64,
    max_queue_bytes: int = 1 << 20,
    decode_threads: int = 2,
    workers: int = 1,
    stages_ahead: bool = True,
) -> tuple[Batcher, telemetry.Metrics]:
    metrics = telemetry.Metrics(service="embedder")
    batcher = Batcher(
        limits=Limits(
            max_batch=max_batch,
            max_queue_items=max_queue_items,
            max_queue_bytes=max_queue_bytes,
        ),
        decode_threads=decode_threads,
        metrics=EmbedderMetrics(metrics),
        workers=workers,
        stages_ahead=stages_ahead,
    )
    return batcher, metrics
