"""Turns an image's bytes into inputs of the network, in a pool. Needs only NumPy and Pillow."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from halftone.imaging import images
from halftone.imaging.pool.inline import Inline
from halftone.services.embedder.encoders.encoder import InputImage, PreparedImage

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from halftone.imaging.needs import Reserve
    from halftone.imaging.orientations import Orientation
    from halftone.imaging.pool.inline import Runner

MODULES: Final = (__name__, "halftone.vision.preprocessing")
"""What the workers of a pool import."""


class ImagePreprocessor(Protocol):
    """The preprocessing of a model version; `halftone.vision.preprocessing` implements it."""

    @property
    def size(self) -> int:
        """The side of the network's square input, in pixels."""

    def __call__(self, image: Image.Image, /) -> NDArray[np.uint8]:
        """Turn an upright picture into an input, uint8 [size, size]."""


@dataclass(frozen=True, kw_only=True)
class Decoder:
    """Decodes images within limits.

    Attributes:
        max_pixels: The most pixels that an image may have.
        max_bytes: The most bytes that an image may have.
        runner: Decodes, in other processes or in this one.
    """

    max_pixels: int
    max_bytes: int
    runner: Runner = field(default_factory=Inline)

    def prepare(
        self,
        picture: InputImage,
        *,
        preprocessing: ImagePreprocessor,
        is_over: Callable[[], bool] | None = None,
    ) -> PreparedImage:
        """Decode a picture or a region of it, and preprocess it.

        Args:
            picture: The picture, with its region and the orientations to prepare.
            preprocessing: The preprocessing of the model version.
            is_over: Tells that nobody waits for the picture any more.

        Raises:
            errors.ImageRejected: The image cannot be used.
            errors.HalftoneError: It cannot be decoded now; see `Pool.run`.
        """
        return self.runner.run(
            prepare,
            picture.content,
            is_over=is_over,
            region=picture.region,
            orientations=picture.orientations,
            preprocessing=preprocessing,
            max_pixels=self.max_pixels,
            max_bytes=self.max_bytes,
        )


def prepare(
    content: bytes,
    *,
    region: images.Region | None,
    orientations: tuple[Orientation, ...],
    preprocessing: ImagePreprocessor,
    max_pixels: int,
    max_bytes: int,
    reserve: Reserve,
) -> PreparedImage:
    """Do what `Decoder.prepare` does, in a worker."""
    image, (width, height) = images.decode_sized(
        content,
        max_pixels=max_pixels,
        max_bytes=max_bytes,
        # Decode at twice the network's side: on press pictures the lowest cosine to decoding in
        # full is then 0.997. At the network's side itself it is 0.974.
        target=2 * preprocessing.size,
        region=region,
        luminance=True,
        reserve=reserve,
    )
    pixels = preprocessing(image)
    # Rotating the scaled square is cheap and gives the same as scaling the rotated picture.
    inputs = tuple(orientation.apply(pixels) for orientation in orientations)
    return PreparedImage(pixels=inputs, width=width, height=height)
