"""Parts of stored pictures over gRPC: their pixels, what is decoded, and what is refused."""

from __future__ import annotations

import asyncio
import io
import pathlib

import grpc
import numpy as np
import pytest
from PIL import Image

from halftone.core import errors
from halftone.imaging import images
from halftone.v1 import search_pb2
from tests.support.search.search_service import Service, error_of, metrics_of, name, record

SIZE = (640, 480)
PIXELS = np.asarray(
    Image.fromarray(np.random.default_rng(7).integers(0, 255, (12, 16), dtype=np.uint8)).resize(
        SIZE, Image.Resampling.BICUBIC
    )
)


def encode(pixels=PIXELS, *, format="JPEG", **options):  # noqa: A002  # Pillow's name
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format, **options)
    return buffer.getvalue()


@pytest.fixture(params=["directory", "object store"])
async def anywhere(settings, embedder, request):
    """The service with its pictures in a directory, and in an object store."""
    if request.param == "object store":
        settings = settings.model_copy(update={"blobs": f"memory://{settings.blobs}"})
    running = Service(settings, embedder=embedder)
    await running.start()
    yield running
    await running.stop()


def ask(service, **fields):
    return service.stub.GetImageRegion(
        search_pb2.GetImageRegionRequest(**{"name": name("one"), **fields})
    )


def original_of(service):
    (path,) = pathlib.Path(service.settings.blobs).rglob("originals/*/*/*")
    return path


def read(answer):
    return np.asarray(Image.open(io.BytesIO(answer.content)))


async def test_a_part_of_the_original(anywhere):
    await anywhere.add(record("one", content=encode(format="PNG"), rights="Stadtarchiv"))
    part = {"x": 600, "y": 100, "width": 100, "height": 50}
    answer = await ask(anywhere, region=part, format="PNG")
    assert np.array_equal(read(answer), PIXELS[100:150, 600:640])
    assert answer.content_type == "image/png"
    assert (answer.width, answer.height) == (40, 50)
    assert (answer.image_width, answer.image_height) == SIZE
    assert (answer.region.x, answer.region.width) == (600, 40)
    assert answer.rights == "Stadtarchiv"


async def test_shares_sizes_and_turns(service):
    await service.add(record("one", content=encode(format="PNG")))
    share = {"x": 0.5, "y": 0.25, "width": 0.25, "height": 0.5}
    answer = await ask(service, share=share, width=80, rotation=90, mirrored=True, format="PNG")
    assert (answer.region.x, answer.region.y) == (320, 120)
    assert (answer.region.width, answer.region.height) == (160, 240)
    assert (answer.width, answer.height) == (120, 80)
    wanted = Image.fromarray(PIXELS[120:360, 320:480]).resize((80, 120))
    wanted = np.rot90(np.asarray(wanted)[:, ::-1], -1)
    assert np.abs(read(answer).astype(int) - wanted).mean() < 2


async def test_a_picture_is_upright(service):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    await service.add(record("one", content=encode(quality=95, exif=exif)))
    answer = await ask(service, region={"x": 0, "y": 0, "width": 100, "height": 200}, format="PNG")
    assert (answer.image_width, answer.image_height) == SIZE[::-1]
    wanted = np.rot90(PIXELS, -1)[:200, :100]
    assert np.abs(read(answer).astype(int) - wanted).mean() < 4


async def test_one_decoding_serves_the_parts_of_a_zoom(service):
    await service.add(record("one", content=encode(quality=90)))
    tiles = [{"x": x, "y": y, "width": 64, "height": 64} for x in (0, 64, 128) for y in (0, 64)]
    await asyncio.gather(*(ask(service, region=tile) for tile in tiles))
    await asyncio.gather(*(ask(service, region=tile, width=8) for tile in tiles))
    metrics = await metrics_of(service)
    assert 'regions_total{source="picture"} 2.0' in metrics  # once whole, once reduced
    assert 'regions_total{source="memory"} 10.0' in metrics


async def test_a_format_that_cannot_be_reduced_is_decoded_once(service):
    await service.add(record("one", content=encode(format="PNG")))
    for width in (8, 80, 640, 8):
        await ask(service, width=width)
    assert 'regions_total{source="picture"} 1.0' in await metrics_of(service)


async def test_without_memory_every_part_is_decoded_anew(settings, embedder):
    running = Service(settings.model_copy(update={"regions_memory_bytes": 0}), embedder=embedder)
    await running.start()
    await running.add(record("one", content=encode()))
    first, second = await ask(running, width=32), await ask(running, width=32)
    assert first == second
    assert 'regions_total{source="picture"} 2.0' in await metrics_of(running)
    await running.stop()


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"region": {"x": 640, "width": 5, "height": 5}}, images.REGION_OUTSIDE),
        ({"share": {"x": 1, "width": 0.1, "height": 0.1}}, images.REGION_OUTSIDE),
        ({"region": {}}, "INVALID_ARGUMENT"),
        ({"width": 641}, "UPSCALED"),
        ({"width": 20_000, "upscale": True}, images.TOO_MANY_PIXELS),
        ({"rotation": 45}, "INVALID_ARGUMENT"),
        ({"compression_quality": 0}, "INVALID_ARGUMENT"),
        ({"format": 9}, "INVALID_ARGUMENT"),
        ({"quality": 9}, "INVALID_ARGUMENT"),
        ({"name": "one"}, "INVALID_NAME"),
    ],
)
async def test_what_is_refused(service, fields, reason):
    await service.add(record("one", content=encode()))
    error = await error_of(ask(service, **fields))
    assert isinstance(error, errors.InvalidArgument)
    assert error.reason == reason


async def test_no_record_and_no_original_are_two_errors(service):
    await service.add(record("one", content=encode()))
    assert (await error_of(ask(service, name=name("two")))).resource_type == "image"
    original_of(service).unlink()
    error = await error_of(ask(service))
    assert isinstance(error, errors.NotFound)
    assert (error.reason, error.resource_name) == ("ORIGINAL_MISSING", name("one"))


async def test_a_damaged_original_is_data_loss(service):
    await service.add(record("one", content=encode()))
    original_of(service).write_bytes(b"other bytes")
    assert isinstance(await error_of(ask(service)), errors.DataLoss)


async def test_as_many_at_a_time_as_are_allowed(settings, embedder):
    running = Service(settings.model_copy(update={"max_concurrent_regions": 1}), embedder=embedder)
    await running.start()
    await running.add(record("one", content=encode()))
    calls = [ask(running, width=600, upscale=True) for _ in range(20)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    refused = [each for each in answers if isinstance(each, grpc.aio.AioRpcError)]
    assert 0 < len(refused) < len(answers)
    error = errors.from_rpc_error(refused[0])
    assert (error.reason, error.metadata["limit"]) == ("TOO_MANY_CALLS", "regions")
    await running.stop()
