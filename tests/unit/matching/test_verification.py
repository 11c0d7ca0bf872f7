"""What two pictures share, and where, on pictures whose geometry is known."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageOps

from halftone.matching import polygons, registered, registration
from halftone.matching.agreement import Look
from halftone.matching.features import LocalFeatures
from halftone.matching.fingerprint import local_features
from halftone.matching.probability import Evidence
from halftone.matching.registration import is_plausible
from halftone.matching.relation import Relation, relation
from halftone.matching.verification import verify
from halftone.vision.reprinting import reprint


def beside(first: Image.Image, second: Image.Image) -> Image.Image:
    """A plate with two pictures."""
    plate = Image.new("L", (first.width + second.width + 30, first.height + 20), 235)
    plate.paste(first, (10, 10))
    plate.paste(second, (first.width + 20, 10))
    return plate


def related(query: Image.Image, candidate: Image.Image) -> Relation:
    verification = verify(local_features(query), local_features(candidate))
    evidence = Evidence(similarity=None, pdq=None, words=None, verification=verification)
    return relation(evidence, probability=0.9, same_bytes=False)


def signed_area(polygon: np.ndarray) -> float:
    """Positive where the corners run clockwise on a screen."""
    x, y = np.asarray(polygon, dtype=float).T
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def moved(homography: np.ndarray, points: np.ndarray) -> np.ndarray:
    x = np.column_stack([points, np.ones(len(points))]) @ homography.T
    return x[:, :2] / x[:, 2:]


def test_a_part_is_found_at_its_place(picture):
    image = picture(1)
    part = image.crop((120, 90, 360, 270)).resize((480, 360))
    (overlap,) = verify(local_features(part), local_features(image)).overlaps
    corners = np.array([[0, 0], [480, 0], [480, 360], [0, 360]], dtype=float)
    expected = [[120, 90], [360, 90], [360, 270], [120, 270]]
    np.testing.assert_allclose(moved(overlap.homography, corners), expected, atol=2.5)
    assert overlap.query_share == pytest.approx(1, abs=0.03)
    assert overlap.candidate_share == pytest.approx(0.25, abs=0.02)
    assert overlap.scale == pytest.approx(0.5, rel=0.02)
    assert overlap.rotation == pytest.approx(0, abs=1)
    assert overlap.homography[2, 2] == 1
    assert not overlap.mirrored
    assert overlap.inliers <= overlap.matches
    assert overlap.residual < 1.5


@pytest.mark.parametrize("turned", [90, 180, 270])
@pytest.mark.parametrize("mirror", [False, True])
def test_orientation_is_how_the_query_has_to_be_laid(picture, mirror, turned):
    image = picture(2)
    candidate = ImageOps.mirror(image) if mirror else image
    candidate = candidate.rotate(-turned, expand=True)
    (overlap,) = verify(local_features(image), local_features(candidate)).overlaps
    assert overlap.mirrored == mirror
    assert (overlap.rotation - turned + 180) % 360 - 180 == pytest.approx(0, abs=1)
    for polygon, homography in (
        (overlap.candidate_polygon, overlap.homography),
        (overlap.query_polygon, np.eye(3)),
    ):
        corners = moved(homography, overlap.query_polygon)
        np.testing.assert_allclose(corners, polygon, atol=3)


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_the_other_side_sees_the_same(picture, seed, mirror):
    printed = reprint(picture(seed), seed=seed, mirror=mirror)
    part = printed.crop((40, 30, 300, 290)).rotate(90, expand=True)
    query, candidate = local_features(part), local_features(picture(seed))
    there, back = verify(query, candidate).overlaps, verify(candidate, query).overlaps
    assert len(there) == len(back) > 0
    for one, other in zip(there, back, strict=True):
        for name in ("inliers", "matches", "residual", "evidence", "rivals", "mirrored"):
            assert getattr(one, name) == getattr(other, name), name
        assert (one.query_share, one.candidate_share) == (other.candidate_share, other.query_share)
        assert one.scale * other.scale == pytest.approx(1)
        unity = one.homography @ other.homography
        np.testing.assert_allclose(unity / unity[2, 2], np.eye(3), atol=1e-6)
        for overlap, homography in ((one, one.homography), (other, other.homography)):
            corners = moved(homography, overlap.query_polygon)
            np.testing.assert_allclose(corners, overlap.candidate_polygon, atol=1)
            assert signed_area(overlap.query_polygon) > 0
        turned = one.rotation - other.rotation if mirror else one.rotation + other.rotation
        assert (turned + 180) % 360 - 180 == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_a_match_is_clear_from_either_side(picture, seed):
    """What is unmistakable in a part may have a rival elsewhere on the page."""
    page = beside(picture(seed), reprint(picture(seed), seed=seed))
    (found, *_) = verify(local_features(picture(seed)), local_features(page)).overlaps
    assert found.inliers >= 100


@pytest.mark.parametrize("failing", ["there", "back", "none"])
def test_sampling_that_goes_astray_one_way_is_made_good_by_the_other(picture, monkeypatch, failing):
    query, candidate = (
        local_features(picture(1).crop((100, 80, 400, 300))),
        local_features(picture(1)),
    )
    (expected,) = verify(query, candidate, mirrored=False).overlaps
    sample, calls = registration._sample_homography, []

    def sampled(p, q, *, vote):
        calls.append(vote)
        found = sample(p, q, vote=vote)
        if found is None:
            return None
        homography, inliers = found
        if failing == ("there", "back")[(len(calls) - 1) % 2]:
            homography = np.diag([3.0, 1.0, 1.0]) @ homography
        return homography, inliers

    monkeypatch.setattr(registration, "_sample_homography", sampled)
    (found,) = verify(query, candidate, mirrored=False).overlaps
    assert len(calls) >= 2
    assert found.inliers == pytest.approx(expected.inliers, abs=3)
    np.testing.assert_allclose(found.query_polygon, expected.query_polygon, atol=3)


@pytest.mark.parametrize("mirror", [False, True])
def test_a_negative_is_said_to_be_one_from_either_side(picture, mirror):
    image = picture(2)
    other = ImageOps.invert(reprint(image, seed=3).convert("L").rotate(20, fillcolor=255))
    if mirror:
        other = ImageOps.mirror(other)
    there = verify(local_features(image), local_features(other))
    back = verify(local_features(other), local_features(image))
    assert there.is_negative
    assert back.is_negative
    (one, *_), (two, *_) = there.overlaps, back.overlaps
    assert (one.mirrored, two.mirrored) == (mirror, mirror)
    assert one.query_share > 0.8
    for name in ("inliers", "matches", "residual", "evidence", "rivals", "negative"):
        assert getattr(one, name) == getattr(two, name), name
    assert (one.query_share, one.candidate_share) == (two.candidate_share, two.query_share)
    unity = one.homography @ two.homography
    np.testing.assert_allclose(unity / unity[2, 2], np.eye(3), atol=1e-6)


def test_two_negatives_are_an_ordinary_pair(picture):
    part = picture(1).crop((100, 80, 400, 300))
    query, candidate = (local_features(ImageOps.invert(each)) for each in (part, picture(1)))
    assert not verify(query, candidate).is_negative
    plain = verify(local_features(part), local_features(picture(1)))
    assert verify(query, candidate).overlaps[0].inliers == pytest.approx(
        plain.overlaps[0].inliers, rel=0.1
    )


def test_asked_one_way_only_that_way_is_compared(picture):
    query, candidate = local_features(picture(3)), local_features(ImageOps.mirror(picture(3)))
    assert not verify(query, candidate, mirrored=False).overlaps
    (overlap,) = verify(query, candidate, mirrored=True).overlaps
    assert overlap.mirrored


def test_two_pictures_that_change_places_are_two_overlaps(picture):
    a, b = picture(4), picture(5)
    query, candidate = beside(a, b), beside(b, a)
    overlaps = verify(local_features(query), local_features(candidate)).overlaps
    assert len(overlaps) == 2
    assert {overlap.inliers > 100 for overlap in overlaps} == {True}
    for overlap in overlaps:
        assert 0.3 < overlap.query_share < 0.6
        for polygon in (overlap.query_polygon, overlap.candidate_polygon):
            assert (polygon >= 0).all()
            assert (polygon <= query.size).all()
    lefts = sorted(overlap.query_polygon[:, 0].mean() for overlap in overlaps)
    assert lefts[0] < query.width / 2 < lefts[1]


def test_one_half_of_two_plates_is_a_part_of_each(picture):
    a, b, c = picture(4), picture(5), picture(6)
    (overlap,) = verify(local_features(beside(a, b)), local_features(beside(a, c))).overlaps
    assert overlap.query_share < 0.6
    assert overlap.query_polygon[:, 0].max() < a.width + 100


def test_different_pictures_share_nothing(picture):
    features = [local_features(picture(seed)) for seed in range(10, 16)]
    for i, first in enumerate(features):
        for second in features[i + 1 :]:
            assert not verify(first, second).overlaps


def test_a_screen_alone_is_no_overlap():
    def screened(period: float, angle: float) -> Image.Image:
        y, x = np.mgrid[:360, :480]
        u = x * np.cos(angle) + y * np.sin(angle)
        v = y * np.cos(angle) - x * np.sin(angle)
        dots = np.cos(2 * np.pi * u / period) + np.cos(2 * np.pi * v / period)
        noise = np.random.default_rng(int(period * 10)).normal(0, 8, dots.shape)
        return Image.fromarray((128 + 50 * dots + noise).clip(0, 255).astype(np.uint8))

    for second in (screened(9.5, 0.3), screened(9.0, 0.6)):
        assert related(screened(9.0, 0.3), second) == Relation.UNRELATED


def test_grain_of_blank_paper_is_no_overlap():
    generator = np.random.default_rng(0)
    sheets = [generator.integers(200, 205, (300, 400), dtype=np.uint8) for _ in range(2)]
    assert not verify(*(local_features(Image.fromarray(each)) for each in sheets)).overlaps


def test_nothing_is_shared_with_an_empty_picture(picture):
    empty, some = local_features(Image.new("L", (200, 100))), local_features(picture(1))
    for query, candidate in ((empty, some), (some, empty), (empty, empty)):
        assert verify(query, candidate).overlaps == ()


def test_features_at_one_place_are_no_overlap(picture):
    features = local_features(picture(1))
    points = features.points.copy()
    points[:, :2] = 7
    heap = LocalFeatures(points=points, descriptors=features.descriptors, width=480, height=360)
    assert not verify(features, heap).overlaps
    assert not verify(heap, features).overlaps
    line = features.points.copy()
    line[:, 1] = 100
    flat = LocalFeatures(points=line, descriptors=features.descriptors, width=480, height=360)
    assert not verify(features, flat).overlaps


def test_repeated_in_any_thread_the_result_is_the_same(picture):
    query, candidate = local_features(picture(4)), local_features(reprint(picture(4), seed=1))

    def once(_: int) -> tuple:
        (overlap,) = verify(query, candidate).overlaps
        return overlap.inliers, overlap.homography.tobytes(), overlap.query_polygon.tobytes()

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(once, range(12)))) == 1


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_relations_of_simulated_printings(picture, seed):
    image, other = picture(seed), picture(seed + 30)
    printed = reprint(image, seed=seed, caption=None)
    quarter = printed.crop((0, 0, printed.width // 2, printed.height // 2))
    assert related(printed, image) in (Relation.REPRINT, Relation.SAME_SCAN)
    assert related(reprint(image, seed=seed, mirror=True), image) == Relation.MIRRORED
    assert related(quarter, image) == Relation.CROP_OF
    assert related(image, quarter) == Relation.CONTAINS
    assert related(beside(image, other), image) == Relation.CONTAINS
    assert related(beside(image, other), beside(other, image)) == Relation.COMPOSITE
    assert related(printed, other) == Relation.UNRELATED
    smaller = image.resize((300, 225), Image.Resampling.LANCZOS)
    assert related(smaller, image) == Relation.SAME_SCAN


def test_two_planes_that_moved_apart_are_one_scene(picture):
    """Two exposures from two places: near and far things, mixed all over the picture."""
    near, far = (np.asarray(picture(seed)) for seed in (7, 8))
    y, x = np.mgrid[:360, :480]
    mask = ((x // 100 + y // 100) % 2).astype(bool)
    left = Image.fromarray(np.where(mask, near, far))
    right = Image.fromarray(np.where(np.roll(mask, 24, axis=1), np.roll(near, 24, axis=1), far))
    assert related(left, right) == Relation.SAME_SCENE


def test_the_same_bytes_are_the_same_scan_and_none_compared_is_said():
    evidence = Evidence(similarity=0.9, pdq=1.0, words=1.0, verification=None)
    assert relation(evidence, probability=0.1, same_bytes=True) == Relation.SAME_SCAN
    assert relation(evidence, probability=0.1, same_bytes=False) == Relation.NOT_COMPARED


def some_of(features, count):
    return dataclasses.replace(
        features, points=features.points[:count], descriptors=features.descriptors[:count]
    )


@pytest.mark.parametrize(("count", "says"), [(0, False), (19, False), (20, True)])
def test_finding_nothing_with_almost_no_features_says_nothing(picture, count, says):
    few, many = some_of(local_features(picture(1)), count), local_features(picture(2))
    for pair in ((few, many), (many, few)):
        found = verify(*pair)
        assert not found.overlaps
        assert found.is_conclusive is says
        evidence = Evidence(similarity=0.9, pdq=0.8, words=0.0, verification=found)
        assert evidence.is_compared is says
        expected = Relation.UNRELATED if says else Relation.NOT_COMPARED
        assert relation(evidence, probability=0.1, same_bytes=False) is expected


def test_the_few_features_that_agree_are_enough(picture):
    few = some_of(local_features(picture(1)), 19)
    found = verify(few, few)
    assert found.overlaps
    assert found.is_conclusive


def test_frames_meet_in_a_polygon_within_both():
    shift = np.array([[1.0, 0, 60], [0, 1, -20], [0, 0, 1]])
    part = polygons.shared_part(shift, (100, 80), (100, 80))
    assert polygons.area(part) == pytest.approx(40 * 60)
    assert (
        polygons.shared_part(shift + np.array([[0, 0, 50], [0] * 3, [0] * 3]), (100, 80), (100, 80))
        is None
    )
    horizon = np.array([[1.0, 0, 0], [0, 1, 0], [-0.02, 0, 1]])
    part = polygons.shared_part(horizon, (100, 80), (100, 80))
    assert part[:, 0].max() < 50


def test_what_is_plausible_among_the_inliers_alone_is_refused():
    """Men that stand alike in one corner of two chess diagrams say wild things of the others."""
    leaning = np.array([[1.0, 0, 0], [0, 1, 0], [0.0015, 0, 1]])
    corner, whole = polygons.rectangle(60, 60), polygons.rectangle(384, 384)
    assert is_plausible(leaning, corner)
    assert not is_plausible(leaning, whole)


@dataclasses.dataclass
class Judged:
    """An agreement with what its order depends on."""

    area: float
    odds: float
    count: int = 20
    look: Look | None = None

    @property
    def tiles(self):
        return SimpleNamespace(
            area=self.area, look=lambda: Look(judgement=self.odds, part=None, differences=())
        )


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (Judged(area=40, odds=5), Judged(area=200, odds=-1)),
        (Judged(area=40, odds=5), Judged(area=200, odds=0.2)),
        (Judged(area=200, odds=4), Judged(area=40, odds=9)),
        (Judged(area=20, odds=1, count=9), Judged(area=20, odds=1, count=8)),
        (Judged(area=1, odds=-4), Judged(area=0, odds=900)),
    ],
)
def test_the_picture_comes_before_its_furniture_and_the_larger_picture_first(first, second):
    for given in ([first, second], [second, first]):
        assert registered.look_and_sort(given) == [first, second]
