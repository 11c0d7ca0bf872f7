"""The descriptor network."""

import numpy as np
import pytest
import torch
import torchvision
from scipy.fft import dctn

from halftone.vision.network import DescriptorNetwork
from halftone.vision.network_spec import NetworkSpec


def small(**changes) -> NetworkSpec:
    values = {
        "backbone": "resnet18",
        "stages": 2,
        "pooled_stages": (1, 2),
        "grid": 2,
        "thumbnail": 4,
        "width": 24,
        "dimension": 16,
        "contrast": "local",
    }
    return NetworkSpec(**(values | changes))


def make(**changes) -> DescriptorNetwork:
    torch.manual_seed(0)
    return DescriptorNetwork(small(**changes)).eval()


def pictures(count: int = 3, *, size: int = 40) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(count, 1, 5, 5, generator=generator) * 255
    return torch.nn.functional.interpolate(coarse, size=size).to(torch.uint8)


@pytest.mark.parametrize("frequencies", [0, 3])
@pytest.mark.parametrize("background", [0, 5])
def test_descriptors_have_unit_length_and_the_promised_dimension(background, frequencies):
    network = make(background=background, frequencies=frequencies)
    network.background.copy_(torch.nn.functional.normalize(torch.randn(background, 16), dim=1))

    with torch.inference_mode():
        descriptors = network(pictures())

    assert descriptors.shape == (3, 16)
    assert descriptors.dtype == torch.float32
    torch.testing.assert_close(descriptors.norm(dim=1), torch.ones(3))


def test_fresh_weights_are_drawn_as_torchvision_draws_them():
    theirs = torchvision.models.resnet18(weights=None)
    network = DescriptorNetwork(small(stages=4, pooled_stages=(4,)))

    ours = network.stages.state_dict()
    for number in range(4):
        for name, expected in getattr(theirs, f"layer{number + 1}").state_dict().items():
            drawn = ours[f"{number}.{name}"]
            assert drawn.shape == expected.shape
            both = [each.double() for each in (drawn, expected)]
            mean, their_mean = (float(each.mean()) for each in both)
            spread, their_spread = (float(each.std(correction=0)) for each in both)
            assert mean == pytest.approx(their_mean, abs=0.01), name
            assert spread == pytest.approx(their_spread, rel=0.1, abs=1e-6), name
    assert network.projection.weight.abs().max() <= network.feature_width**-0.5


def test_grey_in_one_or_three_channels_and_as_bytes_or_floats_is_the_same():
    network, grey = make(), pictures()

    with torch.inference_mode():
        expected = network(grey)
        for same in (grey.expand(-1, 3, -1, -1), grey.float()):
            torch.testing.assert_close(network(same), expected, atol=1e-5, rtol=0)


def test_a_picture_does_not_depend_on_its_batch():
    network, batch = make(background=3), pictures(4)
    with torch.inference_mode():
        together = network(batch)
        alone = torch.cat([network(one[None]) for one in batch])

    torch.testing.assert_close(alone, together, atol=1e-5, rtol=0)


def test_local_contrast_cancels_exposure():
    network, dark = make(), pictures() // 2

    with torch.inference_mode():
        a, b = network(dark), network(dark + 90)

    assert float((a * b).sum(dim=1).min()) > 0.999


def test_half_precision_leaves_descriptors_as_they_are():
    network = make(background=3)
    network.background.copy_(torch.nn.functional.normalize(torch.randn(3, 16), dim=1))
    batch = pictures(4)

    with torch.inference_mode():
        full = network(batch)
        with torch.autocast("cpu", torch.bfloat16):
            half = network(batch)

    assert half.dtype == torch.float32
    assert float((full * half).sum(dim=1).min()) > 0.99


def test_a_grid_tells_layouts_apart_which_one_cell_cannot():
    left = torch.zeros(1, 1, 64, 64)
    left[..., 16:48, 8:24] = 255.0
    right = left.flip(3)

    with torch.inference_mode():
        cosines = {}
        for grid in (1, 4):
            network = make(grid=grid, thumbnail=0, width=None, dimension=16)
            a, b = network.features(left), network.features(right)
            cosines[grid] = float((a * b).sum() / 2)  # two stages, each of unit length

    assert cosines[4] < cosines[1] - 0.02


def test_low_frequencies_are_those_of_a_cosine_transform():
    network, grey = make(frequencies=4), pictures(2, size=32)

    low = network.low_frequencies(grey)

    both_ways = dctn(grey[:, 0].double().numpy(), axes=(1, 2))[:, 1:5, 1:5].reshape(2, -1)
    np.testing.assert_array_equal(np.sign(both_ways), np.sign(low.numpy()))
    torch.testing.assert_close(low.norm(dim=1), torch.ones(2))


def test_low_frequencies_survive_a_tone_curve_and_move_little_with_a_picture():
    network, grey = make(frequencies=8), pictures(4, size=64)
    curved = 255 * (grey / 255.0) ** 0.5

    low, after = network.low_frequencies(grey), network.low_frequencies(curved)
    moved = network.low_frequencies(grey.float() + torch.rand_like(grey.float()))

    assert float((low * after).sum(dim=1).min()) > 0.8
    assert float((low * moved).sum(dim=1).min()) > 0.99
    assert float((low @ low.T).fill_diagonal_(0).abs().max()) < 0.7


def test_the_background_takes_away_what_pictures_share():
    network = make(background=1, dimension=16)
    shared = torch.nn.functional.normalize(torch.ones(1, 16), dim=1)
    network.background.copy_(shared)
    own = torch.nn.functional.normalize(torch.randn(2, 16), dim=1)
    own -= own @ shared.T @ shared
    both = torch.nn.functional.normalize(shared + own, dim=1)

    freed = network.suppress_background(both)

    assert float((freed[0] * freed[1]).sum()) < float((both[0] * both[1]).sum()) - 0.2


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50", "efficientnet_lite2"])
@pytest.mark.parametrize("stages", [1, 4])
def test_any_number_of_stages(backbone, stages):
    spec = NetworkSpec(backbone=backbone, stages=stages, pooled_stages=(stages,), dimension=8)
    with torch.inference_mode():
        assert DescriptorNetwork(spec).eval()(pictures(1, size=64)).shape == (1, 8)


def test_each_stage_may_have_cells_of_its_own():
    network = make(grids=(3, 1), thumbnail=0)

    with torch.inference_mode():
        first, second = network.backbone(network.normalise(pictures()))
        found = network.features(pictures())

    cells = torch.nn.functional.adaptive_avg_pool2d(first.clamp(min=1e-6).pow(3), 3)
    whole = second.clamp(min=1e-6).pow(3).mean(dim=(2, 3))
    parts = (part.pow(1 / 3).flatten(1) for part in (cells, whole))
    expected = torch.cat([torch.nn.functional.normalize(part, dim=1) for part in parts], dim=1)
    assert found.shape == (3, network.feature_width)
    torch.testing.assert_close(found, expected)


def test_what_may_be_negative_is_averaged():
    """The mean of powers of an EfficientNet-Lite's third stage would lose half of it."""
    torch.manual_seed(0)
    spec = NetworkSpec(
        backbone="efficientnet_lite0", pooled_stages=(3, 4), dimension=8, contrast="grey"
    )
    network = DescriptorNetwork(spec).eval()

    with torch.inference_mode():
        third, _ = network.backbone(network.normalise(pictures(size=64)))
        found = network.features(pictures(size=64))

    expected = torch.nn.functional.normalize(third.mean(dim=(2, 3)), dim=1)
    assert expected.min() < 0
    torch.testing.assert_close(found[:, : third.shape[1]], expected)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"backbone": "vgg"}, "backbone"),
        ({"stages": 5}, "stages"),
        ({"pooled_stages": (3,)}, "pooled_stages"),
        ({"pooled_stages": ()}, "pooled_stages"),
        ({"grid": 0}, "grid"),
        ({"grids": (1,)}, "grids"),
        ({"grids": (1, 0)}, "grids"),
    ],
)
def test_refuses_a_network_that_cannot_be_built(changes, named):
    with pytest.raises(ValueError, match=named):
        small(**changes)


def test_the_spec_survives_json():
    spec = small(background=7, frequencies=5, grids=(3, 1))

    assert NetworkSpec.from_dict(spec.to_dict()) == spec
    with pytest.raises(ValueError, match="colour"):
        NetworkSpec.from_dict({**spec.to_dict(), "colour": True})


def test_refuses_two_channels():
    with pytest.raises(ValueError, match=r"1 or 3"):
        make()(torch.zeros(1, 2, 32, 32))
