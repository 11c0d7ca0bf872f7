"""Sheets that are laid upon each other where they repeat."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from halftone.evaluation.judging.repeats import find_repeat, lay_upon
from halftone.matching.fingerprint import local_features
from halftone.vision.reprinting import reprint
from tests.support.pictures.printed_pages import scene

SQUARE = 40


def board(seed: int) -> Image.Image:
    """Squares, and discs on some of them."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[: 8 * SQUARE, : 8 * SQUARE]
    pixels = np.where((y // SQUARE + x // SQUARE) % 2, 90, 230).astype(np.uint8)
    for row, column in generator.integers(0, 8, (10, 2)):
        centre = (row + 0.5) * SQUARE, (column + 0.5) * SQUARE
        pixels[np.hypot(y - centre[0], x - centre[1]) < SQUARE / 3] = 10
    return Image.fromarray(pixels)


@pytest.mark.parametrize("seed", range(4))
def test_squares_lie_on_squares(seed):
    shift = find_repeat(board(seed), board(seed + 50), generator=np.random.default_rng(seed))
    by = shift[:2, 2] / SQUARE
    assert np.abs(by).max() > 0.5, "nothing was shifted"
    np.testing.assert_allclose(by, by.round(), atol=0.1)
    assert np.abs(by).max() <= 6, "hardly anything is in common"


def test_printings_are_laid_as_their_sheets_are():
    sheet = scene(1)
    printings = [reprint(sheet, seed=seed, side=600, max_crop=0.03) for seed in (1, 2)]
    sheets = local_features(sheet), local_features(sheet)
    shift = np.array([[1.0, 0, 40], [0, 1, -20], [0, 0, 1]])
    first, second = (local_features(each) for each in printings)
    laid = lay_upon(sheets, (first, second), shift)
    still = lay_upon(sheets, (first, second), np.eye(3))
    assert laid is not None
    assert still is not None
    middle = np.array([300.0, 220.0, 1.0])
    moved, stood = laid @ middle, still @ middle
    by = moved[:2] / moved[2] - stood[:2] / stood[2]
    scale = max(printings[1].size) / max(sheet.size)
    np.testing.assert_allclose(by, (40 * scale, -20 * scale), rtol=0.25)


def test_printings_of_something_else_are_not_laid():
    first, second, third = (local_features(scene(seed)) for seed in (1, 2, 3))
    assert lay_upon((first, first), (second, third), np.eye(3)) is None
