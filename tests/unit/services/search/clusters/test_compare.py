"""Candidates and comparisons for clusters: evidence that survives, shares, room for others."""

from __future__ import annotations

import dataclasses
import io
import uuid

import numpy as np
import pytest
from PIL import Image, ImageOps

from halftone.core import errors
from halftone.imaging.orientations import UPRIGHT
from halftone.matching.fingerprint import archive_fingerprint, local_features
from halftone.matching.overlaps import Overlap, Verification
from halftone.matching.pdq import to_vector
from halftone.matching.probability import Calibration, Evidence
from halftone.matching.relation import relation
from halftone.services.search.clusters.candidates import Depths, find_neighbours
from halftone.services.search.clusters.compare import Comparer, Side, pack, unpack
from halftone.services.search.store.edge.store import EdgeStore
from halftone.services.search.store.port import Point, Stored, Words
from halftone.v1 import search_pb2
from tests.support.embedder.fake_embedder import DIMENSION, descriptor
from tests.support.search.cluster_pictures import plate, printing, scene
from tests.support.search.tile_evidence import WHOLE

Relation = search_pb2.Hit


class Source:
    """Features of pictures that are given."""

    def __init__(self, pictures):
        self.pictures = pictures

    def features(self, sha256):
        if sha256 not in self.pictures:
            raise errors.NotFound("gone")
        return local_features(self.pictures[sha256])


class Calibrations:
    def of(self, model_version):
        return Calibration.default()


def framed(picture, *, size=(460, 340)):
    """A picture in an ornamental frame, the same for all."""
    tile = np.random.default_rng(5).integers(0, 2, size=(8, 8), dtype=np.uint8) * 200 + 20
    ornament = np.tile(np.kron(tile, np.ones((12, 12), dtype=np.uint8)), (4, 5))
    sheet = Image.fromarray(ornament).resize(size)
    width, height = size[0] - 100, size[1] - 100
    sheet.paste(235, (42, 42, 58 + width, 58 + height))
    sheet.paste(picture.convert("L").resize((width, height)), (50, 50))
    return sheet


def opened(content):
    return Image.open(io.BytesIO(content))


@pytest.fixture(scope="module")
def pictures():
    return {
        "original": scene(1),
        "reprint": opened(printing(1, edition=3)),
        "mirrored": ImageOps.mirror(scene(1)),
        "negative": ImageOps.invert(opened(printing(1, edition=3)).convert("L")),
        "turned negative": ImageOps.mirror(ImageOps.invert(scene(1).convert("L"))),
        "plate": opened(plate(1, 2)),
        "other": scene(3),
        "framed": framed(scene(1)),
        "other framed": framed(scene(3)),
        "third framed": framed(scene(5)),
        "plain": Image.new("L", (200, 100), 128),
    }


@pytest.fixture(scope="module")
def sides(pictures):
    made = {}
    for number, (key, picture) in enumerate(pictures.items()):
        found = archive_fingerprint(picture)
        made[key] = Side(
            sha=bytes([number]) * 32,
            stored=Stored(
                id=uuid.uuid4(),
                payload={},
                vector=descriptor(picture),
                pdq=to_vector(found.pdq[UPRIGHT]),
                words=Words(*found.words[False]) if len(found.words[False].indices) else None,
            ),
        )
    return made


@pytest.fixture(scope="module")
def comparer(pictures, sides):
    made = Comparer(
        Source({sides[key].sha.hex(): picture for key, picture in pictures.items()}),
        calibrations=Calibrations(),
    )
    yield made
    made.close()


def compare(comparer, sides, *pairs, **options):
    options = {"model_version": "fake/1", "alone": False} | options
    return comparer.compare([(sides[a], sides[b]) for a, b in pairs], **options)


def test_comparisons_say_how_sure_and_how_much(comparer, sides):
    reprint, mirrored, whole, other = compare(
        comparer,
        sides,
        ("original", "reprint"),
        ("original", "mirrored"),
        ("original", "plate"),
        ("original", "other"),
    )
    assert min(reprint.probability, mirrored.probability, whole.probability) >= 0.9
    assert other.probability < 0.1
    assert (reprint.relation, mirrored.relation) == (Relation.REPRINT, Relation.MIRRORED)
    assert min(reprint.share, mirrored.share) > 0.8
    # Less than half of the plate is the picture.
    assert 0.3 < whole.share < 0.5
    assert other.verification == b""
    found = search_pb2.Verification.FromString(reprint.verification)
    assert found.overlaps[0].inlier_count > 20


def test_a_negative_is_as_probable_as_the_printing(comparer, sides):
    reprint, negative, turned = compare(
        comparer,
        sides,
        ("original", "reprint"),
        ("original", "negative"),
        ("original", "turned negative"),
    )
    assert negative.probability == pytest.approx(reprint.probability, abs=0.05)
    assert turned.probability >= 0.9
    lies = []
    for each in (reprint, negative, turned):
        overlap = search_pb2.Verification.FromString(each.verification).overlaps[0]
        lies.append((overlap.negative, overlap.mirrored))
    assert lies == [(False, False), (True, False), (True, True)]
    assert unpack(negative.evidence).pdq == pytest.approx(unpack(reprint.evidence).pdq, abs=0.1)
    assert unpack(turned.evidence).words > 0.5


@pytest.mark.parametrize("key", ["negative", "turned negative"])
def test_negatives_are_neighbours_by_hash_or_words(tmp_path, comparer, sides, key):
    store = EdgeStore(tmp_path / "store", min_free_bytes=0)
    collection = store.open("fake/1", dimension=DIMENSION)
    chance = np.random.default_rng(0)

    def point(side):
        # Descriptors that say nothing.
        vector = _unit(chance.standard_normal(DIMENSION))
        stored = side.stored
        return Point(
            id=stored.id,
            vector=vector,
            payload={"sha256": side.sha.hex()},
            pdq=stored.pdq,
            words=stored.words,
        )

    collection.upsert([point(sides["original"]), point(sides["other"]), point(sides[key])])
    (stored,) = collection.retrieve([sides["original"].stored.id], vectors=True).values()
    depths = Depths(descriptor=0, pdq=0, words=0, limit=0, negative=1)
    changed = comparer.changed_words(sides["original"].sha)
    found = find_neighbours(collection, stored, changed=changed, depths=depths)
    assert found == [sides[key].stored.id]
    store.close()


def test_a_shared_frame_links_nothing_and_parts_nothing(comparer, sides):
    """A picture is in a frame that others are in, too: it is found in it, and they are not."""
    frames = compare(
        comparer,
        sides,
        ("framed", "other framed"),
        ("framed", "third framed"),
        ("other framed", "third framed"),
    )
    for each in frames:
        assert each.probability < 0.2
        assert each.relation == Relation.SHARED_ELEMENTS
        overlap, *_ = search_pb2.Verification.FromString(each.verification).overlaps
        assert len(overlap.parts) >= 4, "the frame's four sides"
        assert overlap.contradicting_share > 0.2
    own = compare(comparer, sides, ("original", "framed"), ("reprint", "framed"))
    assert min(each.probability for each in own) >= 0.9
    assert {each.relation for each in own} <= {
        Relation.CONTAINS,
        Relation.CROP_OF,
        Relation.REPRINT,
    }


def test_in_threads_or_alone_the_same_is_found(comparer, sides):
    pairs = [("original", "reprint"), ("original", "plate"), ("reprint", "other")]
    first = compare(comparer, sides, *pairs)
    assert compare(comparer, sides, *pairs, alone=True) == first
    assert compare(comparer, sides, *pairs) == first


def test_what_cannot_be_read_is_left_out(comparer, sides):
    gone = dataclasses.replace(sides["other"], sha=b"\xff" * 32)
    found = comparer.compare(
        [(sides["original"], gone), (sides["original"], sides["reprint"])],
        model_version="fake/1",
        alone=False,
    )
    assert [each.b for each in found] == [sides["reprint"].sha]
    assert comparer.changed_words(gone.sha) is None
    assert comparer.changed_words(sides["plain"].sha) is None


def test_kept_evidence_gives_the_same_probability(comparer, sides):
    found = compare(
        comparer,
        sides,
        ("original", "reprint"),
        ("original", "other"),
        ("framed", "other framed"),
        ("original", "mirrored"),
        ("original", "plate"),
    )
    kept = [(each.evidence, unpack(each.evidence).similarity) for each in found]
    again = comparer.rescore(kept, model_version="fake/2")
    assert [probability for probability, _, _ in again] == pytest.approx(
        [each.probability for each in found], abs=1e-6
    )
    assert [relation for _, relation, _ in again] == [each.relation for each in found]
    assert [evidence for _, _, evidence in again] == [each.evidence for each in found]
    # Another model's similarity takes the place of this one's, and may be unknown.
    ((_, _, evidence),) = comparer.rescore([(found[0].evidence, None)], model_version="fake/2")
    assert unpack(evidence).similarity is None
    assert pack(unpack(evidence)) == evidence


def test_kept_evidence_gives_the_same_relation_where_a_strip_comes_first():
    def overlap(breadth: float) -> Overlap:
        return Overlap(
            inliers=40,
            matches=50,
            homography=np.eye(3),
            query_polygon=np.zeros((4, 2), np.float32),
            candidate_polygon=np.zeros((4, 2), np.float32),
            query_share=0.3,
            candidate_share=0.9,
            mirrored=False,
            rotation=0,
            scale=1,
            residual=0.5,
            evidence=dataclasses.replace(WHOLE, breadth=breadth),
        )

    for breadths in ((0.2, 0.5, 0.5), (0.2, 0.5), (0.5, 0.2), (0.2,), (0.5, 0.5)):
        fresh = Evidence(
            similarity=0.5,
            pdq=0.5,
            words=0.5,
            verification=Verification(overlaps=tuple(map(overlap, breadths)), seconds=0),
        )
        told = [
            relation(each, probability=0.95, same_bytes=False)
            for each in (fresh, unpack(pack(fresh)))
        ]
        assert told[0] == told[1], breadths


def test_equal_bytes_do_not_take_the_room_of_others(tmp_path):
    store = EdgeStore(tmp_path / "store", min_free_bytes=0)
    collection = store.open("fake/1", dimension=DIMENSION)
    chance = np.random.default_rng(0)
    logo = descriptor(scene(1))

    def point(sha, vector, **payload):
        return Point(id=uuid.uuid4(), vector=vector, payload={"sha256": sha, **payload})

    copies = [point("aa", logo, shared=True) for _ in range(40)]
    near = [
        point(f"b{at}", _unit(logo + 0.01 * chance.standard_normal(DIMENSION))) for at in range(3)
    ]
    far = [point(f"c{at}", _unit(chance.standard_normal(DIMENSION))) for at in range(20)]
    collection.upsert([*copies, *near, *far])
    depths = Depths(descriptor=5, limit=5)
    (first,) = collection.retrieve([copies[0].id], vectors=True).values()
    found = find_neighbours(collection, first, changed=None, depths=depths)
    assert set(found[:3]) == {each.id for each in near}
    assert not set(found) & {each.id for each in copies}
    assert len(found) == 5
    store.close()


def _unit(vector):
    return (vector / np.linalg.norm(vector)).astype(np.float32)
