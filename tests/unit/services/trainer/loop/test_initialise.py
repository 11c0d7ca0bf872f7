"""What a run starts from."""

import dataclasses

import pytest
import torch
from torch.nn.functional import cosine_similarity

from halftone.core import errors
from halftone.registry.versions import Registry
from halftone.services.trainer.loop.config import TrainingConfig
from halftone.services.trainer.loop.initialise import begin
from halftone.vision.model import Model
from halftone.vision.network import DescriptorNetwork
from halftone.vision.network_spec import NetworkSpec
from halftone.vision.preprocessing import Preprocessing
from halftone.vision.spec import ModelSpec

SPEC = NetworkSpec(backbone="resnet18", stages=1, pooled_stages=(1,), dimension=8)


@pytest.fixture
def publish(tmp_path):
    """Publishes a network with random layers; returns the settings of a run that starts there."""

    def make(spec: NetworkSpec) -> TrainingConfig:
        torch.manual_seed(0)
        network = DescriptorNetwork(spec)
        network.whitening_mean.normal_()
        network.whitening_matrix.normal_()
        staging = tmp_path / "staging"
        staging.mkdir()
        model = Model(
            ModelSpec(network=spec, preprocessing=Preprocessing(size=40)), network=network
        )
        model.save(staging)
        Registry(tmp_path / "models").publish(staging, name="parent")
        return TrainingConfig(models=tmp_path / "models", init="parent/1", size=64, grid=7)

    return make


def pictures() -> torch.Tensor:
    return torch.randint(0, 256, (3, 1, 40, 40), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("width", [None, 12])
def test_training_starts_at_the_parents_descriptors(publish, width):
    """With a projection all layers stay; without, its whitening becomes the projection."""
    start = begin(publish(dataclasses.replace(SPEC, width=width)))

    ours = start.embed(start.network.eval(), pictures().to(torch.uint8))

    theirs = start.parent.network(pictures().to(torch.uint8))
    assert cosine_similarity(ours, theirs).min() > 0.999
    assert start.fitted == (width is not None)
    assert start.network.spec.width is not None
    assert start.parents == ("parent/1",)


def test_the_parent_brings_its_kind_and_its_preprocessing(publish):
    start = begin(publish(dataclasses.replace(SPEC, width=12)))

    assert start.preprocessing.size == 40
    assert start.network.spec.grid == SPEC.grid


def test_training_leaves_the_parent_as_it_is(publish):
    start = begin(publish(dataclasses.replace(SPEC, width=12)))

    with torch.no_grad():
        start.network.projection.weight.zero_()

    assert start.parent.network.projection.weight.abs().sum() > 0


def test_a_background_without_a_projection_cannot_be_trained(publish):
    with pytest.raises(errors.FailedPrecondition, match="without a projection"):
        begin(publish(dataclasses.replace(SPEC, background=3)))


def test_a_damaged_parent_is_refused(publish, tmp_path):
    config = publish(dataclasses.replace(SPEC, width=12))
    (tmp_path / "models" / "parent" / "1" / "golden.json").write_text("{}")

    with pytest.raises(errors.DataLoss, match=r"golden\.json"):
        begin(config)


def test_other_weights_than_imagenets_are_refused(tmp_path):
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "other.pth")

    with pytest.raises(errors.InvalidArgument, match="no resnet18"):
        begin(TrainingConfig(init="imagenet", weights=tmp_path / "other.pth"))
