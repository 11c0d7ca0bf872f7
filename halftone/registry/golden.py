"""Golden vectors: pictures that travel with a model version, and the descriptors they must get.

`golden.json` is `{"min_cosine": c, "images": [{"png_base64": …, "descriptor": [D numbers]}, …]}`.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final

import numpy as np

from halftone.core import errors, files

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

GOLDEN: Final = "golden.json"


def check_golden(
    directory: Path,
    *,
    embed: Callable[[Sequence[bytes]], NDArray[np.float32]],
    dimension: int,
) -> float:
    """Embed a version's golden pictures and compare the descriptors with the published ones.

    Args:
        directory: The directory of the version's files.
        embed: Embeds N encoded pictures: float32 [N, D], rows of unit length.
        dimension: D, the length of a descriptor.

    Returns:
        The lowest cosine between a descriptor and the published one.

    Raises:
        errors.DataLoss: A cosine is lower than the version allows: this model on this device does
            not compute what was published. Or `golden.json` cannot be used.
    """
    try:
        golden = files.read_object(directory / GOLDEN)
        limit = float(golden["min_cosine"])
        entries = golden["images"]
        expected = np.array([entry["descriptor"] for entry in entries], dtype=np.float32)
        contents = [base64.b64decode(entry["png_base64"]) for entry in entries]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise errors.DataLoss(
            f"{directory / GOLDEN} cannot be used: {error}", reason="GOLDEN_DAMAGED"
        ) from error
    if expected.ndim != 2 or expected.shape[1] != dimension:  # noqa: PLR2004  # [N, D]
        raise errors.DataLoss(
            f"{directory / GOLDEN} has descriptors of shape {expected.shape}, not [N, "
            f"{dimension}].",
            reason="GOLDEN_DAMAGED",
        )
    lowest = float((embed(contents) * expected).sum(axis=1).min())
    if not lowest >= limit:  # also true of NaN
        raise errors.DataLoss(
            f"The model in {directory} gives descriptors with a cosine of {lowest:.4f} to the "
            f"published ones; at least {limit} is required.",
            reason="GOLDEN_MISMATCH",
        )
    return lowest
