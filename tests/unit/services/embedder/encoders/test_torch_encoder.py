"""The torch encoder with the starter version: the model's own descriptors, in any batch."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from halftone.core import errors
from halftone.registry.versions import Registry
from halftone.services.embedder.encoders.decoding import Decoder
from halftone.services.embedder.encoders.encoder import InputImage
from halftone.services.embedder.encoders.torch_encoder import TorchBackend, batch_sizes
from halftone.services.embedder.loading import check_golden
from halftone.vision.model import Model

MODELS = Path(__file__).parents[5] / "models"


@pytest.fixture(scope="module")
def encoder():
    backend = TorchBackend(
        device="cpu",
        threads=1,
        max_batch=8,
        decoder=Decoder(max_pixels=1_000_000, max_bytes=1_000_000),
    )
    encoder = backend.load(Registry(MODELS).resolve("starter/1"))
    for step in encoder.warm_ups():
        step()
    return encoder


def pictures(count: int) -> list[Image.Image]:
    rng = np.random.default_rng(1)
    blocks = rng.integers(0, 256, (count, 8, 9), dtype=np.uint8)
    return [Image.fromarray(each).resize((700, 500), Image.Resampling.BICUBIC) for each in blocks]


def jpeg(picture: Image.Image) -> InputImage:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=92)
    return InputImage(content=buffer.getvalue())


def test_it_gives_the_models_own_descriptors(encoder):
    model = Model.load(MODELS / "starter" / "1")
    prepared = [encoder.prepare(jpeg(picture)) for picture in pictures(5)]
    vectors = encoder.encode(encoder.stage([each.pixels[0] for each in prepared]))
    assert vectors.shape == (5, encoder.dimension)
    decoded = [Image.open(io.BytesIO(jpeg(picture).content)) for picture in pictures(5)]
    # Decoding at reduced scale is not allowed to show.
    cosines = (vectors * model.embed_images(decoded)).sum(axis=1)
    assert cosines.min() > 0.995
    assert (prepared[0].width, prepared[0].height) == (700, 500)


def test_it_passes_the_golden_vectors_of_its_version(encoder):
    assert check_golden(encoder, MODELS / "starter" / "1") > 0.999


def test_a_device_that_is_not_there_is_named():
    if torch.cuda.is_available():
        pytest.skip("there is one")
    backend = TorchBackend(
        device="cuda:77", threads=1, max_batch=8, decoder=Decoder(max_pixels=1, max_bytes=1)
    )
    with pytest.raises(errors.FailedPrecondition, match="cuda:77"):
        backend.prepare_device()


def test_batch_sizes():
    assert batch_sizes(1) == (1,)
    assert batch_sizes(8) == (1, 2, 4, 8)
    assert batch_sizes(48) == (1, 2, 4, 8, 16, 32, 48)
