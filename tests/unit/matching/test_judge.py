"""The network that looks at what two registered pictures share."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest

from halftone.core import errors
from halftone.matching import judge
from halftone.matching.fingerprint import local_features
from halftone.matching.verification import verify
from halftone.vision.furnishing import furnish_pair
from halftone.vision.reprinting import reprint
from tests.support.pictures.printed_pages import scene


def shown(seed: int) -> np.ndarray:
    """A picture as it lies in the frame."""
    small = cv2.resize(np.asarray(scene(seed)), (288, 216), interpolation=cv2.INTER_AREA)
    return cv2.GaussianBlur(small.astype(np.float32), (0, 0), 1.5)


def see(first: int, second: int) -> np.ndarray:
    one, other = shown(first), shown(second)
    return judge.describe(one, other, np.ones(one.shape, dtype=np.bool_))


def network(*, seed: int = 0) -> judge.Judge:
    generator = np.random.default_rng(seed)

    def weights(*shape: int) -> np.ndarray:
        return generator.normal(0, 0.2, shape).astype(np.float32)

    inputs, outputs = (judge.CHANNELS, 3, 4, 4, 5, 5), (3, 4, 4, 5, 5, 6)
    sizes = zip((5, 3, 3, 3, 3, 3), inputs, outputs, strict=True)
    return judge.Judge(
        kernels=tuple(weights(out, into, size, size) for size, into, out in sizes),
        biases=tuple(weights(out) for out in outputs),
        hidden=(weights(7, 22), weights(7)),
        output=(weights(7), np.float32(0.5)),
    )


def test_the_order_of_two_pictures_changes_nothing():
    np.testing.assert_array_equal(see(1, 2), see(2, 1))


def test_what_lies_outside_is_not_seen():
    one, other = shown(1), shown(1)
    inside = np.ones(one.shape, dtype=np.bool_)
    inside[:, 100:] = False
    other[:, 110:] = 0
    seen = judge.describe(one, other, inside)
    assert seen.shape == (9, judge.SIDE, judge.SIDE)
    top = (judge.SIDE - one.shape[0] // 2) // 2
    assert not seen[:, :, 51:].any()
    assert not seen[:, :top].any()
    assert seen[0].sum() == pytest.approx(one.shape[0] * 100 / 4)
    difference = seen[2, :, :45]
    assert not difference.any(), "what lies outside spoiled what lies inside"


def test_a_change_of_tone_is_hardly_seen_and_another_picture_is():
    picture = shown(1)
    inside = np.ones(picture.shape, dtype=np.bool_)
    faded = (140 + 0.35 * picture).astype(np.float32)
    same = judge.describe(picture, faded, inside)
    assert np.abs(same[2]).mean() < 0.1
    assert np.abs(see(1, 2)[2]).mean() > 0.25


def test_a_network_survives_its_file():
    made = network()
    seen = see(1, 2)
    again = judge.Judge.from_bytes(made.to_bytes())
    assert again(seen) == pytest.approx(made(seen), abs=0.05)
    assert again(seen) == judge.Judge.from_bytes(made.to_bytes())(seen)


def test_a_damaged_file_is_refused():
    whole = network().to_bytes()
    with pytest.raises(errors.DataLoss, match="damaged"):
        judge.Judge.from_bytes(whole[: len(whole) // 2])
    with np.load(io.BytesIO(whole)) as file:
        arrays = {name: file[name] for name in file.files}
    lacking, newer = io.BytesIO(), io.BytesIO()
    np.savez(lacking, **{name: each for name, each in arrays.items() if name != "kernel2"})
    np.savez(newer, **{**arrays, "format": np.int64(judge.FORMAT + 1)})
    alone, endless = io.BytesIO(), {**arrays, "hidden": np.full_like(arrays["hidden"], np.nan)}
    np.save(alone, arrays["hidden"])
    unfit = {**arrays, "kernel1": arrays["kernel1"][:, :2]}
    for wrong in (b"", alone.getvalue(), _archive(endless), _archive(unfit)):
        with pytest.raises(errors.DataLoss, match="damaged"):
            judge.Judge.from_bytes(wrong)
    with pytest.raises(errors.DataLoss, match="kernel2"):
        judge.Judge.from_bytes(lacking.getvalue())
    with pytest.raises(errors.DataLoss, match="this release reads"):
        judge.Judge.from_bytes(newer.getvalue())


def _archive(arrays: dict[str, np.ndarray]) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["frame", "credit-line", "screen"])
def test_the_packaged_judge_tells_a_picture_from_its_furniture(kind):
    """The best overlap of one picture in two places, and of two pictures in one place."""
    pictures = [scene(seed) for seed in range(21, 25)]

    def best(case: str) -> float:
        pair = furnish_pair(pictures, kind=kind, case=case, seed=5)
        sheets = [
            local_features(reprint(sheet, seed=number, side=640, max_crop=0.03))
            for number, sheet in enumerate((pair.first, pair.second))
        ]
        judged = [each.evidence.judgement for each in verify(*sheets).overlaps if each.evidence]
        return max(judged, default=-10.0)

    assert best("again") > 1
    assert best("different") < 0
