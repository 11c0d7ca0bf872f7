"""What the batcher needs of a model: decode an image, put inputs on the device, run them.

`encoder_torch` and `encoder_openvino` implement it; the tests have a dummy one beside.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from halftone.core import errors
from halftone.imaging.orientations import UPRIGHT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from halftone.imaging import images
    from halftone.imaging.orientations import Orientation
    from halftone.registry.version import ModelVersion


@dataclass(frozen=True, kw_only=True)
class InputImage:
    """One image of a request."""

    content: bytes
    region: images.Region | None = None
    orientations: tuple[Orientation, ...] = (UPRIGHT,)
    """What is embedded, the picture as it is first."""

    @property
    def items(self) -> int:
        """What it counts in a batch."""
        return len(self.orientations)


@dataclass(frozen=True, kw_only=True)
class PreparedImage:
    """A decoded image: the network's inputs, uint8 [S, S] each, and the upright picture's size."""

    pixels: tuple[NDArray[np.uint8], ...]
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class EmbeddedImage:
    """An embedded image: one float32 [D] for each input, in their order."""

    vectors: tuple[NDArray[np.float32], ...]
    width: int
    height: int


ImageOutcome = EmbeddedImage | errors.HalftoneError


class Encoder(Protocol):
    """A loaded model version on its device."""

    @property
    def model_version(self) -> str:
        """As `name/version`."""

    @property
    def dimension(self) -> int:
        """Of its descriptors."""

    @property
    def device(self) -> str:
        """For example `cpu` or `cuda:0`."""

    @property
    def backend(self) -> str:
        """`torch` or `openvino`."""

    @property
    def golden(self) -> Path | None:
        """Where the golden vectors lie that it must reproduce; None: in the version itself."""

    def warm_ups(self) -> Sequence[Callable[[], object]]:
        """What prepares the device: one call for each batch size, on its thread, in this order."""

    def prepare(self, picture: InputImage) -> PreparedImage:
        """Decodes and preprocesses. Called from several threads.

        Raises:
            errors.ImageRejected: The image cannot be used.
        """

    def stage(self, pixels: Sequence[NDArray[np.uint8]]) -> Any:
        """Stacks inputs and copies them to the device, while that is busy with another batch."""

    def encode(self, staged: Any, *, alone: bool = True) -> NDArray[np.float32]:
        """Runs the network on what `stage` returned: float32 [N, D], unit length, in order.

        Args:
            staged: A batch.
            alone: Whether the device does nothing else at the moment, so that this batch may have
                all of it.
        """


class Backend(Protocol):
    """Makes encoders for one device."""

    @property
    def max_batch(self) -> int:
        """Items in the largest batch."""

    @property
    def workers(self) -> int:
        """Batches that run at a time, each on a thread of its own."""

    @property
    def stages_ahead(self) -> bool:
        """Whether `stage` copies to another memory, which is worth doing ahead of time."""

    def prepare_device(self) -> None:
        """Run once, on a thread of the device.

        Raises:
            errors.FailedPrecondition: There is no such device.
        """

    def load(self, version: ModelVersion) -> Encoder:
        """Reads a version's weights and puts them onto the device.

        Raises:
            errors.HalftoneError: They do not fit their spec, or the file is damaged.
        """
