"""The odds of tiles: fitted on printings and strangers, and as the product has them."""

from __future__ import annotations

import numpy as np
import pytest

from halftone.evaluation.tile_odds import fit_odds, sample_tiles
from halftone.matching.agreement import ODDS
from tests.support.pictures.printed_pages import scene


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    paths = [folder / f"{seed}.png" for seed in (1, 2, 3)]
    for seed, path in enumerate(paths, start=1):
        scene(seed).save(path)
    return sample_tiles(paths, seed=0)


def test_tiles_of_printings_and_of_strangers_are_sampled_alike(tiles):
    terms, labels = tiles
    assert terms.shape == (len(labels), len(ODDS))
    assert np.isfinite(terms).all()
    assert 0.3 < labels.mean() < 0.7


def test_the_odds_of_the_product_tell_them_apart(tiles):
    terms, labels = tiles
    assert ((terms @ np.array(ODDS) > 0) == labels).mean() > 0.85


def test_a_fit_weighs_correlation_most(tiles):
    odds = fit_odds(*tiles)
    assert odds.shape == (len(ODDS),)
    assert odds[1] + odds[3] > 2, "correlation of gradients speaks for the same"
