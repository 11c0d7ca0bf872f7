"""Fixtures of the GPU tests. `--device cpu` runs those that mean something without a GPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from halftone.registry.versions import Registry
from tests.gpu.pictures import smooth

MODELS = Path(__file__).parents[2] / "models"


def pytest_addoption(parser):
    parser.addoption("--device", default="cuda", help="cuda, cuda:1 or cpu")


def pytest_collection_modifyitems(config, items):
    device = torch.device(config.getoption("--device", default="cuda"))
    for item in items:
        if item.get_closest_marker("gpu") is None:
            continue
        if device.type == "cuda" and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="needs CUDA: make gpu"))
        elif device.type == "cpu" and item.get_closest_marker("gpu").kwargs.get("only"):
            item.add_marker(pytest.mark.skip(reason="says nothing without CUDA"))


@pytest.fixture(scope="session")
def device(request):
    """What to test on; `cuda` is the first one."""
    chosen = torch.device(request.config.getoption("--device", default="cuda"))
    return torch.device("cuda:0") if str(chosen) == "cuda" else chosen


@pytest.fixture(scope="session")
def version():
    """The starter version: what bfloat16 does to random weights says nothing about real ones."""
    return Registry(MODELS).resolve("starter/1")


@pytest.fixture(scope="session")
def collection(tmp_path_factory):
    """A data set of 64 pictures without labels."""
    folder = tmp_path_factory.mktemp("collection")
    rows = ["image_id,file,journal,date"]
    for number, picture in enumerate(smooth(64, size=64, seed=4)):
        Image.fromarray(picture).save(folder / f"{number}.png")
        rows.append(f"p{number},{number}.png,Journal {number % 2},1900")
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")
    return folder
