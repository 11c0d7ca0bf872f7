"""Compare two pictures as the product does: features, verification, evidence, one probability."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from halftone.imaging.orientations import orientations
from halftone.matching.fingerprint import Fingerprint, archive_fingerprint, fingerprint
from halftone.matching.offline import Gallery
from halftone.matching.relation import Relation, relation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from halftone.imaging.orientations import Orientation
    from halftone.matching.probability import Calibration, Evidence

    Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What the product says about two pictures.

    Attributes:
        probability: That they are printings of the same picture, 0 to 1.
        relation: How they are related.
        seconds: How long it took to compare them, without the making of their fingerprints.
        evidence: What the probability comes from.
    """

    probability: float
    relation: Relation
    seconds: float
    evidence: Evidence


def compare_pictures(
    query: Image.Image | Fingerprint,
    candidate: Image.Image | Fingerprint,
    *,
    calibration: Calibration | None = None,
    views: Mapping[Orientation, Floats] | None = None,
    descriptor: Floats | None = None,
) -> Comparison:
    """Compare two pictures.

    Args:
        query: The picture, or its fingerprint in all orientations (`fingerprint`).
        candidate: The picture that it is compared with, or its fingerprint (`archive_fingerprint`).
        calibration: Turns evidence into a probability: that of a model version. None takes the
            packaged one, which ignores descriptors.
        views: The query's descriptor in each orientation, float32 [D]; None: it has none.
        descriptor: The candidate's descriptor, float32 [D]; None: it has none.
    """
    made = fingerprint(query) if isinstance(query, Image.Image) else query
    kept = archive_fingerprint(candidate) if isinstance(candidate, Image.Image) else candidate
    if views is None or descriptor is None:
        # A similarity of 0 says nothing.
        descriptor = np.zeros(1, dtype=np.float32)
        views = dict.fromkeys(orientations(mirrored=True, rotated=True), descriptor)
    begun = time.perf_counter()
    gallery = Gallery(descriptor[None], [kept], calibration=calibration, threads=1)
    (match,) = gallery.search(views, made)
    return Comparison(
        probability=match.probability,
        relation=relation(match.evidence, probability=match.probability, same_bytes=False),
        seconds=time.perf_counter() - begun,
        evidence=match.evidence,
    )
