"""Whitening and background centres."""

import numpy as np
import pytest

from halftone.vision.whitening import fit_background, fit_whitening


def correlated(count: int, width: int) -> np.ndarray:
    generator = np.random.default_rng(3)
    scales = np.geomspace(10, 0.5, width)
    mixed = generator.normal(size=(count, width)) * scales @ generator.normal(size=(width, width))
    return (mixed + 5).astype(np.float32)


@pytest.mark.parametrize(("count", "width"), [(400, 12), (40, 300)])
def test_whitened_features_are_centred_and_uncorrelated(count, width):
    features = correlated(count, width)

    whitening = fit_whitening(features, dimension=8, shrinkage=0.0)
    projected = (features - whitening.mean) @ whitening.matrix.T

    covariance = np.cov(projected.T, bias=True)
    covariance /= covariance[0, 0]
    assert np.abs(projected.mean(axis=0)).max() < 1e-2 * projected.std()
    np.testing.assert_allclose(covariance, np.eye(8), atol=5e-3)


def test_the_result_has_unit_length():
    features = correlated(50, 10)

    whitened = fit_whitening(features, dimension=4)(features)

    assert whitened.shape == (50, 4)
    np.testing.assert_allclose(np.linalg.norm(whitened, axis=1), 1, atol=1e-5)


def test_shrinkage_keeps_weak_directions_weak():
    features = correlated(300, 10)

    def spread(shrinkage: float) -> float:
        whitening = fit_whitening(features, dimension=10, shrinkage=shrinkage)
        deviations = ((features - whitening.mean) @ whitening.matrix.T).std(axis=0)
        return float(deviations.max() / deviations.min())

    assert spread(0.0) == pytest.approx(1, abs=0.02)
    assert spread(0.5) > 2


def test_its_entries_suit_half_precision():
    matrix = fit_whitening(correlated(100, 20) * 1e6, dimension=10).matrix

    assert float(np.sqrt(np.mean(matrix**2))) == pytest.approx(1, rel=1e-4)


@pytest.mark.parametrize("count", [8, 5])
def test_refuses_more_dimensions_than_the_pictures_span(count):
    with pytest.raises(ValueError, match="8 dimensions"):
        fit_whitening(correlated(count, 20), dimension=8)


def test_background_centres_are_unit_vectors_near_the_clusters():
    generator = np.random.default_rng(0)
    directions = np.eye(5, dtype=np.float32)
    rows = np.repeat(directions, 40, axis=0) + generator.normal(0, 0.05, (200, 5))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    centres = fit_background(rows, centres=20, seed=1)

    np.testing.assert_allclose(np.linalg.norm(centres, axis=1), 1, atol=1e-5)
    assert ((directions @ centres.T).max(axis=1) > 0.98).all()
    np.testing.assert_array_equal(centres, fit_background(rows, centres=20, seed=1))


def test_refuses_more_centres_than_pictures():
    with pytest.raises(ValueError, match="9 centres"):
        fit_background(np.eye(4, dtype=np.float32), centres=9)
