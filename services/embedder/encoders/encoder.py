"""The interface between the batcher and a model: decode images, stage inputs, run the network.

`portable_encoder` and `torch_encoder` implement it; the tests have a dummy.
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
        region: The part to embed; None for the whole image.
        orientations: The orientations to embed, the upright one first.
    """

    content: bytes
    region: images.Region | None = None
    orientations: tuple[Orientation, ...] = (UPRIGHT,)

    @property
    def items(self) -> int:
        """The number of network inputs that the image needs."""
        return len(self.orientations)


@dataclass(frozen=True, kw_only=True)
class PreparedImage:
    """A decoded image: an input uint8 [S, S] for each orientation, and its upright size in pixels.

    The size is of the whole image, even if only a region is embedded.
    """

    pixels: tuple[NDArray[np.uint8], ...]
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class EmbeddedImage:
    """An embedded image: one descriptor float32 [D] per orientation, and its upright size."""

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
        """The engine: `torch`, `openvino`, `onnxruntime` or `openvino-int8`."""

    @property
    def golden(self) -> Path | None:
        """The directory of the golden vectors to reproduce; None for the version's own."""

    def warm_ups(self) -> Sequence[Callable[[], object]]:
        """Return the calls that warm up the device, one for each batch size.

        Run them in this order, on a thread of the device.
        """

    def prepare(
        self, picture: InputImage, *, is_over: Callable[[], bool] | None = None
    ) -> PreparedImage:
        """Decode and preprocess an image. May be called from several threads.

        Args:
            picture: The image.
            is_over: Tells that nobody waits for the image any more; what decodes it is then ended.

        Raises:
            errors.ImageRejected: The image cannot be used.
            errors.HalftoneError: It cannot be decoded now.
        """

    def stage(self, pixels: Sequence[NDArray[np.uint8]]) -> Any:
        """Stack inputs, uint8 [S, S] each, and copy them to the device.

        May be called while the device is busy with another batch.
        """

    def encode(self, staged: Any, *, alone: bool = True) -> NDArray[np.float32]:
        """Run the network on a batch. Returns float32 [N, D], rows of unit length, in order.

        Args:
            staged: The batch that `stage` returned.
            alone: Whether the device is otherwise idle, so that this batch may use all of it.
        """


class Backend(Protocol):
    """Makes encoders for one device."""

    @property
    def max_batch(self) -> int:
        """The most items in a batch."""

    @property
    def workers(self) -> int:
        """The number of batches that run at a time, each on its own thread."""

    @property
    def stages_ahead(self) -> bool:
        """Whether `stage` copies to the device's memory, so that it is worth doing early."""

    def prepare_device(self) -> None:
        """Prepare the device. Called once, on a thread of the device.

        Raises:
            errors.FailedPrecondition: The device does not exist.
        """

    def load(self, version: ModelVersion) -> Encoder:
        """Read a version's weights, put them onto the device and return the encoder.

        Raises:
            errors.HalftoneError: The weights do not fit their spec, or the file is damaged.
        """
