"""What the judge learns from."""

from __future__ import annotations

import numpy as np
import pytest

from halftone.evaluation.judging import samples, variants
from halftone.matching.looks.judge import CHANNELS, SIDE
from tests.support.pictures.printed_pages import scene


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pool")
    paths = [folder / f"{number}.png" for number in range(12)]
    for number, path in enumerate(paths):
        scene(number).save(path)
    return paths


def test_drawn_furniture_takes_turns_and_is_repeatable(pool):
    once = list(samples.see_furniture(pool * 5, pairs=3, seed=1))
    again = list(samples.see_furniture(pool * 5, pairs=3, seed=1))
    assert once
    assert {each.group for each in once} <= {"board", "card"}
    assert any(each.same for each in once)
    for one, other in zip(once, again, strict=True):
        assert one.same == other.same
        for mine, its in zip(one.variants, other.variants, strict=True):
            np.testing.assert_array_equal(mine, its)


def test_a_printing_is_seen_as_it_is_and_varied(pool):
    (seen,) = samples.see_printings(pool[:1], count=1, seed=2)
    assert seen.same
    assert len(seen.variants) == 3
    shapes = {each.shape for each in seen.variants}
    assert len(shapes) == 1
    assert shapes.pop()[1:] == (CHANNELS, SIDE, SIDE)
    assert (seen.variants[0] != seen.variants[1]).any()


def test_a_picture_that_is_printed_anew_stays_a_picture():
    picture = np.asarray(scene(1).resize((288, 216)), dtype=np.float32)
    for seed in range(12):
        varied = variants.print_anew(picture, generator=np.random.default_rng(seed))
        assert varied.shape == picture.shape
        assert varied.dtype == np.float32
        assert 0 <= varied.min() <= varied.max() <= 255
        assert np.corrcoef(varied.ravel(), picture.ravel())[0, 1] > 0.4


def test_at_most_a_tenth_of_one_picture_is_retouched():
    picture = np.asarray(scene(1).resize((288, 216)), dtype=np.float32)
    shares = []
    for seed in range(40):
        first, second = variants.retouch_one(
            picture, picture, generator=np.random.default_rng(seed)
        )
        changed = [float((each != picture).mean()) for each in (first, second)]
        assert min(changed) == 0, "both were retouched"
        shares.append(max(changed))
    assert 0 < np.count_nonzero(shares) < 30
    assert max(shares) <= 0.105


def test_different_sheets_are_laid_where_they_repeat(pool):
    seen = list(samples.see_repeats(pool * 5, pairs=2, seed=1))
    assert seen
    for each in seen:
        assert not each.same
        assert len(each.variants) == 2
        assert each.variants[0].shape == (1, CHANNELS, SIDE, SIDE)
