"""Registered pictures compared tile by tile: what agrees, what contradicts, what says nothing."""

from __future__ import annotations

import dataclasses
import functools

import cv2
import numpy as np
import pytest
from PIL import Image

from halftone.matching import agreement, polygons
from halftone.matching.fingerprint import local_features
from halftone.matching.verification import verify
from halftone.vision.reprinting import reprint
from tests.support.pictures.printed_pages import scene


def compare(first: Image.Image, second: Image.Image) -> agreement.Agreement:
    """Compare two pictures of one size that lie alike."""
    size = (float(first.width), float(first.height))
    found = agreement.compare(
        np.asarray(first),
        np.asarray(second),
        np.eye(3),
        first_size=size,
        second_size=size,
        meeting=polygons.rectangle(*size),
    )
    assert found is not None
    return found


def frame(seed: int, *, margin: int = 60) -> np.ndarray:
    """An ornamental frame of 480 x 360 pixels around nothing."""
    generator = np.random.default_rng(seed)
    ornament = generator.integers(0, 2, size=(18, 24)).astype(np.uint8) * 255
    sheet = cv2.resize(ornament, (480, 360), interpolation=cv2.INTER_NEAREST)
    sheet[margin:-margin, margin:-margin] = 235
    return sheet


@functools.cache
def framed(seed: int, *, margin: int = 60, x: int = 0, y: int = 0) -> Image.Image:
    """A picture in the same frame as all others, moved by x and y."""
    sheet = frame(99, margin=margin)
    inner = scene(seed).resize((480 - 2 * margin - 40, 360 - 2 * margin - 40))
    top, left = margin + 20 + y, margin + 20 + x
    sheet[top : top + inner.height, left : left + inner.width] = np.asarray(inner)
    return Image.fromarray(sheet)


def box(part: np.ndarray) -> list[float]:
    return [*part.min(axis=0).tolist(), *part.max(axis=0).tolist()]


def test_a_printing_agrees_with_its_picture_all_over():
    picture = scene(1)
    faded = Image.fromarray((120 + 0.3 * np.asarray(picture, dtype=np.float32)).astype(np.uint8))
    found = compare(picture, faded)
    assert found.evidence.agreeing > 0.98
    assert found.evidence.solid > 0.95
    assert found.evidence.breadth > 0.95
    assert found.evidence.contradicting < 0.02
    np.testing.assert_allclose(box(found.parts[0]), [0, 0, 480, 360], atol=15)


def test_another_picture_contradicts_all_over():
    found = compare(scene(1), scene(2))
    assert found.evidence.agreeing < 0.1
    assert found.evidence.contradicting > 0.6


def test_what_is_empty_says_nothing():
    """Two sheets of paper agree on nothing, however well their pixels do."""
    blank = Image.new("L", (480, 360), 230)
    found = compare(blank, blank)
    assert not found.odds.any()
    assert not len(found.parts)
    assert found.evidence.count == 0
    assert found.look().judgement <= 0, "nothing speaks for a picture"
    half = np.full((360, 480), 230, dtype=np.uint8)
    half[:, :240] = np.asarray(scene(1))[:, :240]
    found = compare(Image.fromarray(half), Image.fromarray(half))
    assert found.evidence.agreeing == pytest.approx(1)
    assert not found.odds[:, 13:].any(), "the empty half spoke"


def test_a_shared_frame_is_four_strips():
    found = compare(framed(1), framed(2))
    assert found.evidence.breadth < 0.3
    assert found.evidence.solid < 0.3
    assert found.evidence.contradicting > 0.2
    inner = np.array([[100, 100], [240, 180], [380, 260]], dtype=np.float32)
    assert len(found.parts) >= 4
    assert not any(polygons.contains(part, inner).any() for part in found.parts)


def test_one_picture_in_two_frames_is_one_part():
    first = np.asarray(framed(1)).copy()
    second = first.copy()
    second[frame(5) != 235] = frame(5)[frame(5) != 235]
    second[60:-60, 60:-60] = first[60:-60, 60:-60]
    found = compare(Image.fromarray(first), Image.fromarray(second))
    left, top, right, bottom = box(found.parts[0])
    assert 40 <= left <= 100
    assert 40 <= top <= 100
    assert 380 <= right <= 440
    assert 260 <= bottom <= 320
    assert found.evidence.pure > 0.9
    assert found.evidence.breadth > 0.5


def test_frames_that_meet_in_less_than_a_tile_are_not_compared():
    picture = np.asarray(scene(1))
    sliver = polygons.rectangle(480, 10)
    size = (480.0, 360.0)
    found = agreement.compare(
        picture, picture, np.eye(3), first_size=size, second_size=size, meeting=sliver
    )
    assert found is None


def test_different_pictures_in_one_frame_are_told_by_their_evidence():
    (overlap, *others) = verify(local_features(framed(1)), local_features(framed(2))).overlaps
    assert not others
    assert overlap.inliers > 30, "the frames did not register"
    assert overlap.evidence.breadth < 0.3
    assert overlap.evidence.contradicting > 0.2
    assert len(overlap.parts) >= 4


@pytest.mark.parametrize("by", [(16, 10), (-9, 8)])
def test_what_moved_within_its_frame_is_found(by):
    x, y = by
    overlaps = verify(local_features(framed(1)), local_features(framed(1, x=x, y=y))).overlaps
    first = overlaps[0]
    middle = first.homography @ (240, 180, 1)
    np.testing.assert_allclose(middle[:2] / middle[2], (240 + x, 180 + y), atol=1.5)
    assert first.evidence.breadth > 0.4
    assert first.evidence.pure > 0.85


def check_differences(ours, theirs) -> None:
    for mine, same in zip(ours, theirs, strict=True):
        assert (mine.certainty, mine.share) == (same.certainty, same.share)
        np.testing.assert_array_equal(mine.part.query_polygon, same.part.query_polygon)
        np.testing.assert_array_equal(mine.part.candidate_polygon, same.part.candidate_polygon)


@pytest.mark.parametrize("way", ["plain", "mirrored", "negative"])
def test_differences_lie_at_their_place_in_both_pictures(way):
    """A spot at the upper right of one picture, which is then mirrored or made a negative."""
    picture = np.asarray(scene(1).convert("L"))
    height, width = picture.shape
    changed = picture.copy()
    changed[height // 8 : height // 3, 5 * width // 8 : 7 * width // 8] = 120
    turned = {"plain": changed, "mirrored": changed[:, ::-1], "negative": 255 - changed}[way]
    one, other = (local_features(Image.fromarray(each.copy())) for each in (picture, turned))
    there, back = verify(one, other), verify(other, one)
    (difference, *_), again = there.overlaps[0].differences, back.overlaps[0]
    check_differences(there.overlaps[0].differences, again.from_the_other_side().differences)
    middle = np.array([3 * width / 4, 11 * height / 48])
    np.testing.assert_allclose(difference.part.query_polygon.mean(axis=0), middle, atol=width / 20)
    if way == "mirrored":
        middle[0] = width - middle[0]
    found = difference.part.candidate_polygon.mean(axis=0)
    np.testing.assert_allclose(found, middle, atol=width / 20)


def test_nothing_differs_where_the_pictures_do_not_meet():
    """A printing that was scanned askew ends where the other goes on."""
    found = 0
    for seed in range(1, 6):
        whole = scene(seed)
        askew = whole.rotate(8, Image.Resampling.BICUBIC).crop((70, 60, 420, 300))
        first = verify(local_features(whole), local_features(askew)).overlaps[0]
        found += len(first.differences)
    assert found == 0


def test_a_retouched_picture_is_still_whole():
    picture = np.asarray(scene(2).convert("L"))
    height, width = picture.shape
    changed = picture.copy()
    changed[3 * height // 8 : 5 * height // 8, 3 * width // 8 : 5 * width // 8] = 200
    one, other = (local_features(Image.fromarray(each)) for each in (picture, changed))
    overlap = verify(one, other).overlaps[0]
    assert overlap.differences
    assert min(overlap.query_share, overlap.candidate_share) > 0.9


def test_parts_and_differences_are_the_same_from_the_other_side():
    printed = reprint(framed(1), seed=3, side=600, mirror=True)
    one, other = local_features(framed(2)), local_features(printed)
    there, back = verify(one, other), verify(other, one)
    assert len(there.overlaps) == len(back.overlaps) > 0
    for here, its in zip(there.overlaps, back.overlaps, strict=True):
        assert here.evidence == its.evidence
        again = its.from_the_other_side()
        for mine, same in zip(here.parts, again.parts, strict=True):
            np.testing.assert_array_equal(mine.query_polygon, same.query_polygon)
            np.testing.assert_array_equal(mine.candidate_polygon, same.candidate_polygon)
        check_differences(here.differences, again.differences)


def test_pictures_without_copies_are_compared_by_features_alone():
    plain = [local_features(scene(seed)) for seed in (1, 1)]
    bare = [dataclasses.replace(each, copy=b"") for each in plain]
    (overlap,) = verify(*bare).overlaps
    assert overlap.evidence is None
    assert overlap.parts == ()
    assert overlap.query_share > 0.9
