"""The press simulation: batched for training, full size for samples."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from halftone.vision.simulation import PressSimulation, PrintParameters, reprint

NOTHING = PrintParameters(**{entry.name: 0.0 for entry in dataclasses.fields(PrintParameters)})


def pictures(count: int = 6) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 1, 6, 6, generator=generator) * 255
    return (
        torch.nn.functional.interpolate(coarse, size=96, mode="bicubic")
        .clamp(0, 255)[:, 0]
        .to(torch.uint8)
    )


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(np.corrcoef(a.float().flatten(), b.float().flatten())[0, 1])


def test_prints_every_picture_at_the_networks_size():
    printed = PressSimulation(size=64)(pictures(), generator=seeded(1))

    assert printed.shape == (6, 64, 64)
    assert printed.dtype == torch.uint8


def test_the_generator_alone_decides():
    press = PressSimulation(size=64)

    first, again = (press(pictures(), generator=seeded(4)) for _ in range(2))
    other = press(pictures(), generator=seeded(5))

    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_saved_generator_continues_the_sequence():
    press, generator = PressSimulation(size=64), seeded(2)
    press(pictures(), generator=generator)
    state = generator.get_state()
    expected = press(pictures(), generator=generator)

    resumed = torch.Generator()
    resumed.set_state(state)

    assert torch.equal(press(pictures(), generator=resumed), expected)


def test_printings_stay_recognisable():
    """Otherwise training would learn from noise: most printings correlate with their picture."""
    originals = pictures(48)
    printed = PressSimulation(size=96)(originals, generator=seeded(3))

    own = [correlation(a, b) for a, b in zip(originals, printed, strict=True)]
    other = [correlation(a, b) for a, b in zip(originals, printed.roll(1, 0), strict=True)]

    assert np.median(own) > 0.5
    assert abs(np.median(other)) < 0.2


def test_each_step_changes_pictures():
    """A probability that does nothing would be a step that never runs."""
    calm = PressSimulation(size=96, parameters=NOTHING)(pictures(), generator=seeded(7))
    for name in ("turn", "composite", "frame", "caption", "vignette", "mask", "screen", "grain"):
        parameters = dataclasses.replace(NOTHING, **{name: 1.0})
        changed = PressSimulation(size=96, parameters=parameters)(pictures(), generator=seeded(7))
        difference = (changed.float() - calm.float()).abs().mean()
        assert difference > 1, name


def test_without_any_step_only_tone_remains():
    calm = PressSimulation(size=96, parameters=NOTHING)(pictures(), generator=seeded(7))

    for original, printed in zip(pictures(), calm, strict=True):
        assert correlation(original, printed) > 0.85


def test_a_quarter_turn_is_a_quarter_turn():
    parameters = dataclasses.replace(NOTHING, turn=1.0)
    printed = PressSimulation(size=96, parameters=parameters)(pictures(), generator=seeded(7))

    for original, turned in zip(pictures(), printed, strict=True):
        either = [correlation(torch.rot90(original, k), turned) for k in (1, 3)]
        assert max(either) > 0.8


def test_refuses_other_shapes():
    with pytest.raises(ValueError, match=r"\[N, H, W\]"):
        PressSimulation(size=64)(pictures()[:, None], generator=seeded(0))


def photograph() -> Image.Image:
    generator = np.random.default_rng(0)
    coarse = Image.fromarray(generator.integers(0, 255, (9, 12, 3), dtype=np.uint8))
    return coarse.resize((480, 360), Image.Resampling.BICUBIC)


def test_reprint_gives_a_grey_scan_of_about_the_asked_size():
    printed = reprint(photograph(), seed=1, side=400)

    assert printed.mode == "L"
    assert 400 <= max(printed.size) < 480


def test_reprint_depends_on_its_seed_alone():
    a, b, c = (reprint(photograph(), seed=seed, side=200) for seed in (1, 1, 2))

    assert a.tobytes() == b.tobytes()
    assert a.tobytes() != c.tobytes()


def test_reprint_has_a_screen_that_averages_to_the_picture():
    printed = reprint(photograph(), seed=3, side=400, screen_lpi=50, max_crop=0.0, caption=None)
    pixels = np.asarray(printed, dtype=np.float64)
    fine = np.abs(np.diff(pixels, axis=1)).mean()
    small = np.asarray(printed.resize((24, 18), Image.Resampling.BOX), dtype=np.float64)
    source = photograph().convert("L").resize((24, 18), Image.Resampling.BOX)

    assert fine > 10, "no dots"
    assert np.corrcoef(small.ravel(), np.asarray(source).ravel())[0, 1] > 0.7


def test_a_mirrored_reprint_resembles_the_mirrored_picture():
    small = (24, 18)
    printed = reprint(photograph(), seed=3, side=400, max_crop=0.0, caption=None, mirror=True)
    got = np.asarray(printed.resize(small, Image.Resampling.BOX), dtype=float).ravel()
    source = photograph().convert("L")
    plain = np.asarray(source.resize(small, Image.Resampling.BOX), dtype=float)

    mirrored = np.corrcoef(got, plain[:, ::-1].ravel())[0, 1]
    assert mirrored > np.corrcoef(got, plain.ravel())[0, 1] + 0.3


def test_a_caption_makes_the_sheet_higher():
    bare = reprint(photograph(), seed=3, side=400, caption=None)
    captioned = reprint(photograph(), seed=3, side=400, caption="The harbour")

    assert captioned.height > bare.height


@pytest.mark.parametrize("effect", ["mirror", "dot_gain", "bilevel", "show_through"])
def test_effects_that_are_off_leave_the_others_sequence_alone(effect):
    """And on, they change what comes out."""
    plain = PressSimulation(size=64, parameters=PrintParameters())
    changed = PressSimulation(size=64, parameters=PrintParameters(**{effect: 1.0}))

    generator = seeded(1)
    plain(pictures(), generator=generator)
    again = seeded(1)
    changed(pictures(), generator=again)

    assert not torch.equal(generator.get_state(), again.get_state())
    assert not torch.equal(
        plain(pictures(), generator=seeded(1)), changed(pictures(), generator=seeded(1))
    )


def test_a_mirrored_plate_resembles_the_mirrored_picture():
    press = PressSimulation(size=96, parameters=dataclasses.replace(NOTHING, mirror=1.0))

    printed = press(pictures(), generator=seeded(2))

    assert correlation(printed, pictures().flip(2)) > 0.7
    assert correlation(printed, pictures()) < 0.5


def test_ink_that_spreads_darkens():
    plain = PressSimulation(size=64, parameters=NOTHING)
    spread = PressSimulation(size=64, parameters=dataclasses.replace(NOTHING, dot_gain=1.0))

    difference = spread(pictures(), generator=seeded(3)).float() - plain(
        pictures(), generator=seeded(3)
    )

    assert difference.max() <= 1
    assert difference.mean() < -5


def test_a_bilevel_scan_has_two_levels():
    press = PressSimulation(size=64, parameters=dataclasses.replace(NOTHING, bilevel=1.0))

    assert set(press(pictures(), generator=seeded(4)).unique().tolist()) == {0, 255}


def test_the_other_side_shines_through_mirrored():
    """A white sheet shows the picture behind it; without it it stays white."""
    sheets = torch.full((2, 96, 96), 255, dtype=torch.uint8)
    sheets[1, :, :48] = 0
    press = PressSimulation(size=96, parameters=dataclasses.replace(NOTHING, show_through=1.0))

    white = press(sheets, generator=seeded(5))[0].float()

    assert white[:, :40].mean() > white[:, 56:].mean() + 3


def test_a_part_is_cut_out_of_the_picture():
    """Edges of stripes can be counted whatever the tone curve; a part shows fewer of them."""
    stripes = (torch.arange(192) // 8 % 2 * 255).to(torch.uint8).expand(64, 192, 192)
    press = PressSimulation(
        size=192, parameters=dataclasses.replace(NOTHING, part=1.0, part_side=0.3)
    )

    counts = []
    for picture in (stripes, stripes.transpose(1, 2)):
        printed = press(picture.contiguous(), generator=seeded(6)).float()
        profile = printed.mean(dim=1 if picture is stripes else 2)
        light = profile > (profile.amin(dim=1) + profile.amax(dim=1))[:, None] / 2
        counts.append((light[:, 1:] != light[:, :-1]).sum(dim=1))
    wide, high = counts

    # A whole side has 23 edges. Some are cut in width, some in height, some in both.
    assert (torch.stack([wide, high]).amin(dim=0) <= 18).all()
    assert (wide.amin() >= 6) & (high.amin() >= 6)
    assert ((wide <= 18) & (high == 23)).any()
    assert ((wide == 23) & (high <= 18)).any()
    assert ((wide <= 18) & (high <= 18)).any()


def test_it_says_which_pictures_share_a_plate():
    press = PressSimulation(size=48, parameters=dataclasses.replace(NOTHING, composite=0.5))

    printed, neighbours = press.print_plates(pictures(32), generator=seeded(3))
    alone = PressSimulation(size=48, parameters=NOTHING)(pictures(32), generator=seeded(3))

    shared = neighbours >= 0
    assert 4 < int(shared.sum()) < 28
    assert torch.equal(neighbours[shared], (shared.nonzero().flatten() + 1) % 32)
    assert printed.shape == alone.shape


def test_nothing_is_drawn_for_parts_unless_they_are_wanted():
    """So a run of before continues with the same printings."""
    without = PressSimulation(size=48, parameters=PrintParameters())
    again = PressSimulation(size=48, parameters=PrintParameters(part=0.0, part_side=0.7))

    first, second = (press(pictures(), generator=seeded(8)) for press in (without, again))

    assert torch.equal(first, second)
