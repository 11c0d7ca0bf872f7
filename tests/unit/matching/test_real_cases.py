"""Real pictures that share furniture, or have too little to compare: none may be called the same.

They lie beside the repository in `shared/cases`, and are no part of it.
"""

from __future__ import annotations

import functools
import itertools
from pathlib import Path

import pytest

from halftone.archive.manifests import read_manifest
from halftone.evaluation.pairs import compare_pictures
from halftone.imaging import images
from halftone.matching.fingerprint import archive_fingerprint, fingerprint
from halftone.matching.probability import UNCOMPARED
from halftone.matching.relation import Relation
from halftone.matching.verification import verify

CASES = Path(__file__).parents[4] / "shared" / "cases"
FURNITURE = sorted(each.name for each in CASES.glob("fp-*"))
DOUBTFUL = ("fp-copystand-colour-chart", "fp-text-pages-book-edge")
"""What they share is half of the sheet and of stronger contrast than the pictures."""
PICTURES = (".jpg", ".png", ".tif")

pytestmark = pytest.mark.skipif(not FURNITURE, reason="shared/cases is not beside the repository")


@functools.cache
def prints(path: Path):
    image = images.decode(path.read_bytes(), max_pixels=100_000_000, target=1024, luminance=True)
    return fingerprint(image), archive_fingerprint(image)


def pairs(folder: Path):
    files = [each for each in sorted(folder.iterdir()) if each.suffix in PICTURES]
    assert len(files) > 1
    # Some photographs lie in one folder with two kinds of furniture, told by the file's name.
    return [
        (one, other)
        for one, other in itertools.combinations(files, 2)
        if "credit" not in folder.name or one.name[:4] == other.name[:4]
    ]


@pytest.mark.parametrize("case", FURNITURE)
def test_different_pictures_that_share_furniture_are_told_apart(case):
    for one, other in pairs(CASES / case):
        found = compare_pictures(prints(one)[0], prints(other)[1])
        assert found.probability < (0.9 if case in DOUBTFUL else 0.5), (one.name, other.name)
        if case not in DOUBTFUL:
            assert found.relation in (Relation.SHARED_ELEMENTS, Relation.UNRELATED)


def test_what_has_too_little_detail_to_compare_is_never_certain():
    for one, other in pairs(CASES / "sparse"):
        found = compare_pictures(prints(one)[0], prints(other)[1])
        assert found.relation is Relation.NOT_COMPARED
        assert found.probability <= UNCOMPARED, (one.name, other.name)
    rules = [CASES / "sparse" / f"rule{number}.jpg" for number in (0, 1)]
    assert compare_pictures(prints(rules[0])[0], prints(rules[1])[1]).probability < 0.5


def test_a_negative_is_found_and_said_to_be_one():
    original = CASES.parent / "data" / "press-archive"
    (path,) = original.rglob("17121-p1906_004_1.*")
    negative = CASES / "miss-negative" / "negative.jpg"
    assert compare_pictures(prints(negative)[0], prints(path)[1]).probability > 0.9
    (overlap, *_) = verify(prints(negative)[0].features, prints(path)[1].features).overlaps
    assert overlap.negative


def test_a_file_of_a_mac_is_found_by_the_name_in_its_manifest():
    (row,) = read_manifest(CASES / "nfd", archive="any")
    assert row.error is None
    assert row.path is not None
    assert row.path.read_bytes()
