"""The network that says where two registered printings of one picture differ."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from halftone.core import errors
from halftone.matching.fingerprint import local_features
from halftone.matching.looks import difference_map
from halftone.matching.looks.difference_map import CELL, DifferenceMap
from halftone.matching.looks.seen import CHANNELS, SIDE
from halftone.matching.verification import verify
from halftone.vision.reprinting import reprint
from tests.support.pictures.printed_pages import scene


def network(*, seed: int = 0) -> DifferenceMap:
    generator = np.random.default_rng(seed)

    def weights(*shape: int) -> np.ndarray:
        return generator.normal(0, 0.2, shape).astype(np.float32)

    inputs, outputs = (CHANNELS, 3, 4, 5, 5, 6), (3, 4, 5, 5, 6, 6)
    sizes = zip((5, 3, 3, 3, 3, 3), inputs, outputs, strict=True)
    return DifferenceMap(
        kernels=tuple(weights(out, into, size, size) for size, into, out in sizes),
        biases=tuple(weights(out) for out in outputs),
        usual=(weights(5, 5), weights(5)),
        output=(weights(22), np.float32(0.5)),
    )


def see(*, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    seen = generator.normal(0, 0.5, (CHANNELS, SIDE, SIDE)).astype(np.float32)
    seen[0] = 1
    return seen


def test_every_cell_gets_a_probability():
    cells = network()(see())
    assert cells.shape == (SIDE // CELL, SIDE // CELL)
    assert ((cells >= 0) & (cells <= 1)).all()
    assert np.ptp(cells) > 0.01


def test_a_network_survives_its_file():
    made = network()
    again = DifferenceMap.from_bytes(made.to_bytes())
    np.testing.assert_allclose(again(see()), made(see()), atol=0.02)


@pytest.mark.parametrize("part", [slice(0, 0), slice(0, 300), slice(40, None)])
def test_a_damaged_network_says_so(part):
    with pytest.raises(errors.DataLoss, match="difference map is damaged"):
        DifferenceMap.from_bytes(network().to_bytes()[part])


def test_a_network_whose_layers_do_not_fit_is_damaged():
    made = network()
    torn = DifferenceMap(
        kernels=made.kernels[:3] + made.kernels[:3],
        biases=made.biases,
        usual=made.usual,
        output=made.output,
    )
    with pytest.raises(errors.DataLoss, match="difference map is damaged"):
        DifferenceMap.from_bytes(torn.to_bytes())


def test_the_packaged_network_loads_once():
    assert difference_map.load_packaged() is difference_map.load_packaged()


def retouched(picture: Image.Image, *, tone: int) -> Image.Image:
    changed = np.asarray(picture.convert("L")).copy()
    height, width = changed.shape
    changed[height // 3 : height // 2, width // 2 : 3 * width // 4] = tone
    return Image.fromarray(changed)


@pytest.mark.parametrize("seed", [1, 2])
def test_what_was_painted_over_is_found_in_another_printing(seed):
    picture = scene(seed)
    printed = reprint(retouched(picture, tone=240), seed=seed, side=800, max_crop=0.05)
    overlap = verify(local_features(picture), local_features(printed)).overlaps[0]
    assert overlap.differences, "nothing was found"
    part = overlap.differences[0].part.query_polygon
    centre = part.mean(axis=0) / picture.size
    np.testing.assert_allclose(centre, (0.625, 0.4167), atol=0.06)
    assert overlap.differences[0].certainty > 0.7


def test_a_faithful_printing_has_no_differences():
    found = 0
    for seed in range(1, 5):
        picture = scene(seed)
        printed = reprint(picture, seed=seed, side=800, max_crop=0.05)
        overlap = verify(local_features(picture), local_features(printed)).overlaps[0]
        found += len(overlap.differences)
    assert found <= 1
