"""Turns an image's bytes into the network's inputs, with NumPy and Pillow only, in threads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from halftone.imaging import images
from halftone.services.embedder.encoders.encoder import InputImage, PreparedImage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image


class ImagePreprocessor(Protocol):
    """A model version's own preprocessing; `halftone.vision.preprocessing` has it."""

    @property
    def size(self) -> int:
        """The side of the network's square input, in pixels."""

    def __call__(self, image: Image.Image, /) -> NDArray[np.uint8]:
        """Turn an upright picture into an input, uint8 [size, size]."""


@dataclass(frozen=True, kw_only=True)
class Decoder:
    """Decodes images within limits.

    Attributes:
        max_pixels: The most pixels of an image.
        max_bytes: The most bytes of an image.
        budget: Bounds the memory of all threads that decode at the same time.
    """

    max_pixels: int
    max_bytes: int
    budget: images.PixelBudget = field(default_factory=images.PixelBudget)

    def prepare(self, picture: InputImage, *, preprocessing: ImagePreprocessor) -> PreparedImage:
        """Decode a picture, or the region that is asked for, and preprocess it.

        Raises:
            errors.ImageRejected: The image cannot be used.
        """
        # Twice the network's side. On press pictures the lowest cosine to decoding at full size is
        # then 0.997; at once its side it was 0.974.
        target = 2 * preprocessing.size
        with self.budget.reserve(
            picture.content,
            max_pixels=self.max_pixels,
            target=target,
            region=picture.region,
            luminance=True,
        ):
            pixels = preprocessing(
                images.decode(
                    picture.content,
                    max_pixels=self.max_pixels,
                    max_bytes=self.max_bytes,
                    target=target,
                    region=picture.region,
                    luminance=True,
                )
            )
        width, height = images.size(picture.content)
        # Turning what was scaled to a square costs nothing and gives what scaling after it would.
        inputs = tuple(orientation.apply(pixels) for orientation in picture.orientations)
        return PreparedImage(pixels=inputs, width=width, height=height)
