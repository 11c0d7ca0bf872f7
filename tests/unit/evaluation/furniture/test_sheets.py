"""What the furniture benchmark draws: furniture is the same, pictures differ, shares are kept."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from halftone.evaluation.furniture import boards
from halftone.evaluation.furniture.conditions import print_sheet
from halftone.evaluation.furniture.kinds import CASES, KINDS, STRENGTHS
from halftone.evaluation.furniture.sheets import MOST_PICTURES, Pair, View, lay_out, make_pair

if TYPE_CHECKING:
    from halftone.evaluation.furniture.canvas import Sheet

# What `plates` and `boards` differ in is not a share of the sheet.
_BY_SHARE = ("frame", "masthead", "credit-line", "copy-stand", "form", "browser", "emblem")


def flat(level: int, *, size: tuple[int, int] = (200, 160)) -> Image.Image:
    return Image.new("L", size, level)


def pictures(kind: str) -> list[Image.Image]:
    """One tone each, so that a sheet tells which pictures it shows."""
    count = 2 * MOST_PICTURES if "shared" in KINDS[kind].cases else 2
    sizes = [(200, 160), (160, 200), (180, 180)]
    return [flat(60 + 11 * number, size=sizes[number % 3]) for number in range(count)]


@functools.cache
def pair(kind: str, case: str, strength: int = 3, *, number: int = 0, seed: int = 5) -> Pair:
    return make_pair(
        kind,
        case=case,
        strength=strength,
        number=number,
        seed=seed,
        pictures=pictures(kind),
    )


def drawn(kind: str, strength: int, *, number: int) -> Sheet:
    return KINDS[kind].draw(
        aspect=1.2, strength=strength, design=number, generator=np.random.default_rng(number)
    )


def changing(kind: str, found: Pair) -> np.ndarray:
    """Where the windows and fields of the first sheet are."""
    sheet = found.furniture[0]
    mask = np.zeros(sheet.pixels.shape, dtype=bool)
    for place in (*sheet.windows, *sheet.fields):
        left, top, right, bottom = (round(side) for side in place.box)
        # Letters and lines reach a little beyond the place where they stand.
        edge = round((bottom - top) / 2) + 4 if place in sheet.fields else 0
        edge = 8 if KINDS[kind].mark else edge
        mask[max(0, top - edge) : bottom + edge, max(0, left - edge) : right + edge] = True
    return mask


def levels(found: Pair, side: int) -> list[int]:
    """The tones in the middle of the windows of a sheet."""
    pixels = (found.first, found.second)[side]
    middles = [window.box.middle for window in found.furniture[side].windows]
    return [int(pixels[round(y), round(x)]) for x, y in middles]


@pytest.mark.soak
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("strength", [1, 5])
def test_different_pictures_are_in_furniture_that_is_the_same_to_the_pixel(kind, strength):
    for number in (0, 1) if strength == 1 else (2,):
        found = pair(kind, "different", strength, number=number)
        assert found.first.shape == found.second.shape
        assert found.first.dtype == np.uint8
        outside = ~changing(kind, found)
        assert outside.mean() > 0.02
        differs = found.first != found.second
        assert not differs[outside].any(), "what is furniture is the same"
        assert differs[~outside].mean() > 0.02
        if not KINDS[kind].mark:
            assert not set(levels(found, 0)) & set(levels(found, 1)), "no picture is on both"


@pytest.mark.soak
@pytest.mark.parametrize("kind", KINDS)
def test_equal_seeds_draw_equal_sheets_and_others_others(kind):
    first, again = pair(kind, "different", 1), pair.__wrapped__(kind, "different", 1)
    assert first.first.tobytes() == again.first.tobytes()
    assert first.second.tobytes() == again.second.tobytes()
    one, other = (drawn(kind, 1, number=number).pixels for number in (0, 1))
    assert one.tobytes() != other.tobytes()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "again" in KINDS[kind].cases])
def test_a_sheet_that_is_printed_again_is_the_same_sheet(kind):
    found = pair(kind, "again")
    np.testing.assert_array_equal(found.first, found.second)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "bare" in KINDS[kind].cases])
def test_one_picture_in_every_case_of_the_same(kind):
    level = 60
    for case in ("moved", "zoomed", "other-furniture"):
        found = pair(kind, case)
        assert levels(found, 0) == levels(found, 1) == [level], case
        same = found.furniture[0] is found.furniture[1]
        assert same == (case != "other-furniture")
    other = pair(kind, "other-furniture")
    assert other.first.shape != other.second.shape or (other.first != other.second).mean() > 0.01, (
        "another design"
    )
    bare = pair(kind, "bare")
    assert bare.furniture[1] is None
    assert set(np.unique(bare.second)) == {level}


@pytest.mark.parametrize("kind", ["plate", "emblem"])
@pytest.mark.parametrize("number", [0, 1])
def test_plates_share_one_picture_or_none_or_all(kind, number):
    for strength in (1, 3, 5):
        shared = pair(kind, "shared", strength, number=number)
        assert len(set(levels(shared, 0)) & set(levels(shared, 1))) == 1
        none = pair(kind, "different", strength, number=number)
        assert not set(levels(none, 0)) & set(levels(none, 1))
        assert len(set(levels(none, 0))) == len(none.furniture[0].windows), "each one once"
    plate = pair("plate", "other-furniture", 4, number=number)
    assert set(levels(plate, 0)) == set(levels(plate, 1))


@pytest.mark.soak
@pytest.mark.parametrize("kind", _BY_SHARE)
def test_furniture_takes_more_of_the_sheet_as_the_strength_grows(kind):
    for number in (1, 2):
        shares = []
        for strength in STRENGTHS:
            sheet = drawn(kind, strength, number=number)
            area = sum(window.box.area for window in sheet.windows)
            shares.append(area / sheet.pixels.size)
        assert shares == sorted(shares, reverse=True)
        assert shares[0] > 1.3 * shares[-1]
        assert shares[-1] > 0.1, "what is shown can still be seen"


def test_windows_lie_on_the_sheet_and_apart():
    for kind in KINDS:
        for strength in (1, 4):
            sheet = drawn(kind, strength, number=strength)
            taken = np.zeros(sheet.pixels.shape, dtype=int)
            for window in sheet.windows:
                left, top, right, bottom = (round(side) for side in window.box)
                assert left >= 0, kind
                assert top >= 0, kind
                assert right <= sheet.pixels.shape[1], kind
                assert bottom <= sheet.pixels.shape[0], kind
                assert min(right - left, bottom - top) > 40, kind
                taken[top:bottom, left:right] += 1
            assert taken.max() == 1, kind


def test_a_picture_moves_and_grows_inside_its_window():
    """The darkest column of a ramp tells where the picture lies, and how large it is."""
    ramp = np.tile(np.linspace(40, 220, 300), (240, 1)).astype(np.uint8)
    sheet = pair("frame", "different").furniture[0]

    def middle_row(view: View) -> np.ndarray:
        box = sheet.windows[0].box
        pixels = lay_out(sheet, pictures=[Image.fromarray(ramp)], view=view)
        row = round(box.middle[1])
        return pixels[row, round(box.left) + 2 : round(box.right) - 2].astype(float)

    whole, moved, zoomed = (middle_row(view) for view in (View(0.7), View(0.7, 0.1), View(0.5)))
    assert (moved - whole).mean() == pytest.approx(0.1 * np.ptp(whole), rel=0.15)
    assert np.ptp(zoomed) == pytest.approx(np.ptp(whole) * 0.5 / 0.7, rel=0.05)


def test_ever_fewer_men_stand_elsewhere_and_kings_stay_on_the_board():
    moved = []
    sheet = boards.draw(aspect=1, strength=1, design=0, generator=np.random.default_rng(1))
    for strength in STRENGTHS:
        first, second = (
            boards.place_men(sheet, design=0, strength=strength, variant=variant, seed=3).finish()
            for variant in (0, 1)
        )
        moved.append(float((first != second).mean()))
    assert moved[0] > moved[2] > moved[4] > 0.005


@pytest.mark.parametrize("screened", [True, False])
def test_printings_are_moderate_and_differ(screened):
    """Laid upon each other coarsely, two printings still look like their sheet."""
    found = pair("masthead", "again")
    scans = [print_sheet(found.first, seed=seed, screened=screened) for seed in (1, 1, 2)]
    assert scans[0].tobytes() == scans[1].tobytes()
    assert scans[0].tobytes() != scans[2].tobytes()
    small = [
        np.asarray(image.resize((40, 56), Image.Resampling.BOX), dtype=float).ravel()
        for image in (Image.fromarray(found.first), scans[0], scans[2])
    ]
    assert np.corrcoef(small[0], small[1])[0, 1] > 0.8
    assert np.corrcoef(small[0], small[2])[0, 1] > 0.8
    assert {image.mode for image in scans} == {"L"}


def test_every_kind_has_different_pictures_and_names_its_strengths():
    for kind in KINDS.values():
        assert kind.cases[0] == "different"
        assert set(kind.cases) <= set(CASES)
        assert len(kind.strengths) == len(STRENGTHS)
    assert [case.name for case in CASES.values() if not case.same] == ["different"]
