"""Names the eight ways in which a picture can lie: mirrored or not, turned by quarters.

Plates were mirrored, and broad pictures were printed sideways on tall pages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Orientation(NamedTuple):
    """A picture mirrored left to right, or not, and then turned clockwise by `rotation` degrees."""

    mirrored: bool = False
    rotation: int = 0

    @property
    def label(self) -> str:
        """Return the orientation in words; empty for a picture that lies as it is."""
        turned = f"turned {self.rotation}°" if self.rotation else ""
        return ", ".join(part for part in ("mirrored" if self.mirrored else "", turned) if part)

    def apply(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Turn pixels [H, W, …] to this orientation; they are [W, H, …] after a quarter turn."""
        flipped = pixels[:, ::-1] if self.mirrored else pixels
        return np.ascontiguousarray(np.rot90(flipped, k=-(self.rotation // 90)))


UPRIGHT: Final = Orientation()
QUARTERS: Final = (0, 90, 180, 270)
"""The rotations of a picture by quarters, in degrees."""


def orientations(*, mirrored: bool, rotated: bool) -> tuple[Orientation, ...]:
    """Return the orientations in which to look for a picture; the picture as it is comes first.

    Args:
        mirrored: Whether to add the mirrored picture, in each rotation.
        rotated: Whether to add the picture turned by 90, 180 and 270 degrees.
    """
    return tuple(
        Orientation(mirrored=flip, rotation=rotation)
        for rotation in (QUARTERS if rotated else (0,))
        for flip in ((False, True) if mirrored else (False,))
    )
