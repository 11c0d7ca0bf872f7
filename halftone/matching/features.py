"""Finds local features: RootSIFT at the strongest corners and blobs of a picture.

A small grey copy of the picture is kept with them, by which two pictures are compared once they are
registered (`halftone.matching.agreement`).

SIFT: Lowe, *Distinctive Image Features from Scale-Invariant Keypoints* (2004), by OpenCV. RootSIFT:
Arandjelović and Zisserman, *Three things everyone should know to improve object retrieval* (2012).
"""

from __future__ import annotations

import functools
import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from halftone.core import errors
from halftone.imaging.luminance import luminance, shrink

if TYPE_CHECKING:
    from PIL import Image


Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

SIDE: Final = 384
"""Longer side in pixels of the copy in which features are found.

Reprints differ in everything that is finer, and a screen of 65 lines to the inch becomes grey.
"""
COUNT: Final = 600
"""The most features of a picture; the strongest are kept.

Spread over a grid instead, real reprints lose 10 to 20 % of their inliers, and one of 88 pairs all
of them.
"""
DIMENSION: Final = 128

FORMAT: Final = 2
"""Version of the format of `to_bytes`."""
COPY_SIDE: Final = 384
"""Longer side in pixels of the grey copy. 900 separate reprints from other pictures no better."""

_CONTRAST: Final = 0.02
_TONES: Final = 128  # between the darkest and the lightest hundredth; fewer are spread out
_GAIN: Final = 6.0  # more would make corners of the grain of blank paper
_SMALLEST: Final = 12  # pixels of a side; below, no descriptor's window fits
_SCALE: Final = 512.0  # the largest bin of a RootSIFT vector of unit length is below 0.5
# OpenCV counts from the centre of the first pixel, and adds a quarter of a pixel because it halves
# places in an enlarged copy. Uncorrected, a picture and its mirror image lie half a pixel apart.
_CENTRE: Final = 0.25
_QUALITY: Final = 85  # of the copy, a JPEG file
_HEADER: Final = struct.Struct("<4sHHIII")
_MAGIC: Final = b"HTLF"
_STEPS: Final = 65535.0


def _mirror_bins() -> NDArray[np.intp]:
    """Return where each bin of a mirrored patch comes from.

    A descriptor is 4 rows x 4 columns x 8 directions in the frame of its own direction. Mirroring
    the picture turns that frame's rows and its sense of rotation over, and moves nothing else.
    """
    bins = np.arange(DIMENSION).reshape(4, 4, 8)
    return bins[::-1][:, :, (-np.arange(8)) % 8].ravel()


def _negative_bins() -> NDArray[np.intp]:
    """Return where each bin of a patch in negative comes from.

    All gradients point the other way. So the frame is turned by half, which turns its rows and its
    columns over; directions within the frame stay.
    """
    return np.arange(DIMENSION).reshape(4, 4, 8)[::-1, ::-1].ravel()


MIRRORED_BINS: Final = _mirror_bins()
NEGATIVE_BINS: Final = _negative_bins()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LocalFeatures:
    """The N local features of a picture.

    Attributes:
        points: float32 [N, 4]: x and y in pixels of the upright picture as given, from its top left
            corner (a pixel's centre is at its index plus a half), diameter in the same pixels,
            angle in degrees, clockwise.
        descriptors: uint8 [N, 128], RootSIFT; proportional to vectors of unit length.
        width: Width of the upright picture as given, in pixels.
        height: Height of the upright picture as given, in pixels.
        copy: A grey copy, a JPEG file of about 25 kB; see `encode_copy`. Empty: none was made.
    """

    points: Floats
    descriptors: Bytes
    width: int
    height: int
    copy: bytes = b""

    def __len__(self) -> int:
        """Return N."""
        return len(self.points)

    def mirrored(self) -> LocalFeatures:
        """Return the features of the mirrored picture, without extracting them again.

        The result has no copy.
        """
        points = self.points.copy()
        points[:, 0] = self.width - points[:, 0]
        points[:, 3] = (180 - points[:, 3]) % 360
        return LocalFeatures(
            points=points,
            descriptors=self.descriptors[:, MIRRORED_BINS],
            width=self.width,
            height=self.height,
        )

    def negative(self) -> LocalFeatures:
        """Return the features of the picture in negative, without extracting them again.

        SIFT finds dark and light blobs alike, so a negative has its features in the same places.
        """
        points = self.points.copy()
        points[:, 3] = (points[:, 3] + 180) % 360
        return replace(self, points=points, descriptors=self.descriptors[:, NEGATIVE_BINS])

    def select(self, rows: slice | NDArray[np.bool_]) -> LocalFeatures:
        """Return the features at `rows`; the features of a picture begin with the strongest."""
        return replace(self, points=self.points[rows], descriptors=self.descriptors[rows])

    def shift_by(self, at: tuple[float, float]) -> LocalFeatures:
        """Return the features of a part of a picture at their places in the whole picture.

        Args:
            at: x and y of the part's top left corner in the whole picture, in pixels.
        """
        return replace(self, points=self.points + np.array([*at, 0, 0], dtype=np.float32))

    def to_bytes(self) -> bytes:
        """Pack the features into 136 bytes each, the copy, and 20 bytes more.

        Places are kept to 1/65535 of the longer side.
        """
        side = float(max(self.width, self.height, 1))
        lengths = self.points[:, :3] / side
        packed = np.column_stack([lengths, (self.points[:, 3] % 360) / 360])
        packed = np.rint(packed.clip(0, 1) * _STEPS).astype("<u2")
        header = _HEADER.pack(_MAGIC, FORMAT, len(self), self.width, self.height, len(self.copy))
        return header + packed.tobytes() + self.descriptors.tobytes() + self.copy

    @classmethod
    def from_bytes(cls, data: bytes) -> LocalFeatures:
        """Unpack what `to_bytes` packed.

        Raises:
            errors.DataLoss: The bytes are something else, cut off, or of another format.
        """
        if len(data) < _HEADER.size or data[:4] != _MAGIC:
            raise errors.DataLoss("These bytes are no local features.")
        _, version, count, width, height, copied = _HEADER.unpack_from(data)
        if version != FORMAT:
            raise errors.DataLoss(
                f"These local features have format {version}; this release reads {FORMAT}."
            )
        end = _HEADER.size + count * (8 + DIMENSION)
        if len(data) != end + copied:
            raise errors.DataLoss(
                f"{count} local features take {end + copied:,} bytes; there are {len(data):,}."
            )
        packed = np.frombuffer(data, dtype="<u2", count=4 * count, offset=_HEADER.size)
        points = packed.reshape(count, 4).astype(np.float32) / np.float32(_STEPS)
        points *= np.array([*[max(width, height)] * 3, 360], dtype=np.float32)
        descriptors = np.frombuffer(
            data, dtype=np.uint8, offset=_HEADER.size + 8 * count, count=DIMENSION * count
        )
        return cls(
            points=points,
            descriptors=descriptors.reshape(count, DIMENSION),
            width=width,
            height=height,
            copy=data[end:],
        )


def encode_copy(image: Image.Image, *, side: int = COPY_SIDE) -> bytes:
    """Return the copy of a picture that is kept with its features: a grey JPEG file.

    Args:
        image: An upright picture of any mode.
        side: The longest side of the copy, in pixels.
    """
    grey = _spread(shrink(luminance(image), side))
    done, data = cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    if not done:
        raise errors.Internal(f"A copy of {grey.shape[1]} x {grey.shape[0]} cannot be encoded.")
    return data.tobytes()


@functools.lru_cache(maxsize=64)
def decode_copy(copy: bytes, *, mirrored: bool = False, negative: bool = False) -> Bytes | None:
    """Decode a copy: uint8 [H, W], read only; None if it is empty or damaged.

    Recent ones are remembered: a query is compared with many candidates.

    Args:
        copy: The result of `encode_copy`.
        mirrored: Whether to turn it over, left to right.
        negative: Whether to make it light where it is dark.
    """
    if not copy:
        return None
    grey = cv2.imdecode(np.frombuffer(copy, dtype=np.uint8), cv2.IMREAD_GRAYSCALE)
    if grey is None:
        return None
    turned = np.ascontiguousarray(grey[:, ::-1] if mirrored else grey, dtype=np.uint8)
    shown: Bytes = 255 - turned if negative else turned
    shown.flags.writeable = False
    return shown


def extract(image: Image.Image, *, full_size: tuple[int, int] | None = None) -> LocalFeatures:
    """Find local features: at most `COUNT`, none in a picture that is tiny or plain; no copy.

    Args:
        image: An upright picture of any mode.
        full_size: Width and height of the picture that `image` is a reduced copy of; places are
            given in its pixels.
    """
    width, height = full_size or image.size
    grey = shrink(luminance(image), SIDE)
    points, descriptors = np.empty((0, 4), np.float32), np.empty((0, DIMENSION), np.uint8)
    if min(grey.shape) >= _SMALLEST:
        points, descriptors = _detect(_spread(grey))
    stretch = np.array([width / grey.shape[1], height / grey.shape[0]], dtype=np.float32)
    points[:, :2] = (points[:, :2] + _CENTRE) * stretch
    points[:, 2] *= np.sqrt(stretch.prod())
    return LocalFeatures(points=points, descriptors=descriptors, width=width, height=height)


def _spread(grey: Bytes) -> Bytes:
    """Spread the tones of a faded or darkened picture, whose corners are too faint otherwise.

    At a fifth of their contrast, pictures kept only 1 to 600 features; after spreading they keep as
    many as before.
    """
    dark, light = np.percentile(grey, (1, 99))
    gain = min(_GAIN, _TONES / max(light - dark, 1.0))
    if gain <= 1:
        return grey
    spread: Floats = (grey.astype(np.float32) - (dark + light) / 2) * gain + _TONES
    return spread.clip(0, 255).astype(np.uint8)


def _detect(grey: Bytes) -> tuple[Floats, Bytes]:
    # A detector holds state while it works, so each call has its own; making one costs 10 µs.
    detector = cv2.SIFT.create(nfeatures=COUNT, contrastThreshold=_CONTRAST)
    keypoints, raw = detector.detectAndCompute(grey, None)
    if raw is None or not len(keypoints):
        return np.empty((0, 4), np.float32), np.empty((0, DIMENSION), np.uint8)
    table = np.array(
        [
            (*keypoint.pt, keypoint.size, keypoint.angle, keypoint.response)
            for keypoint in keypoints
        ],
        dtype=np.float32,
    )
    # OpenCV keeps all features that are as strong as the last; ties are broken by place.
    order = np.lexsort((table[:, 3], table[:, 0], table[:, 1], -table[:, 4]))[:COUNT]
    root = np.sqrt(raw[order] / np.maximum(raw[order].sum(axis=1, keepdims=True), 1e-9))
    descriptors = np.rint(root * _SCALE).clip(0, 255).astype(np.uint8)
    return np.ascontiguousarray(table[order, :4]), descriptors
