"""Two pictures are compared as a search compares them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image

from halftone.evaluation.pairs import compare_pictures
from halftone.matching.fingerprint import archive_fingerprint, fingerprint
from halftone.matching.relation import Relation


def picture(seed: int) -> Image.Image:
    generator = np.random.default_rng(seed)
    tone = cv2.GaussianBlur(generator.normal(size=(300, 400)), (0, 0), 6)
    pixels = ((tone - tone.min()) / np.ptp(tone) * 255).astype(np.uint8)
    for _ in range(80):
        x, y = int(generator.integers(0, 380)), int(generator.integers(0, 280))
        cv2.circle(pixels, (x, y), int(generator.integers(4, 24)), int(generator.integers(256)), -1)
    return Image.fromarray(pixels)


def test_pictures_and_their_fingerprints_give_the_same_answer():
    first = picture(1)
    paler = first.point([40 + level // 2 for level in range(256)])
    found = compare_pictures(first, paler)
    assert found.probability > 0.9
    assert found.relation in (Relation.REPRINT, Relation.SAME_SCAN)
    assert found.seconds > 0
    again = compare_pictures(fingerprint(first), archive_fingerprint(paler))
    assert again.probability == pytest.approx(found.probability)
    assert again.relation is found.relation


def test_mirrored_pictures_are_found_and_others_are_not():
    first = picture(1)
    mirrored = compare_pictures(first.transpose(Image.Transpose.FLIP_LEFT_RIGHT), first)
    assert mirrored.relation is Relation.MIRRORED
    other = compare_pictures(first, picture(2))
    assert other.probability < 0.5
    assert other.relation is Relation.UNRELATED
