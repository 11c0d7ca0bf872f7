"""Fits the last layers of a descriptor: whitening, and centres of the background."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Whitening:
    """The whitening y = matrix @ (x - mean), L2-normalised; mean [F], matrix [D, F], float32."""

    mean: Floats
    matrix: Floats

    def __call__(self, features: Floats) -> Floats:
        """Whiten and normalise: float32 [N, F] -> [N, D] of unit length."""
        projected = (features - self.mean) @ self.matrix.T
        length = np.linalg.norm(projected, axis=1, keepdims=True)
        unit: Floats = projected / np.maximum(length, 1e-12)
        return unit


def fit_whitening(
    features: Floats, *, dimension: int, shrinkage: float = 0.1, exponent: float = 0.5
) -> Whitening:
    """Fit a PCA-whitening that keeps the `dimension` strongest components.

    With fewer pictures than features the work is done in the span of the pictures, so that a wide
    feature costs N^2 F instead of F^3.

    Args:
        features: float32 [N, F], one row per picture.
        dimension: D, the number of components that are kept.
        shrinkage: The share of the mean variance that is added to every variance before it is
            inverted; otherwise directions in which few pictures vary would be blown up.
        exponent: 0.5 whitens, 0 only rotates.

    Raises:
        ValueError: There are too few pictures or features for `dimension`.
    """
    centred = np.asarray(features, dtype=np.float64)
    mean = centred.mean(axis=0)
    centred = centred - mean
    count, width = centred.shape
    basis, values = _principal(centred)
    if dimension > len(values):
        raise ValueError(
            f"whitening to {dimension} dimensions needs more than {count} pictures of {width} "
            f"features that span {len(values)} directions"
        )
    scale = (values[:dimension] + shrinkage * values.mean()) ** -exponent
    matrix = (basis[:, :dimension] * scale).T
    # Any common factor is lost in the normalisation; this one suits float16.
    matrix /= max(float(np.sqrt(np.mean(matrix**2))), 1e-12)
    return Whitening(mean.astype(np.float32), np.ascontiguousarray(matrix, dtype=np.float32))


def fit_background(
    descriptors: Floats, *, centres: int, seed: int = 0, iterations: int = 20
) -> Floats:
    """Return the centres of descriptors, [centres, D] of unit length, by spherical k-means.

    Centres are used rather than pictures, so that a picture that is itself in the background, or is
    reprinted from it, keeps what is its own.

    Args:
        descriptors: Unit rows, float32 [N, D].
        centres: The number of centres.
        seed: Chooses the rows to start from.
        iterations: The number of rounds.

    Raises:
        ValueError: There are fewer rows than centres.
    """
    if len(descriptors) < centres:
        raise ValueError(
            f"{centres} centres need at least as many pictures, not {len(descriptors)}"
        )
    generator = np.random.default_rng(seed)
    chosen = np.sort(generator.choice(len(descriptors), centres, replace=False))
    means = descriptors[chosen].astype(np.float32)
    for _ in range(iterations):
        nearest = np.argmax(descriptors @ means.T, axis=1)
        sums = np.zeros_like(means)
        np.add.at(sums, nearest, descriptors)
        used = np.bincount(nearest, minlength=centres) > 0
        means[used] = sums[used] / np.linalg.norm(sums[used], axis=1, keepdims=True).clip(1e-12)
    return means


def _principal(centred: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return principal directions [F, K] and their variances [K], largest first."""
    count, width = centred.shape
    if count > width:
        values, vectors = np.linalg.eigh(centred.T @ centred / count)
        keep = values[::-1] > values[-1] * 1e-9
        return vectors[:, ::-1][:, keep], values[::-1][keep]
    values, vectors = np.linalg.eigh(centred @ centred.T / count)
    keep = values[::-1] > values[-1] * 1e-9
    values, vectors = values[::-1][keep], vectors[:, ::-1][:, keep]
    return centred.T @ (vectors / np.sqrt(values * count)), values
