"""The press benchmark's transformations: what they promise about sizes, places and strengths."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from halftone.evaluation.press import screens
from halftone.evaluation.press.transforms import TRANSFORMATIONS, move, transform


def picture(width: int = 300, height: int = 220, *, seed: int = 3) -> Image.Image:
    """Smooth hills with a few hard edges: every tone, no symmetry."""
    generator = np.random.default_rng(seed)
    tone = cv2.GaussianBlur(generator.normal(size=(height, width)), (0, 0), 12)
    tone = (tone - tone.min()) / np.ptp(tone) * 255
    pixels = tone.astype(np.uint8)
    for _ in range(12):
        x, y = int(generator.integers(0, width - 40)), int(generator.integers(0, height - 40))
        level = int(generator.integers(0, 256))
        cv2.rectangle(pixels, (x, y), (x + 30, y + 20), level, -1)
    return Image.fromarray(pixels)


def printed(name: str, strength: int, *, source: Image.Image | None = None, seed: int = 5):
    return transform(
        source or picture(),
        transformation=TRANSFORMATIONS[name],
        strength=strength,
        seed=seed,
        companions=[picture(seed=8), picture(120, 200, seed=9)],
    )


def laid_back(found, *, size: tuple[int, int]) -> np.ndarray:
    """A printed picture where its source lies."""
    return cv2.warpPerspective(np.array(found.image), found.to_source, size, flags=cv2.INTER_AREA)


def likeness(a: np.ndarray, b: np.ndarray) -> float:
    """Correlation of two pictures, after the screens' dots were blurred away."""
    left, right = (cv2.GaussianBlur(part.astype(float), (0, 0), 2.5).ravel() for part in (a, b))
    return float(np.corrcoef(left, right)[0, 1])


@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_equal_arguments_give_equal_pictures_and_another_seed_or_strength_others(name):
    last = len(TRANSFORMATIONS[name].levels)
    source = picture()
    before = source.tobytes()
    first, again = printed(name, last, source=source), printed(name, last, source=source)
    assert first.image.tobytes() == again.image.tobytes()
    np.testing.assert_array_equal(first.to_source, again.to_source)
    assert first.image.mode == "L"
    assert source.tobytes() == before, "the picture itself stays"
    other = transform(source, transformation=TRANSFORMATIONS[name], strength=last, seed=6)
    if name in ("halftone", "crop", "rotation", "caption", "collage", "composed"):
        assert other.image.tobytes() != first.image.tobytes()
    if last > 1:
        assert printed(name, 1, source=source).image.tobytes() != first.image.tobytes()


def test_every_named_transformation_has_five_strengths_but_the_negative():
    counts = {name: len(entry.levels) for name, entry in TRANSFORMATIONS.items()}
    assert counts.pop("negative") == 1
    assert set(counts.values()) == {5}
    assert set(counts) >= {
        "halftone",
        "bilevel",
        "crop",
        "mirror",
        "rotation",
        "caption",
        "collage",
        "tone",
        "blur",
        "jpeg",
        "composed",
    }


@pytest.mark.parametrize("name", [name for name in TRANSFORMATIONS if name != "negative"])
def test_the_source_is_where_the_homography_says(name):
    """Laid back through the homography, the region looks like the source there."""
    source = picture()
    for strength in (2, 5):
        found = printed(name, strength, source=source)
        corners = move(found.region, matrix=found.to_source)
        assert (corners >= -1.5).all()
        assert (corners <= np.array(source.size) + 1.5).all()
        back = laid_back(found, size=source.size)
        seen = np.zeros((source.height, source.width), dtype=np.uint8)
        cv2.fillConvexPoly(seen, corners.round().astype(np.int32), 1)
        seen = cv2.erode(seen, np.ones((9, 9), np.uint8), borderValue=0)
        top, left = np.argwhere(seen).min(axis=0)
        bottom, right = np.argwhere(seen).max(axis=0)
        part = slice(top, bottom), slice(left, right)
        least = 0.5 if name == "bilevel" else 0.85
        assert likeness(back[part], np.array(source)[part]) > least, f"{name} {strength}"


def test_crops_keep_their_share_and_become_smaller():
    areas = []
    for strength, share in enumerate((0.8, 0.6, 0.4, 0.25, 0.1), start=1):
        found = printed("crop", strength)
        areas.append(found.image.width * found.image.height)
        assert areas[-1] == pytest.approx(share * 300 * 220, rel=0.02)
        assert cv2.contourArea(found.region.astype(np.float32)) == pytest.approx(areas[-1])
    assert areas == sorted(areas, reverse=True)


def test_pages_give_the_picture_its_share():
    for strength, share in enumerate((0.6, 0.4, 0.25, 0.15, 0.08), start=1):
        found = printed("collage", strength)
        assert max(found.image.size) == 1400
        of_page = cv2.contourArea(found.region.astype(np.float32))
        assert of_page / (found.image.width * found.image.height) == pytest.approx(share, rel=0.02)
    tall = printed("collage", 1, source=picture(100, 400))
    assert cv2.contourArea(tall.region.astype(np.float32)) / (
        tall.image.width * tall.image.height
    ) == pytest.approx(0.6, rel=0.02)


def test_pages_show_companions_and_text():
    source = picture()
    alone = transform(source, transformation=TRANSFORMATIONS["collage"], strength=5, seed=5)
    beside = printed("collage", 5, source=source)
    assert (np.array(alone.image) < 90).mean() > 0.03, "letters are dark"
    assert (np.array(alone.image) != np.array(beside.image)).mean() > 0.05


def test_turns_are_as_large_as_they_say():
    for strength, degrees in enumerate((2, 5, 8, 11, 15), start=1):
        found = printed("rotation", strength)
        turned = np.degrees(np.arctan2(found.to_source[1, 0], found.to_source[0, 0]))
        assert abs(turned) == pytest.approx(degrees)
    assert printed("quarter", 1).image.size == (220, 300)
    assert printed("quarter", 2).image.size == (300, 220)
    np.testing.assert_array_equal(
        np.array(printed("quarter", 1).image), np.rot90(np.array(picture()), k=-1)
    )
    np.testing.assert_array_equal(
        np.array(printed("mirror", 1).image), np.array(picture())[:, ::-1]
    )
    assert np.linalg.det(printed("mirror", 1).to_source) == pytest.approx(-1)


@pytest.mark.parametrize("name", ["tone", "blur", "jpeg"])
def test_strengths_depart_ever_further_from_the_picture(name):
    source = np.array(picture(), dtype=float)
    errors = [
        float(np.mean((np.array(printed(name, strength).image) - source) ** 2))
        for strength in range(1, 6)
    ]
    assert errors == sorted(errors)
    assert errors[-1] > 2 * errors[0]


def test_coarser_screens_show_more_of_themselves():
    """How far the scan of a smooth grey departs from its own neighbourhood."""
    source = Image.fromarray(np.tile(np.linspace(90, 190, 300).astype(np.uint8), (100, 1)))
    seen = []
    for strength in range(1, 6):
        image = np.array(printed("halftone", strength, source=source).image).astype(float)
        seen.append(float((image - cv2.GaussianBlur(image, (0, 0), 6)).std()))
    assert seen == sorted(seen)
    assert seen[-1] > 1.5 * seen[0]


def test_smaller_prints_have_fewer_dots_across():
    widths = [max(printed("small-print", strength).image.size) for strength in range(1, 6)]
    assert widths == [1500, 900, 750, 600, 450]


@pytest.mark.parametrize("lpi", [150, 120, 100, 85, 65])
@pytest.mark.parametrize("kind", ["dots", "lines"])
def test_a_screen_has_the_period_of_its_lines_per_inch(lpi, kind):
    """The strongest frequency of a flat grey, at the imagesetter's resolution."""
    dpi = screens.SCAN_DPI * screens.FINE
    limit = screens.thresholds(
        (1024, 1024), period=dpi / lpi, angle=38, kind=kind, phase=(0.3, 0.7)
    )
    ink = (limit > 128).astype(float)
    power = np.abs(np.fft.fftshift(np.fft.fft2(ink - ink.mean())))
    v, u = np.unravel_index(power.argmax(), power.shape)
    per_inch = np.hypot(v - 512, u - 512) / 1024 * dpi
    assert per_inch == pytest.approx(lpi, rel=0.02)


def test_a_scanned_screen_keeps_its_period():
    grey = np.full((900, 900), 140, dtype=np.uint8)
    seen = screens.print_through_screen(
        grey, period=300 / 65, angle=52, generator=np.random.default_rng(1)
    )
    power = np.abs(np.fft.fftshift(np.fft.fft2(seen - seen.mean())))
    power[446:455, 446:455] = 0  # the stain of the paper
    v, u = np.unravel_index(power.argmax(), power.shape)
    assert np.hypot(v - 450, u - 450) / 900 * 300 == pytest.approx(65, rel=0.02)


def test_ink_covers_what_the_tone_asks_for():
    for tone in (40, 128, 220):
        limit = screens.thresholds((512, 512), period=17.3, angle=22, kind="dots", phase=(0, 0))
        assert (limit > tone).mean() == pytest.approx(1 - tone / 255, abs=0.02)


def test_bilevel_is_black_and_white_only():
    for strength in range(1, 6):
        assert set(np.unique(np.array(printed("bilevel", strength).image))) <= {0, 255}


def test_nothing_is_shared_with_what_makes_training_pairs():
    """Neither side imports the other, directly or by way of its own modules."""
    training = {"halftone.vision.simulation", "halftone.vision.reprinting"}
    judging = {f"halftone.evaluation.press.{name}" for name in ("transforms", "steps", "screens")}
    for modules, others in ((judging, training), (training, judging)):
        for module in modules:
            specification = importlib.util.find_spec(module)
            tree = ast.parse(Path(specification.origin).read_text())
            for node in ast.walk(tree):
                names = []
                if isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom):
                    names = [node.module, *(f"{node.module}.{one.name}" for one in node.names)]
                assert not others & set(names)
                if module in judging:
                    assert not any(name.startswith("halftone.vision") for name in names)


def test_text_fills_its_box_and_nothing_else():
    sheet = np.full((100, 300), 240, dtype=np.uint8)
    screens.write_lines(sheet, box=(20, 20, 280, 80), height=18, generator=np.random.default_rng(2))
    assert (sheet[20:80, 20:280] < 120).mean() > 0.05
    sheet[20:80, 20:280] = 240
    assert (sheet == 240).all()
