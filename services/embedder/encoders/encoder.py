"""The interface between the batcher and a model: decode images, stage inputs, run the network.

`torch_encoder` and `openvino_encoder` implement it; the tests have a dummy.
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
    """One image of a request.

    Attributes:
        content: The encoded image, such as a JPEG file.
        region: The part to embed; None for all of it.
        orientations: The orientations to embed, the upright one first.
    """

    content: bytes
    region: images.Region | None = None
    orientations: tuple[Orientation, ...] = (UPRIGHT,)

    @property
    def items(self) -> int:
        """How many inputs of the network the image needs."""
        return len(self.orientations)


@dataclass(frozen=True, kw_only=True)
class PreparedImage:
    """A decoded image: an input uint8 [S, S] for each orientation, and its upright size in px."""

    pixels: tuple[NDArray[np.uint8], ...]
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class EmbeddedImage:
    """An embedded image: a descriptor float32 [D] for each orientation, and the upright size."""

    vectors: tuple[NDArray[np.float32], ...]
    width: int
    height: int


ImageOutcome = EmbeddedImage | errors.HalftoneError


class Encoder(Protocol):
    """A loaded model version on its device."""

    @property
    def model_version(self) -> str:
        """The version, as `name/number`."""

    @property
    def dimension(self) -> int:
        """The length D of its descriptors."""

    @property
    def device(self) -> str:
        """The device, for example `cpu` or `cuda:0`."""

    @property
    def backend(self) -> str:
        """The engine: `torch` or `openvino`."""

    @property
    def golden(self) -> Path | None:
        """The directory of the golden vectors to reproduce; None for the version's own."""

    def warm_ups(self) -> Sequence[Callable[[], object]]:
        """Return the calls that warm the device up, one for each batch size.

        Make them in this order, on a thread of the device.
        """

    def prepare(self, picture: InputImage) -> PreparedImage:
        """Decode and preprocess an image. May be called from several threads.

        Raises:
            errors.ImageRejected: The image cannot be used.
        """

    def stage(self, pixels: Sequence[NDArray[np.uint8]]) -> Any:
        """Stack inputs, uint8 [S, S] each, and copy them to the device.

        May be called while the device is busy with another batch.
        """

    def encode(self, staged: Any, *, alone: bool = True) -> NDArray[np.float32]:
        """Run the network on a batch; return descriptors float32 [N, D] of unit length, in order.

        Args:
            staged: What `stage` returned.
            alone: Whether the device does nothing else at the moment, so that this batch may use
                all of it.
        """


class Backend(Protocol):
    """Makes encoders for one device."""

    @property
    def max_batch(self) -> int:
        """How many items the largest batch has."""

    @property
    def workers(self) -> int:
        """How many batches run at a time, each on a thread of its own."""

    @property
    def stages_ahead(self) -> bool:
        """Whether `stage` copies to memory of the device, so that it is worth doing early."""

    def prepare_device(self) -> None:
        """Prepare the device. Called once, on a thread of the device.

        Raises:
            errors.FailedPrecondition: There is no such device.
        """

    def load(self, version: ModelVersion) -> Encoder:
        """Read a version's weights, put them onto the device and return the encoder.

        Raises:
            errors.HalftoneError: The weights do not fit their spec, or the file is damaged.
        """
