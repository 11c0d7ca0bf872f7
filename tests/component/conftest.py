"""The embedded stack with the starter version, started once for the tests that only talk to it."""

from __future__ import annotations

import pytest
from PIL import Image, ImageOps

from halftone.archive import sample
from halftone.client import Client
from halftone.stack import local, training


def quick_reprint(image: Image.Image, *, seed: int, caption: str | None, mirror: bool):
    """Not a press, but another picture for each seed."""
    del caption, mirror
    picture = ImageOps.autocontrast(image.convert("L").resize((240, 200)))
    return picture.crop((seed % 7, seed % 5, 240 - seed % 3, 200 - seed % 4))


@pytest.fixture(scope="session")
def stack_data(tmp_path_factory):
    """The stack's data directory."""
    return tmp_path_factory.mktemp("stack") / "data"


@pytest.fixture(scope="session")
def stack(stack_data):
    with local.LocalStack(
        stack_data,
        ports=local.Ports.any_free(),
        report=print,
        training=training.Training(),
    ) as running:
        yield running


@pytest.fixture
def client(stack):
    addresses = stack.addresses
    with Client(
        addresses.search, embedder=addresses.embedder, trainer=addresses.trainer
    ) as connected:
        yield connected


@pytest.fixture(scope="session")
def press(tmp_path_factory):
    """A folder with a manifest, about a hundred pictures and printings that are not among them."""
    folder = tmp_path_factory.mktemp("archive") / "press"
    sample.make(folder, reprint=quick_reprint)
    return folder
