"""Fingerprints of the archive's pictures: kept, remembered, and made again where they are gone."""

from __future__ import annotations

import hashlib
import io

import numpy as np
import pytest
from PIL import Image

from halftone.core import errors, telemetry
from halftone.imaging import images
from halftone.imaging.orientations import UPRIGHT
from halftone.imaging.pool.inline import Inline
from halftone.matching.features import SIDE, LocalFeatures, extract
from halftone.matching.fingerprint import archive_fingerprint
from halftone.services.search.archive.blobs import Blobs
from halftone.services.search.archive.fingerprints import Fingerprints
from tests.support.pictures.printed_pages import printed_page
from tests.support.search.search_service import picture


def drawing(seed, *, size=(500, 400)):
    """A JPEG with many corners."""
    chance = np.random.default_rng(seed)
    coarse = chance.integers(0, 256, size=(size[1] // 10, size[0] // 10), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(coarse).resize(size).save(stream, "JPEG", quality=95)
    return stream.getvalue()


CONTENT = drawing(1)
SHA = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def blobs(tmp_path):
    return Blobs(str(tmp_path / "blobs"))


@pytest.fixture
def metrics():
    """One for each `Fingerprints` that was made, as each has a process of its own."""
    return []


@pytest.fixture
def make(blobs, metrics):
    def make(*, memory_bytes=10_000_000):
        metrics.append(telemetry.Metrics(service="test"))
        return Fingerprints(
            blobs=blobs,
            runner=Inline(),
            max_pixels=10_000_000,
            memory_bytes=memory_bytes,
            metrics=metrics[-1],
        )

    return make


def sources(metrics):
    return {
        source: sum(
            each.registry.get_sample_value("halftone_test_features_total", {"source": source}) or 0
            for each in metrics
        )
        for source in ("memory", "blob", "picture")
    }


def same(first, second):
    return (
        np.array_equal(first.points, second.points)
        and np.array_equal(first.descriptors, second.descriptors)
        and (first.width, first.height) == (second.width, second.height)
    )


def test_what_is_imported_is_what_the_archive_fingerprint_is(make, blobs):
    made = make().of_archive(CONTENT, sha256=SHA)
    expected = archive_fingerprint(images.decode(CONTENT, max_pixels=10**7, luminance=True))
    np.testing.assert_array_equal(made.pdq > 0, expected.pdq[UPRIGHT] > 0)
    assert set(np.unique(made.pdq)) == {-1.0, 1.0}
    np.testing.assert_array_equal(made.words.indices, expected.words[False].indices)
    assert same(made.unkept, expected.features)
    # Nothing is written before the importer says so.
    with pytest.raises(errors.NotFound):
        blobs.get_features(SHA)


def test_the_hash_of_a_picture_as_it_lies_is_the_one_that_is_imported(make):
    content = drawing(2, size=(1300, 1100))
    hashes = make().hashes(content)
    assert len(hashes) == 8
    imported = make().of_archive(content, sha256=hashlib.sha256(content).hexdigest()).pdq
    np.testing.assert_array_equal(hashes[UPRIGHT] > 0, imported > 0)


@pytest.mark.parametrize("scale", [1, 2.6])
def test_a_page_is_looked_at_in_enough_pixels(make, scale):
    """A large JPEG is decoded reduced, to fewer pixels than its letters need."""
    shown = Image.open(io.BytesIO(drawing(3, size=(400, 300)))).point(lambda v: 110 + v // 6)
    sheet = printed_page([(shown, (300, 200)), (shown.rotate(90, expand=True), (60, 640))])
    sheet = sheet.resize((round(860 * scale), round(1200 * scale)), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    sheet.save(stream, "JPEG", quality=90)
    content = stream.getvalue()
    copy = images.decode(content, max_pixels=10**8, target=SIDE, luminance=True)
    whole = extract(copy, full_size=sheet.size)

    def in_pictures(features, *, top=0.0):
        x, y = features.points[:, 0] / scale, features.points[:, 1] / scale + top
        first = (x > 300) & (x < 700) & (y > 200) & (y < 500)
        second = (x > 60) & (x < 360) & (y > 640) & (y < 1040)
        return (first | second).sum()

    queried = make().of_query(content).features
    imported = make().of_archive(content, sha256=SHA).unkept
    assert same(queried, imported)
    assert (imported.width, imported.height) == sheet.size
    assert in_pictures(imported) > 2 * in_pictures(whole)
    lower = images.Region(0, round(560 * scale), sheet.width, sheet.height - round(560 * scale))
    part = make().of_query(content, region=lower).features
    assert in_pictures(part, top=560) > in_pictures(whole)


def test_places_are_those_of_the_picture_in_its_full_size(make):
    small, large = (
        make().of_archive(drawing(1, size=size), sha256=SHA).unkept
        for size in ((500, 400), (2000, 1600))
    )
    assert (large.width, large.height) == (2000, 1600)
    assert large.points[:, 0].max() > 1_500
    assert small.points[:, 0].max() <= 500


def test_kept_features_are_taken(make, blobs, metrics):
    fingerprints = make()
    blobs.put(CONTENT, sha256=SHA)
    made = fingerprints.of_archive(CONTENT, sha256=SHA)
    fingerprints.keep(made.unkept, sha256=SHA)
    again = fingerprints.of_archive(CONTENT, sha256=SHA)
    assert again.unkept is None
    np.testing.assert_array_equal(again.words.indices, made.words.indices)
    np.testing.assert_array_equal(again.pdq, made.pdq)
    features = make().features(SHA)
    np.testing.assert_array_equal(features.descriptors, made.unkept.descriptors)
    np.testing.assert_allclose(features.points, made.unkept.points, atol=0.02)
    assert sources(metrics) == {"memory": 0, "blob": 1, "picture": 0}


def _other_format(data):
    return data[:4] + b"\xff\xff" + data[6:]


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(None, id="missing"),
        pytest.param(lambda data: data[:1000], id="cut off"),
        pytest.param(lambda data: b"\0" * len(data), id="overwritten"),
        pytest.param(_other_format, id="another release's"),
    ],
)
def test_what_cannot_be_read_is_made_again_and_kept(make, blobs, metrics, damage):
    blobs.put(CONTENT, sha256=SHA)
    whole = make().of_archive(CONTENT, sha256=SHA).unkept.to_bytes()
    if damage is not None:
        blobs.put_features(damage(whole), sha256=SHA)
    made = make().features(SHA)
    assert blobs.get_features(SHA) == whole
    # The same whether it was made just now or read.
    assert same(made, make().features(SHA))
    assert same(made, LocalFeatures.from_bytes(whole))
    assert sources(metrics) == {"memory": 0, "blob": 1, "picture": 1}
    if damage is not None:
        blobs.put_features(damage(whole), sha256=SHA)
        assert make().of_archive(CONTENT, sha256=SHA).unkept is not None


def test_without_its_picture_there_are_none(make, blobs):
    with pytest.raises(errors.NotFound):
        make().features(SHA)
    with pytest.raises(errors.NotFound):
        blobs.get_features(SHA)


def test_features_that_cannot_be_kept_serve_all_the_same(make, blobs, tmp_path):
    blobs.put(CONTENT, sha256=SHA)
    (tmp_path / "blobs" / "features").write_text("a file where the directory should be")
    assert len(make().features(SHA)) > 100


class _DeletedMeanwhile(Blobs):
    """A picture that is deleted between reading it and keeping its features."""

    def put_features(self, content, *, sha256):
        super().delete(sha256)
        super().put_features(content, sha256=sha256)


class _ImportedAgain(_DeletedMeanwhile):
    """And that is imported again as soon as it was seen to be gone."""

    def has(self, sha256):
        there = super().has(sha256)
        super().put(CONTENT, sha256=sha256)
        return there


@pytest.mark.parametrize(("kind", "left"), [(_DeletedMeanwhile, []), (_ImportedAgain, [SHA])])
def test_of_a_picture_that_goes_meanwhile_no_features_stay(tmp_path, kind, left):
    blobs = kind(str(tmp_path / "blobs"))
    blobs.put(CONTENT, sha256=SHA)
    fingerprints = Fingerprints(
        blobs=blobs,
        runner=Inline(),
        max_pixels=10**7,
        memory_bytes=0,
        metrics=telemetry.Metrics(service="test"),
    )
    assert len(fingerprints.features(SHA)) > 100
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == left


def test_memory_is_bounded_and_has_the_last_ones(make, blobs, metrics):
    contents = [drawing(seed) for seed in range(4)]
    shas = [hashlib.sha256(content).hexdigest() for content in contents]
    for content, sha256 in zip(contents, shas, strict=True):
        blobs.put(content, sha256=sha256)
        blobs.put_features(
            make().of_archive(content, sha256=sha256).unkept.to_bytes(), sha256=sha256
        )
    one = make().features(shas[0])
    size = one.points.nbytes + one.descriptors.nbytes + len(one.copy) + 1_000
    fingerprints = make(memory_bytes=int(2.5 * size))
    before = sources(metrics)["blob"]
    for at in (0, 1, 0, 2, 0, 1, 3):
        fingerprints.features(shas[at])
    # 0 is used again each time, so 1 and then 2 had to go.
    found = sources(metrics)
    assert (found["memory"], found["blob"] - before) == (2, 5)
    nothing = make(memory_bytes=0)
    nothing.features(shas[0])
    nothing.features(shas[0])
    assert sources(metrics)["memory"] == 2


def test_a_region_has_places_of_its_own(make):
    content = drawing(3, size=(1600, 1200))
    region = images.Region(400, 300, 800, 600)
    made = make().of_query(content, region=region, mirrored=True, rotated=True)
    assert (made.features.width, made.features.height) == (800, 600)
    assert len(made.pdq) == 8
    assert set(made.words) == {False, True}
    plain = make().of_query(content, mirrored=False, rotated=False)
    assert (plain.features.width, plain.features.height) == (1600, 1200)
    assert (list(plain.pdq), list(plain.words)) == ([UPRIGHT], [False])


def test_a_plain_picture_has_no_words(make):
    stream = io.BytesIO()
    Image.new("L", (300, 200), 200).save(stream, "PNG")
    made = make().of_archive(stream.getvalue(), sha256=SHA)
    assert len(made.words.indices) == 0
    assert len(made.unkept) == 0


def test_what_cannot_be_decoded_is_refused(make):
    with pytest.raises(errors.ImageRejected):
        make().of_archive(b"no picture", sha256=SHA)
    with pytest.raises(errors.ImageRejected):
        Fingerprints(
            blobs=Blobs("unused"),
            runner=Inline(),
            max_pixels=100,
            memory_bytes=0,
            metrics=telemetry.Metrics(service="small"),
        ).of_query(picture(1))
