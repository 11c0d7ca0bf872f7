"""Searches in memory: three channels, verification, probabilities, and the same again."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from PIL import Image, ImageOps

from halftone.imaging.orientations import UPRIGHT
from halftone.matching.fingerprint import archive_fingerprint, fingerprint
from halftone.matching.fusion import fuse_channels
from halftone.matching.offline import Gallery


def picture(seed: int, *, size: tuple[int, int] = (320, 240)) -> Image.Image:
    """Soft blobs over coarse noise: corners enough for local features."""
    generator = np.random.default_rng(seed)
    coarse = Image.fromarray(generator.integers(0, 255, (18, 24), dtype=np.uint8))
    return coarse.resize(size, Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def gallery() -> Gallery:
    """Thirty pictures whose descriptors say nothing: all are the same."""
    descriptors = np.zeros((30, 4), dtype=np.float32)
    descriptors[:, 0] = 1
    return Gallery(descriptors, [archive_fingerprint(picture(seed)) for seed in range(30)])


def ask(gallery: Gallery, image: Image.Image, **options):
    view = {UPRIGHT: np.array([1, 0, 0, 0], dtype=np.float32)}
    return gallery.search(view, fingerprint(image), **options)


def test_a_quarter_finds_the_whole(gallery):
    found = ask(gallery, picture(17).crop((80, 60, 240, 180)))

    assert found[0].index == 17
    assert found[0].probability > 0.9
    assert found[0].evidence.verification.overlaps[0].query_share > 0.9
    assert all(each.probability < 0.5 for each in found[1:])


def test_a_mirrored_picture_is_found(gallery):
    found = ask(gallery, picture(5).transpose(Image.Transpose.FLIP_LEFT_RIGHT))

    assert found[0].index == 5
    assert found[0].evidence.verification.overlaps[0].mirrored


@pytest.mark.parametrize("mirror", [False, True])
def test_a_negative_is_found_and_said_to_be_one(gallery, mirror):
    image = ImageOps.invert(picture(5))
    found = ask(gallery, ImageOps.mirror(image) if mirror else image)

    assert found[0].index == 5
    assert found[0].probability > 0.9
    evidence = found[0].evidence
    assert evidence.verification.is_negative
    assert evidence.pdq > 0.7
    assert evidence.words > 0.5
    assert not any(each.evidence.verification.is_negative for each in found[1:])


def test_an_archive_of_negatives_is_searched_by_a_picture_and_by_a_negative():
    """It is the ordinary case where both are negatives."""
    descriptors = np.zeros((30, 4), dtype=np.float32)
    descriptors[:, 0] = 1
    prints = [archive_fingerprint(ImageOps.invert(picture(seed))) for seed in range(30)]
    negatives = Gallery(descriptors, prints)
    for seed in range(12, 30, 3):
        part = picture(seed).crop((80, 60, 240, 180))
        first, *_ = ask(negatives, part)
        assert (first.index, first.evidence.verification.is_negative) == (seed, True)
        first, *_ = ask(negatives, ImageOps.invert(part))
        assert (first.index, first.evidence.verification.is_negative) == (seed, False)


def test_negatives_are_candidates_only_if_asked_for(gallery):
    query = fingerprint(ImageOps.invert(picture(5)), negative=False)
    view = {UPRIGHT: np.array([1, 0, 0, 0], dtype=np.float32)}
    found = gallery.search(view, query, verify_count=2, depth=2)

    assert 5 not in [each.index for each in found]


def test_what_is_left_out_is_not_found(gallery):
    assert 17 not in [each.index for each in ask(gallery, picture(17), without=[17])]


def test_only_the_best_candidates_are_compared(gallery):
    found = ask(gallery, picture(17), verify_count=3)

    assert sum(each.evidence.verification is not None for each in found) == 3
    assert found[0].index == 17


def test_a_faint_picture_is_found_though_it_cannot_be_compared():
    """As the service does: a comparison of almost no features is no evidence."""
    flat = [Image.linear_gradient("L").rotate(90 * turns) for turns in range(3)]
    shown = [*flat, *(picture(seed) for seed in range(8))]
    vectors = np.eye(len(shown), dtype=np.float32)
    small = Gallery(vectors, [archive_fingerprint(each) for each in shown])
    query = fingerprint(flat[1], mirrored=False, rotated=False)
    found = small.search({UPRIGHT: vectors[1]}, query, verify_count=4)

    assert found[0].index == 1
    assert not found[0].evidence.is_compared
    uncompared = dataclasses.replace(found[0].evidence, verification=None)
    assert found[0].probability == small.calibration.probability(uncompared)


def test_searches_repeat_themselves(gallery):
    first, again = (ask(gallery, picture(9).rotate(5, fillcolor=255)) for _ in range(2))

    assert [(each.index, each.probability) for each in first] == [
        (each.index, each.probability) for each in again
    ]


def test_a_blank_picture_finds_nothing_probable(gallery):
    found = ask(gallery, Image.new("L", (200, 200), 255))

    assert all(each.probability < 0.5 for each in found)
    assert all(each.evidence.words == 0 for each in found)


def test_words_count_twice_as_deep():
    fused = fuse_channels(descriptor=["d0", "d1"], pdq=["p0"], words=["w0", "w1", "w2"], limit=9)

    assert fused == ["d0", "p0", "w0", "w1", "d1", "w2"]


def test_negatives_come_after_the_others_of_their_rank():
    negatives = [["n0", "d1"], ["m0", "m1"]]
    fused = fuse_channels(
        descriptor=["d0", "d1"], pdq=["p0"], words=["w0", "w1"], negatives=negatives, limit=7
    )

    assert fused == ["d0", "p0", "w0", "w1", "n0", "m0", "d1"]
