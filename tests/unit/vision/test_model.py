"""A model on disk and back, and imported weights."""

import json

import numpy as np
import pytest
import safetensors.torch
import torch
import torchvision
from PIL import Image

from halftone.core import errors
from halftone.vision.model import (
    Model,
    ModelSpec,
    fit_whitening,
    golden_inputs,
    import_imagenet_weights,
    set_whitening,
)
from halftone.vision.network import DescriptorNetwork
from halftone.vision.network_spec import NetworkSpec
from halftone.vision.preprocessing import Preprocessing


@pytest.fixture
def model() -> Model:
    torch.manual_seed(0)
    network = NetworkSpec(
        backbone="resnet18",
        stages=1,
        pooled_stages=(1,),
        grid=2,
        gem=1,
        thumbnail=4,
        width=12,
        dimension=8,
        contrast="local",
        background=3,
    )
    spec = ModelSpec(
        name="tiny",
        network=network,
        preprocessing=Preprocessing(size=32),
        whitening={"method": "PCA"},
        parents=("none",),
        training={"command": "python -m halftone.services.trainer.loop.train --steps 1"},
    )
    built = DescriptorNetwork(network)
    built.background.copy_(torch.nn.functional.normalize(torch.randn(3, 8), dim=1))
    return Model(spec, network=built)


def batch(count: int, *, size: int = 32) -> np.ndarray:
    generator = np.random.default_rng(1)
    blocks = generator.integers(0, 255, (count, 8, 8), dtype=np.uint8)
    return np.kron(blocks, np.ones((1, size // 8, size // 8), dtype=np.uint8))


def test_a_saved_model_gives_the_same_descriptors(model, tmp_path):
    model.save(tmp_path)
    loaded = Model.load(tmp_path)

    assert loaded.spec == model.spec
    cosine = (loaded.embed(batch(5)) * model.embed(batch(5))).sum(axis=1)
    assert cosine.min() > 0.9999  # float16 weights
    assert loaded.check_golden(tmp_path) > 0.99999


def test_descriptors_are_unit_rows_whatever_holds_the_batch(model):
    rows = model.embed(batch(3))

    assert rows.shape == (3, model.spec.dimension)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(rows, model.embed(torch.from_numpy(batch(3))))


def test_pictures_are_prepared_as_the_spec_says(model):
    image = Image.fromarray(np.kron(batch(1)[0], np.ones((3, 5), dtype=np.uint8)))

    prepared = model.spec.preprocessing(image)

    np.testing.assert_allclose(model.embed_images([image]), model.embed(prepared[None]), atol=1e-6)


def test_refuses_a_batch_of_another_shape(model):
    with pytest.raises(ValueError, match=r"\[N, S, S\]"):
        model.embed(batch(2)[:, None])


def test_golden_descriptors_catch_other_weights(model, tmp_path):
    model.save(tmp_path)
    with torch.no_grad():
        model.network.projection.weight.copy_(torch.randn_like(model.network.projection.weight))

    with pytest.raises(errors.DataLoss, match="cosine"):
        model.check_golden(tmp_path)


def test_golden_descriptors_catch_nan(model, tmp_path):
    model.save(tmp_path)
    with torch.no_grad():
        model.network.projection.weight.fill_(float("nan"))

    with pytest.raises(errors.DataLoss, match="nan"):
        model.check_golden(tmp_path)


def test_golden_inputs_are_the_same_in_every_run():
    assert golden_inputs() == golden_inputs()


@pytest.mark.parametrize("damage", ["missing", "truncated", "other"])
def test_damaged_weights_are_refused(model, tmp_path, damage):
    model.save(tmp_path)
    path = tmp_path / "model.safetensors"
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    else:
        path.write_bytes(safetensors.torch.save({"x": torch.zeros(2)}))

    with pytest.raises(errors.DataLoss, match=str(tmp_path)):
        Model.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"format": 99}, errors.FailedPrecondition),
        ({"network": {"backbone": "vgg"}}, errors.DataLoss),
        ({"preprocessing": {"sharpen": 1}}, errors.DataLoss),
        ({"preprocessing": None}, errors.DataLoss),
    ],
)
def test_a_spec_of_another_release_or_damaged_is_refused(model, tmp_path, change, error):
    model.save(tmp_path)
    path = tmp_path / "spec.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))

    with pytest.raises(error):
        Model.load(tmp_path)


def test_a_field_of_a_later_release_is_left_out(model, tmp_path):
    model.save(tmp_path)
    path = tmp_path / "spec.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"later": 1}))

    assert Model.load(tmp_path).spec == model.spec


def resnet18() -> torch.nn.Module:
    torch.manual_seed(2)
    return torchvision.models.resnet18(weights=None)


@pytest.mark.parametrize(
    "layout", ["torchvision.pth", "torchvision.safetensors", "ours.safetensors"]
)
def test_imports_weights_of_either_layout(tmp_path, layout):
    path, resnet = tmp_path / layout, resnet18()
    preprocessing = Preprocessing(size=64)
    if layout.endswith(".pth"):
        torch.save(resnet.state_dict(), path)
    elif layout.startswith("torchvision"):
        safetensors.torch.save_file(resnet.state_dict(), path)
    else:
        network = DescriptorNetwork(NetworkSpec(backbone="resnet18", dimension=8))
        network.stem[0].load_state_dict(resnet.conv1.state_dict())
        network.stem[1].load_state_dict(resnet.bn1.state_dict())
        for number, stage in enumerate(network.stages, start=1):
            stage.load_state_dict(getattr(resnet, f"layer{number}").state_dict())
        safetensors.torch.save_file(network.state_dict(), path)

    model = import_imagenet_weights(
        path,
        whitening_images=batch(24, size=64),
        backbone="resnet18",
        preprocessing=preprocessing,
        grid=1,
        dimension=8,
    )

    assert model.spec.parents == (layout,)
    assert model.spec.whitening["images"] == 24
    # GeM of torchvision's own last feature map, then the whitening, is what the model computes.
    resnet.eval()
    rows = torch.from_numpy(batch(4, size=64)).unsqueeze(1)
    with torch.inference_mode():
        x = resnet.maxpool(resnet.relu(resnet.bn1(resnet.conv1(model.network.normalise(rows)))))
        x = resnet.layer4(resnet.layer3(resnet.layer2(resnet.layer1(x))))
        pooled = x.clamp(min=1e-6).pow(3).mean(dim=(2, 3)).pow(1 / 3)
        pooled = torch.nn.functional.normalize(pooled, dim=1)
        expected = model.network.whiten(pooled).numpy()
    np.testing.assert_allclose(model.embed(batch(4, size=64)), expected, atol=1e-4)


def test_weights_of_another_network_are_refused(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({"fc.weight": torch.zeros(2)}, path)

    with pytest.raises(errors.InvalidArgument, match="no resnet18"):
        import_imagenet_weights(path, whitening_images=batch(4), backbone="resnet18", dimension=2)


@pytest.mark.parametrize(
    ("backbone", "other", "words"),
    [
        ("resnet50", "resnet152", "a ResNet-152: .* are too many"),
        ("resnet152", "resnet50", "a ResNet-50: .* are missing"),
        ("resnet50", "resnet34", "a ResNet-34: .* of another shape"),
        ("resnet50", "wide_resnet50_2", "something else: .* of another shape"),
    ],
)
def test_weights_of_a_relative_are_refused_and_named(tmp_path, backbone, other, words):
    path = tmp_path / "weights.pth"
    with torch.device("meta"):
        resnet = getattr(torchvision.models, other)()
    # A tensor for each weight, without the memory.
    weights = {name: torch.zeros(()).expand(t.shape) for name, t in resnet.state_dict().items()}
    torch.save(weights, path)

    with pytest.raises(errors.InvalidArgument, match=f"no {backbone} but .*{words}"):
        import_imagenet_weights(path, whitening_images=batch(4), backbone=backbone, dimension=2)


def test_an_unreadable_file_names_what_to_put_there(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"no weights")

    with pytest.raises(errors.FailedPrecondition, match=r"Give a \.pth file"):
        import_imagenet_weights(path, whitening_images=batch(4))


def test_an_unknown_backbone_is_refused(tmp_path):
    with pytest.raises(errors.InvalidArgument, match="backbone"):
        import_imagenet_weights(None, whitening_images=batch(4), backbone="vgg16")


def test_set_whitening_puts_the_fit_into_the_network(model):
    generator = np.random.default_rng(0)
    features = generator.normal(size=(60, 12)).astype(np.float32)
    whitening = fit_whitening(features, dimension=8)

    set_whitening(model.network, whitening)

    with torch.inference_mode():
        whitened = model.network.whiten(torch.from_numpy(features)).numpy()
    np.testing.assert_allclose(whitened, whitening(features), atol=1e-4)
