"""Local features: what they are given in, mirrored without pixels, kept as bytes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageOps

from halftone.core import errors
from halftone.matching.features import COUNT, LocalFeatures, decode_copy, extract
from halftone.matching.fingerprint import local_features


def nearest(first: LocalFeatures, second: LocalFeatures) -> np.ndarray:
    """Of each feature of the first the row of the second that lies nearest in place and size."""
    a, b = (
        np.column_stack([each.points[:, :3], 20 * np.cos(angles), 20 * np.sin(angles)])
        for each in (first, second)
        for angles in [np.deg2rad(each.points[:, 3])]
    )
    return ((a[:, None] - b[None]) ** 2).sum(axis=2).argmin(axis=1)


def test_mirrored_descriptors_are_those_of_the_mirrored_picture(picture):
    image = picture(1)
    derived, found = extract(image).mirrored(), extract(ImageOps.mirror(image))
    partner = nearest(derived, found)
    away = np.abs(derived.points - found.points[partner])
    same = (away[:, :3] < 0.5).all(axis=1) & (np.minimum(away[:, 3], 360 - away[:, 3]) < 3)
    # SIFT samples its first octave off centre, so a few features differ.
    assert same.mean() > 0.85
    a = derived.descriptors[same].astype(float)
    b = found.descriptors[partner][same].astype(float)
    cosines = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert np.median(cosines) > 0.99
    plain = extract(image).descriptors[same].astype(float)
    unmoved = (plain * b).sum(axis=1) / np.linalg.norm(plain, axis=1) / np.linalg.norm(b, axis=1)
    assert np.median(unmoved) < 0.9


@pytest.mark.parametrize("low", [0, 90])
def test_features_of_a_negative_are_those_of_the_inverted_picture(picture, low):
    """Also of a faded picture, whose tones are spread."""
    image = picture(1).point(lambda value: low + value * (100 if low else 255) // 255)
    derived, found = extract(image).negative(), extract(ImageOps.invert(image))
    partner = nearest(derived, found)
    away = np.abs(derived.points - found.points[partner])
    same = (away[:, :3] < 0.5).all(axis=1) & (np.minimum(away[:, 3], 360 - away[:, 3]) < 3)
    assert same.mean() > 0.95
    a = derived.descriptors[same].astype(float)
    b = found.descriptors[partner][same].astype(float)
    cosines = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert np.median(cosines) > 0.999


def test_a_negative_of_a_negative_is_the_picture(picture):
    features = extract(picture(1))
    twice = features.negative().negative()
    np.testing.assert_array_equal(twice.descriptors, features.descriptors)
    np.testing.assert_allclose(twice.points, features.points, atol=1e-3)
    mirrored = features.negative().mirrored()
    np.testing.assert_array_equal(mirrored.descriptors, features.mirrored().negative().descriptors)


def test_mirroring_twice_changes_nothing(picture):
    features = extract(picture(1))
    twice = features.mirrored().mirrored()
    np.testing.assert_array_equal(twice.descriptors, features.descriptors)
    np.testing.assert_allclose(twice.points, features.points, atol=1e-3)


def test_places_are_given_in_the_picture_as_it_was_given(picture):
    image = picture(2)
    small = image.resize((240, 180), Image.Resampling.BOX)
    own, told = extract(small), extract(small, full_size=image.size)
    assert (told.width, told.height) == (480, 360)
    np.testing.assert_allclose(told.points[:, :3], own.points[:, :3] * 2, rtol=1e-5)
    np.testing.assert_array_equal(told.descriptors, own.descriptors)
    large = extract(image.resize((1920, 1440)))
    assert large.points[:, 0].max() > 1700


def test_no_more_than_the_strongest(picture):
    noise = np.random.default_rng(0).integers(0, 256, size=(400, 400), dtype=np.uint8)
    assert len(extract(Image.fromarray(noise))) == COUNT


def test_a_faded_picture_keeps_its_corners(picture):
    image = picture(1).convert("L")
    faded = image.point([200 + each // 6 for each in range(256)])
    assert len(extract(faded)) > 0.8 * len(extract(image))


def test_the_same_picture_gives_the_same_bytes_in_any_thread(picture):
    images = [picture(seed) for seed in (5, 6)] * 4
    alone = [extract(each).to_bytes() for each in images[:2]]
    with ThreadPoolExecutor(4) as pool:
        together = [each.to_bytes() for each in pool.map(extract, images)]
    assert together == alone * 4


def test_bytes_give_back_features(picture):
    features = local_features(picture(7).resize((3000, 2250)))
    data = features.to_bytes()
    assert len(data) == 20 + 136 * len(features) + len(features.copy)
    again = LocalFeatures.from_bytes(data)
    np.testing.assert_array_equal(again.descriptors, features.descriptors)
    np.testing.assert_allclose(again.points, features.points, atol=0.05)
    assert (again.width, again.height) == (3000, 2250)
    assert again.copy == features.copy


def test_the_copy_is_small_grey_and_can_be_mirrored(picture):
    image = picture(7)
    copy = local_features(image.resize((1600, 1200))).copy
    grey, mirrored = decode_copy(copy), decode_copy(copy, mirrored=True)
    assert grey.shape == (288, 384)
    np.testing.assert_array_equal(mirrored, grey[:, ::-1])
    small = np.asarray(image.resize((384, 288), Image.Resampling.BOX), dtype=float)
    assert np.abs(grey - small).mean() < 5
    assert decode_copy(b"") is None
    assert decode_copy(b"no picture") is None


def test_damaged_bytes_are_data_loss(picture):
    data = extract(picture(7)).to_bytes()
    for bad in (
        b"",
        b"HT",
        data[:-1],
        data + b"x",
        b"xxxx" + data[4:],
        data[:4] + b"\x09" + data[5:],
    ):
        with pytest.raises(errors.DataLoss):
            LocalFeatures.from_bytes(bad)
