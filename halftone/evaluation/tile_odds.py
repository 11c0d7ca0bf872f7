"""Fit the odds that a tile shows the same in two registered pictures.

    python -m halftone.evaluation.tile_odds FOLDER [--pictures 500]

Pictures are printed anew and registered by their local features. The tiles of a picture and its
printing show the same; those of a picture and the printing of another one, laid where its own would
lie, do not. The coefficients go into `halftone.matching.agreement.ODDS`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np

from halftone.archive.manifests import list_pictures
from halftone.evaluation.calibration_samples import print_part, read_picture
from halftone.matching import polygons, tiles
from halftone.matching.features import decode_copy, encode_copy
from halftone.matching.fingerprint import local_features
from halftone.matching.verification import verify
from halftone.vision.reprinting import reprint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from PIL import Image

    Floats = NDArray[np.float32]

_FEWEST_INLIERS: Final = 15
_TILES: Final = 60  # of a pair; neighbours say much the same
_SIDE: Final = 640


def sample_tiles(paths: Sequence[Path], *, seed: int) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the terms of tiles, float32 [T, 6], and whether both pictures show the same there."""
    rows: list[Floats] = []
    labels: list[NDArray[np.bool_]] = []
    for number, path in enumerate(paths):
        generator = np.random.default_rng([seed, number])
        picture = read_picture(path)
        first = reprint(picture, seed=int(generator.integers(2**31)), side=_SIDE)
        second = print_part(picture, generator=generator)
        other = read_picture(paths[(number + int(generator.integers(1, len(paths)))) % len(paths)])
        stranger = print_part(other, generator=generator).resize(second.size)
        for shown, same in ((second, True), (stranger, False)):
            found = _measure(first, second, shown=shown)
            if found is not None:
                kept = generator.permutation(np.argwhere(found.inside))[:_TILES]
                rows.append(tiles.tile_terms(found)[kept[:, 0], kept[:, 1]])
                labels.append(np.full(len(kept), same))
    return np.concatenate(rows), np.concatenate(labels)


def fit_odds(terms: Floats, labels: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Fit the coefficients of `tiles.tile_terms`, float64 [6]."""
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - takes a second

    regression = LogisticRegression(C=10.0, max_iter=1000).fit(terms[:, 1:], labels)
    coefficients: NDArray[np.float64] = np.concatenate([regression.intercept_, regression.coef_[0]])
    return coefficients


def _measure(first: Image.Image, second: Image.Image, *, shown: Image.Image) -> tiles.Tiles | None:
    """Register two printings, and measure the first against `shown` in the second's place."""
    ours, theirs = local_features(first), local_features(second)
    overlaps = verify(ours, theirs).overlaps
    if not overlaps or overlaps[0].inliers < _FEWEST_INLIERS:
        return None
    sizes = (ours.width, ours.height), (theirs.width, theirs.height)
    meeting = polygons.shared_part(overlaps[0].homography, *sizes)
    copies = decode_copy(ours.copy), decode_copy(encode_copy(shown))
    if meeting is None or copies[0] is None or copies[1] is None:
        return None
    return tiles.measure(
        copies[0],
        copies[1],
        overlaps[0].homography,
        first_size=sizes[0],
        second_size=sizes[1],
        meeting=meeting,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Fit and print the coefficients."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pictures", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    given: Any = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    paths = list_pictures(given.folder)
    order = np.random.default_rng(given.seed).permutation(len(paths))[: given.pictures]
    terms, labels = sample_tiles([paths[int(at)] for at in order], seed=given.seed)
    odds = fit_odds(terms, labels)
    right = ((terms @ odds > 0) == labels).mean()
    print(f"{len(labels):,} tiles, {right:.1%} of them on their side")
    print("ODDS =", tuple(round(float(each), 3) for each in odds))


if __name__ == "__main__":
    main()
