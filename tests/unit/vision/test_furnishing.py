"""The furniture that calibrations learn from: every kind and case, by seed, shares to be seen."""

import cv2
import numpy as np
import pytest
from PIL import Image

from halftone.vision.furnishing import KINDS, furnish_pair
from halftone.vision.furnishing.sheets import SIDE

CASES = [(kind, case) for kind, cases in KINDS.items() for case in cases]
TONES = range(101, 109)


def paint_picture(tone):
    """A picture of one tone, which tells where it is, with blots at places of its own."""
    generator = np.random.default_rng(tone)
    canvas = np.full((150 + 20 * (tone % 3), 190), tone, dtype=np.uint8)
    for x, y in generator.integers(0, 190, size=(14, 2)):
        radius, blot = int(generator.integers(5, 14)), int(generator.choice([20, 240]))
        cv2.circle(canvas, (int(x), int(y)), radius, blot, -1)
    return Image.fromarray(canvas)


@pytest.fixture(scope="module")
def pictures():
    return [paint_picture(tone) for tone in TONES]


@pytest.fixture(scope="module")
def drawn(pictures):
    return {
        (kind, case): furnish_pair(pictures, kind=kind, case=case, seed=7) for kind, case in CASES
    }


def differ(pair):
    """The part of the area where the two sheets differ visibly."""
    if pair.first.size != pair.second.size:
        return 1.0
    first, second = (np.asarray(sheet, dtype=np.int16) for sheet in (pair.first, pair.second))
    return float((np.abs(first - second) > 24).mean())


@pytest.mark.parametrize("kind", KINDS)
def test_every_case_draws_two_sheets_and_only_the_same_are_equal(drawn, kind):
    for case in KINDS[kind]:
        pair = drawn[kind, case]
        assert (pair.kind, pair.case, pair.same) == (kind, case, case != "different")
        sizes = [max(sheet.size) for sheet in (pair.first, pair.second)]
        assert sizes == [SIDE, SIDE] or (case == "bare" and sorted(sizes) == [190, SIDE])
        for sheet in (pair.first, pair.second):
            assert sheet.mode == "L"
            assert np.asarray(sheet).std() > 8, case
        assert (differ(pair) == 0) == (case == "again"), case


def test_pairs_are_deterministic_by_seed(pictures, drawn):
    for kind in ("frame", "plate", "map"):
        again = furnish_pair(pictures, kind=kind, case="different", seed=7)
        other = furnish_pair(pictures, kind=kind, case="different", seed=8)
        assert again.first.tobytes() == drawn[kind, "different"].first.tobytes()
        assert again.second.tobytes() == drawn[kind, "different"].second.tobytes()
        assert other.first.tobytes() != again.first.tobytes()


@pytest.mark.parametrize("kind", ["frame", "head", "copy-stand", "card", "screen", "stamp"])
def test_different_pictures_are_in_equal_furniture(pictures, kind):
    """What two pairs of pictures leave alone in the same furniture is the furniture."""
    parts = []
    for seed in range(3):
        pair = furnish_pair(pictures, kind=kind, case="different", seed=seed)
        assert pair.first.size == pair.second.size
        parts.append(differ(pair))
    assert min(parts) > 0.01
    assert max(parts) < 0.95


@pytest.mark.parametrize("kind", ["board", "map", "chart", "stage", "initial", "text"])
def test_drawn_sheets_change_in_a_part(pictures, kind):
    parts = [
        differ(furnish_pair(pictures, kind=kind, case="different", seed=seed)) for seed in range(3)
    ]
    assert min(parts) > 0.002
    assert max(parts) < 0.8


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "other-furniture" in KINDS[kind]])
def test_the_picture_in_common_can_be_seen(drawn, kind):
    """The tones of the pictures tell how much of either sheet shows the same one."""
    for case in KINDS[kind]:
        pair = drawn[kind, case]
        shares = [
            [float((np.asarray(sheet) == tone).mean()) for tone in TONES]
            for sheet in (pair.first, pair.second)
        ]
        common = np.min(shares, axis=0).max()
        assert common < 0.05 if case == "different" else common > 0.08, case


def test_unknown_furniture_and_few_pictures_are_refused(pictures):
    with pytest.raises(ValueError, match="no furniture 'sofa'"):
        furnish_pair(pictures, kind="sofa", case="again", seed=1)
    with pytest.raises(ValueError, match="case 'moved'"):
        furnish_pair(pictures, kind="board", case="moved", seed=1)
    with pytest.raises(ValueError, match="at least four pictures"):
        furnish_pair(pictures[:3], kind="frame", case="again", seed=1)
