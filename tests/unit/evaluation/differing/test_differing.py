"""What the difference map learns from, and its training on pairs that one channel tells."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from halftone.evaluation.differing import network, samples
from halftone.evaluation.differing.retouching import WAYS, retouch
from halftone.matching.looks.difference_map import CELL, DifferenceMap
from halftone.matching.looks.seen import CHANNELS, SIDE
from halftone.vision.differing import STEPS, UNKNOWN, DifferenceNetwork, SeenPrinting, predict
from tests.support.pictures.printed_pages import scene

CELLS = SIDE // CELL


@pytest.mark.parametrize("way", WAYS)
def test_a_spot_is_changed_and_nothing_else(way):
    picture, other = (np.asarray(scene(seed).convert("L")) for seed in (1, 2))
    for seed in range(4):
        generator = np.random.default_rng(seed)
        made = retouch(picture, other, way=way, generator=generator)
        assert made.picture.shape == picture.shape
        assert 0.001 < made.mask.mean() < 0.3
        changed = np.abs(made.picture.astype(int) - picture) > 3
        near = cv2.dilate(made.mask, np.ones((41, 41), np.uint8)) > 0
        assert not changed[~near].any()
        assert made.seen[made.mask > 0].max() > 3
        again = retouch(picture, other, way=way, generator=np.random.default_rng(seed))
        np.testing.assert_array_equal(again.picture, made.picture)


def test_printings_are_seen_with_what_was_changed(tmp_path):
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for number, path in enumerate(paths):
        scene(number).save(path)
    seen = list(samples.see_retouched(paths, pictures=2, seed=4))
    assert len(seen) >= 4
    for each in seen:
        assert len(each.variants) == 3
        assert each.variants[0].shape == (CHANNELS, SIDE, SIDE)
        assert each.changed.shape == (CELLS, CELLS)
        assert set(np.unique(each.changed)) <= {UNKNOWN, 0, 1}
        assert (each.kind == samples.FAITHFUL) <= (not (each.changed == 1).any())
    marked = [each for each in seen if (each.changed == 1).any()]
    assert marked
    for each in marked:
        seen_apart = np.abs(each.variants[0][2].astype(np.float32))
        levelled = cv2.resize(seen_apart, (CELLS, CELLS), interpolation=cv2.INTER_AREA)
        assert levelled[each.changed == 1].mean() > 1.5 * levelled[each.changed == 0].mean()


def printing(*, seed: int) -> SeenPrinting:
    """Pictures whose second channel differs in a square, if the seed is odd."""
    generator = np.random.default_rng(seed)
    seen = generator.integers(-9, 10, (CHANNELS, SIDE, SIDE)).astype(np.int8)
    seen[0] = STEPS
    changed = np.zeros((CELLS, CELLS), dtype=np.int8)
    if seed % 2:
        top, left = (int(each) for each in generator.integers(2, CELLS - 8, 2))
        changed[top : top + 6, left : left + 6] = 1
        seen[2, CELL * top : CELL * (top + 6), CELL * left : CELL * (left + 6)] = STEPS
    return SeenPrinting(variants=(seen,), changed=changed, weight=1.0, kind="", group=f"{seed}")


@pytest.fixture(scope="module")
def trained() -> DifferenceNetwork:
    return network.train([printing(seed=seed) for seed in range(16)], epochs=60, seed=0)


def test_it_learns_where_pictures_differ(trained):
    one = printing(seed=101)
    (cells,) = predict(trained, [one])
    assert cells[one.changed == 1].mean() > 0.5
    assert cells[one.changed == 0].mean() < 0.2
    (cells,) = predict(trained, [printing(seed=102)])
    assert cells.max() < 0.5


def test_the_folded_network_says_what_the_trained_one_says(trained):
    """Another implementation of the same layers: torch's against NumPy's."""
    folded = DifferenceMap.from_bytes(network.fold(trained).to_bytes())
    seen = printing(seed=7).variants[0].astype(np.float32) / STEPS
    with torch.no_grad():
        expected = torch.sigmoid(trained(torch.from_numpy(seen[None])))[0].numpy()
    np.testing.assert_allclose(folded(seen), expected, atol=0.02)
