"""One suite over all encoders of the same small model version: torch, the portable ones, int8."""

from __future__ import annotations

import importlib.util
import io
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image

from halftone.core import errors
from halftone.registry.versions import Registry
from halftone.services.embedder.encoders.choice import PreferringInt8
from halftone.services.embedder.encoders.decoding import Decoder
from halftone.services.embedder.encoders.encoder import InputImage
from halftone.services.embedder.encoders.portable_encoder import PortableBackend
from halftone.services.embedder.encoders.torch_encoder import TorchBackend
from halftone.services.embedder.loading import check_golden
from halftone.vision import quantizing
from halftone.vision.model import Model, set_whitening
from halftone.vision.network import DescriptorNetwork
from halftone.vision.network_spec import NetworkSpec
from halftone.vision.portable import list_runtimes
from halftone.vision.preprocessing import Preprocessing
from halftone.vision.spec import ModelSpec
from halftone.vision.whitening import fit_whitening

if TYPE_CHECKING:
    from pathlib import Path

    from halftone.registry.version import ModelVersion
    from halftone.services.embedder.encoders.encoder import Backend, Encoder

SIZE = 64
RUNTIMES = list_runtimes()
DECODER = Decoder(max_pixels=1_000_000, max_bytes=1_000_000)


def inputs(count: int, *, seed: int) -> np.ndarray:
    """Coarse random pictures as the network takes them: uint8 [N, S, S]."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 7, 7), dtype=np.uint8)
    scaled = [
        Image.fromarray(each).resize((SIZE, SIZE), Image.Resampling.BICUBIC) for each in coarse
    ]
    return np.stack([np.asarray(each) for each in scaled])


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> ModelVersion:
    """A version with an int8 form. Its weights are random, its descriptors tell pictures apart."""
    # Importing it here would let it look for what it reports its use with.
    if importlib.util.find_spec("nncf") is None:
        pytest.skip("the extra `int8` is not installed")
    torch.manual_seed(0)
    spec = ModelSpec(
        network=NetworkSpec(
            backbone="resnet18",
            stages=2,
            pooled_stages=(1, 2),
            grid=2,
            contrast="local",
            dimension=32,
        ),
        preprocessing=Preprocessing(size=SIZE),
    )
    network = DescriptorNetwork(spec.network).eval()
    with torch.inference_mode():
        signatures = network.signature(torch.from_numpy(inputs(200, seed=1)).unsqueeze(1)).numpy()
    set_whitening(network, fit_whitening(signatures, dimension=32))
    directory = tmp_path_factory.mktemp("encoders")
    staging = directory / "staging"
    staging.mkdir()
    Model(spec, network=network).save(staging)
    published = Registry(directory / "models").publish(staging, name="small")
    agreement = quantizing.quantize(published, pictures=inputs(60, seed=2), data="made up")
    assert 0.99 < agreement.hundredth < 0.999999, "int8 is near, and not the same"
    return published


def backend(kind: str) -> Backend:
    def portable(**settings: str) -> Backend:
        return PortableBackend(threads=2, max_batch=4, decoder=DECODER, **settings)

    if kind == "torch":
        return TorchBackend(device="cpu", threads=2, max_batch=4, decoder=DECODER)
    if kind == "openvino-int8":
        return portable(precision="int8")
    if kind == "auto":
        return PreferringInt8(int8=portable(precision="int8"), plain=portable())
    return portable(runtime=kind)


@pytest.fixture(scope="module", params=["torch", *RUNTIMES, "openvino-int8"])
def encoder(request: pytest.FixtureRequest, version: ModelVersion) -> Encoder:
    loaded = backend(request.param).load(version)
    for step in loaded.warm_ups():
        step()
    assert loaded.backend == request.param
    return loaded


def png(pixels: np.ndarray) -> InputImage:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return InputImage(content=buffer.getvalue())


def embed(encoder: Encoder, pictures: np.ndarray, *, alone: bool = True) -> np.ndarray:
    prepared = [encoder.prepare(png(each)).pixels[0] for each in pictures]
    return encoder.encode(encoder.stage(prepared), alone=alone)


def test_it_says_what_it_is(encoder: Encoder, version: ModelVersion):
    assert (encoder.model_version, encoder.dimension, encoder.device) == (version.id, 32, "cpu")


def test_it_gives_the_versions_descriptors_in_order(encoder: Encoder, version: ModelVersion):
    pictures = inputs(6, seed=3)
    vectors = embed(encoder, pictures)
    assert (vectors.shape, vectors.dtype) == ((6, 32), np.float32)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    similar = vectors @ Model.load(version.directory).embed(pictures).T
    assert np.diag(similar).min() > (0.98 if encoder.backend == "openvino-int8" else 0.9999)
    # Order would not matter if all pictures were alike.
    assert (similar - 2 * np.eye(6)).max() < 0.9


def test_a_batch_changes_nothing_and_neither_does_company(encoder: Encoder):
    pictures = inputs(5, seed=4)
    together = embed(encoder, pictures, alone=False)
    apart = np.concatenate([embed(encoder, pictures[row : row + 1]) for row in range(5)])
    assert (together * apart).sum(axis=1).min() > 0.9995


def test_it_reproduces_its_golden_vectors(encoder: Encoder, version: ModelVersion):
    assert check_golden(encoder, encoder.golden or version.directory) > 0.98


def test_what_is_no_image_is_refused(encoder: Encoder):
    with pytest.raises(errors.ImageRejected):
        encoder.prepare(InputImage(content=b"nothing"))


# ---- which one runs


def test_a_version_without_an_int8_form_runs_as_it_is(version: ModelVersion, tmp_path: Path):
    other = Registry(tmp_path / "models").install(version.directory)
    assert backend("auto").load(other).backend == RUNTIMES[0]
    with pytest.raises(errors.NotFound, match="halftone models quantize"):
        backend("openvino-int8").load(other)


def test_a_good_int8_form_is_preferred(version: ModelVersion):
    assert backend("auto").load(version).backend == "openvino-int8"


def copied(version: ModelVersion, directory: Path) -> tuple[ModelVersion, Path]:
    """The version and its int8 form in another registry, and where the form lies there."""
    other = Registry(directory / "models").install(version.directory)
    form = quantizing.place(other)
    form.mkdir(parents=True)
    for path in quantizing.place(version).iterdir():
        (form / path.name).write_bytes(path.read_bytes())
    return other, form


def test_a_damaged_int8_form_is_never_run(version: ModelVersion, tmp_path: Path):
    other, form = copied(version, tmp_path)
    weights = bytearray((form / "network.bin").read_bytes())
    weights[len(weights) // 2] ^= 1
    (form / "network.bin").write_bytes(weights)
    assert backend("auto").load(other).backend == RUNTIMES[0]
    with pytest.raises(errors.DataLoss, match="damaged"):
        backend("openvino-int8").load(other)


def test_a_form_that_no_release_wrote_does_not_keep_its_version_from_being_served(
    version: ModelVersion, tmp_path: Path
):
    other, form = copied(version, tmp_path)
    (form / "int8.json").write_text('{"format": 2}')
    assert backend("auto").load(other).backend == RUNTIMES[0]


def test_the_form_goes_with_its_version(version: ModelVersion, tmp_path: Path):
    other, form = copied(version, tmp_path)
    registry = Registry(tmp_path / "models")
    registry.promote(registry.publish(version.directory, name="other").id)
    registry.delete(other.id)
    assert not form.exists()
    assert form.parent.exists()


def test_an_int8_form_that_disagrees_is_never_run(version: ModelVersion, tmp_path: Path):
    other, form = copied(version, tmp_path)
    golden = (form / "golden.json").read_text()
    (form / "golden.json").write_text(
        golden.replace('"min_cosine": 0.98', '"min_cosine": 0.9999999')
    )
    assert backend("auto").load(other).backend == RUNTIMES[0]
    with pytest.raises(errors.DataLoss, match="cosine"):
        backend("openvino-int8").load(other)


def test_an_int8_form_that_would_disagree_is_not_kept(version: ModelVersion, tmp_path: Path):
    other = Registry(tmp_path / "models").install(version.directory)
    pictures = inputs(60, seed=2)
    # The scales are set on blank paper; the pictures that are kept aside have contents.
    pictures[np.arange(60) % 5 != 0] = 255
    with pytest.raises(errors.FailedPrecondition, match="Other or more pictures"):
        quantizing.quantize(other, pictures=pictures, data="blank")
    assert not quantizing.place(other).exists()


def test_too_few_pictures_are_refused(version: ModelVersion):
    with pytest.raises(errors.InvalidArgument, match="at least 50"):
        quantizing.quantize(version, pictures=inputs(10, seed=1), data="few")


def test_nothing_is_reported_to_an_analytics_service(version: ModelVersion):
    """OpenVINO and NNCF have fallen back to their stand-ins, which send nothing."""
    from nncf.telemetry.wrapper import telemetry  # noqa: PLC0415  # an extra
    from openvino.tools.ovc import convert_impl  # noqa: PLC0415

    assert sys.modules["openvino_telemetry"] is None
    assert "stub" in convert_impl.tm.__name__
    assert type(telemetry).__name__ != "NNCFTelemetry"
