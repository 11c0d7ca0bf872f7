"""The torch encoder on a GPU: the CPU's descriptors, in any batch, also with two under way."""

from __future__ import annotations

import concurrent.futures
import gc

import numpy as np
import pytest
import torch

from halftone.core import errors
from halftone.services.embedder.encoders.decoding import Decoder
from halftone.services.embedder.encoders.torch_encoder import TorchBackend, batch_sizes
from halftone.services.embedder.loading import check_golden
from halftone.vision.inference import fuse, runner
from halftone.vision.model import Model
from tests.gpu.pictures import smooth

pytestmark = pytest.mark.gpu

MODES = ("eager", "fused", "graphs")
MAX_BATCH = 12


def pictures(count):
    return smooth(count, size=112)


def made(version, device, execution="eager", max_batch=MAX_BATCH):
    backend = TorchBackend(
        device=str(device),
        threads=1,
        max_batch=max_batch,
        decoder=Decoder(max_pixels=1_000_000, max_bytes=1_000_000),
        execution=execution,
    )
    backend.prepare_device()
    return backend.load(version)


@pytest.fixture(scope="module", params=MODES)
def encoder(request, version, device):
    if device.type == "cpu" and request.param != "eager":
        pytest.skip("the CPU has one way")
    encoder = made(version, device, request.param)
    for step in encoder.warm_ups():
        step()
    return encoder


@pytest.fixture(scope="module")
def expected(version):
    """Descriptors of 40 pictures by the CPU in float32."""
    return Model.load(version.directory).embed(np.stack(pictures(40)))


def encoded(encoder, chosen):
    return encoder.encode(encoder.stage(chosen))


def test_it_gives_the_descriptors_of_the_cpu(encoder, expected):
    parts = [
        encoded(encoder, pictures(40)[start : start + MAX_BATCH])
        for start in range(0, 40, MAX_BATCH)
    ]
    vectors = np.concatenate(parts)

    # bfloat16 has eight bits; that the pictures differ much more gives the figure its meaning.
    assert (vectors * expected).sum(axis=1).min() > 0.999
    assert np.abs(expected @ expected.T - np.eye(40)).mean() < 0.5
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3)


def test_padding_does_not_change_a_descriptor(encoder):
    chosen = pictures(MAX_BATCH)
    whole = encoded(encoder, chosen)

    for count in (1, 3, 5, 9):
        part = encoded(encoder, chosen[:count])
        assert part.shape == (count, encoder.dimension)
        assert (part * whole[:count]).sum(axis=1).min() > 0.9995


def test_its_own_golden_vectors_pass(encoder, version):
    assert check_golden(encoder, version.directory) > 0.99


@pytest.mark.parametrize("turns", [40])
def test_two_batches_under_way_do_not_mix(encoder, expected, turns):
    """A thread stages while another computes, in batches of changing size, as the service does."""
    dice = np.random.default_rng(2)
    rows = [dice.permutation(40)[: dice.integers(1, MAX_BATCH + 1)] for _ in range(turns)]
    everything = pictures(40)

    with concurrent.futures.ThreadPoolExecutor(1) as stager:

        def stage(turn):
            return stager.submit(encoder.stage, [everything[row] for row in rows[turn]])

        coming = stage(0)
        for turn in range(turns):
            staged = coming.result()
            if turn + 1 < turns:
                coming = stage(turn + 1)
            vectors = encoder.encode(staged)
            assert (vectors * expected[rows[turn]]).sum(axis=1).min() > 0.999, turn


@pytest.mark.gpu(only=True)
def test_every_batch_size_is_one_that_was_warmed(version, device):
    encoder = made(version, device, "graphs")
    for step in encoder.warm_ups():
        step()
    before = torch.cuda.memory_reserved(device)

    for count in range(1, MAX_BATCH + 1):
        staged = encoder.stage(pictures(count))
        assert len(staged.batch) in batch_sizes(MAX_BATCH)
        assert staged.batch.device == device
        encoder.encode(staged)

    # A size that nothing was planned for would have taken memory.
    assert torch.cuda.memory_reserved(device) <= before + (4 << 20)


@pytest.mark.gpu(only=True)
def test_graphs_of_several_sizes_share_memory_and_keep_apart(version, device):
    network = Model.load(version.directory, device=device).network
    run = runner(network, execution="graphs", device=device)
    plain = runner(network, execution="fused", device=device)
    inputs = torch.from_numpy(np.stack(pictures(8))).to(device)

    for _ in range(2):  # captured, then replayed
        for size in (8, 1, 4, 8, 2):
            got, wanted = run(inputs[:size]).clone(), plain(inputs[:size])
            assert float((got * wanted).sum(dim=1).min()) > 0.999


def test_a_fused_network_in_half_precision_stays_close(version, device):
    network = Model.load(version.directory, device=device).network
    inputs = torch.from_numpy(np.stack(pictures(8))).to(device).unsqueeze(1)

    with torch.inference_mode():
        exact = network(inputs)
        with torch.autocast(device.type, torch.bfloat16):
            close = fuse(network)(inputs).float()

    assert float((exact * close).sum(dim=1).min()) > 0.999


@pytest.mark.gpu(only=True)
def test_a_batch_that_does_not_fit_fails_and_the_next_one_works(version, device):
    encoder = made(version, device, "eager", max_batch=4096)
    one = encoder.encode(encoder.stage(pictures(1)))
    total = torch.cuda.get_device_properties(device).total_memory
    try:
        # The process may take 64 MiB more than it holds.
        limit = torch.cuda.memory_reserved(device) + (64 << 20)
        torch.cuda.set_per_process_memory_fraction(min(1.0, limit / total), device)
        with pytest.raises(torch.OutOfMemoryError):
            encoder.encode(encoder.stage(pictures(2048)))
        torch.cuda.empty_cache()
        again = encoder.encode(encoder.stage(pictures(1)))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)
    np.testing.assert_allclose(again, one, atol=1e-3)


@pytest.mark.gpu(only=True)
def test_an_unloaded_version_returns_its_memory(version, device):
    gc.collect()
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated(device)

    encoder = made(version, device, "graphs")
    for step in encoder.warm_ups():
        step()
    held = torch.cuda.memory_allocated(device)
    del encoder
    gc.collect()
    torch.cuda.empty_cache()

    assert held > before + (20 << 20)
    assert torch.cuda.memory_allocated(device) <= before + (1 << 20)


@pytest.mark.gpu(only=True)
def test_a_device_that_is_not_there_is_named(version):
    with pytest.raises(errors.FailedPrecondition, match="cuda:77"):
        made(version, "cuda:77")
