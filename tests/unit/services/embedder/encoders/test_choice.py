"""Which backend runs the models."""

from __future__ import annotations

import pytest

from halftone.core import errors
from halftone.core.settings import EmbedderSettings
from halftone.services.embedder.encoders.choice import PreferringInt8, choose_backend
from halftone.services.embedder.encoders.decoding import Decoder
from halftone.services.embedder.encoders.portable_encoder import PortableBackend
from halftone.services.embedder.encoders.torch_encoder import TorchBackend

DECODER = Decoder(max_pixels=1, max_bytes=1)


@pytest.fixture(autouse=True)
def _policy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")  # it would be set for the whole test run


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"device": "cpu"}, PreferringInt8),
        ({"backend": "portable"}, PortableBackend),
        ({"backend": "int8"}, PortableBackend),
        ({"backend": "torch", "device": "cpu"}, TorchBackend),
        ({"device": "cuda:1"}, TorchBackend),
    ],
)
def test_settings_decide(settings, expected):
    assert type(choose_backend(EmbedderSettings(**settings), decoder=DECODER)) is expected


@pytest.mark.parametrize(("found", "expected"), [(True, TorchBackend), (False, PreferringInt8)])
def test_a_gpu_is_used_where_there_is_one(found, expected):
    backend = choose_backend(EmbedderSettings(), decoder=DECODER, has_cuda=lambda: found)
    assert type(backend) is expected


def test_what_runs_on_the_cpu_only_takes_no_other_device():
    with pytest.raises(errors.FailedPrecondition, match="cuda:1"):
        choose_backend(EmbedderSettings(backend="int8", device="cuda:1"), decoder=DECODER)
