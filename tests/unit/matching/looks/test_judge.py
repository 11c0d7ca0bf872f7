"""The network that looks at what two registered pictures share."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest

from halftone.core import errors
from halftone.matching.fingerprint import local_features
from halftone.matching.looks import judge
from halftone.matching.looks.seen import describe
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
    return describe(one, other, np.ones(one.shape, dtype=np.bool_))


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
