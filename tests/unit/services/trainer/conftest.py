"""Small collections of pictures, a version to train further, and a trainer over a real Valkey."""

import importlib.util
import shutil
from pathlib import Path

import pytest
from PIL import Image

from halftone.evaluation.report import plots
from halftone.services.trainer.loop.config import TrainingConfig
from halftone.services.trainer.loop.train import train
from halftone.vision.reprinting import reprint
from tests.support.pictures.labelled_pictures import write_collection
from tests.support.trainer.tiny_training import TINY
from tests.support.trainer.trainer_desk import Desk
from tests.support.trainer.valkey import ValkeyProcess, make_directory


@pytest.fixture(scope="session")
def collection(tmp_path_factory):
    """A folder with 40 pictures; 0 and 1 are printings of one picture in two journals."""
    folder = tmp_path_factory.mktemp("collection")
    write_collection(folder)
    return folder


@pytest.fixture(scope="session")
def scenes(tmp_path_factory):
    """A folder of 16 photographs, three printings of each, with a group column; 6 more alone."""
    pytest.importorskip("skimage")
    folder = tmp_path_factory.mktemp("scenes")
    data = Path(importlib.util.find_spec("skimage").origin).parent / "data"
    names = ["astronaut", "camera", "chelsea", "coffee", "coins", "moon", "brick", "grass"]
    crops = []
    for name in names:
        picture = Image.open(data / f"{name}.png").convert("L")
        width, height = picture.size
        crops += [
            picture.crop((0, 0, width // 2, height)),
            picture.crop((width // 2, 0, width, height)),
        ]
    rows = ["image_id,file,group"]
    for number, crop in enumerate(crops):
        crop.thumbnail((150, 150))
        for printing in range(3):
            file = f"{number}-{printing}.png"
            reprint(crop, seed=10 * number + printing, side=110, max_crop=0.4).save(folder / file)
            rows.append(f"s{number}-{printing},{file},scene {number}")
        if number < 6:
            crop.transpose(Image.Transpose.ROTATE_180).save(folder / f"{number}.png")
            rows.append(f"s{number},{number}.png,")
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="session")
def trained(scenes, tmp_path_factory):
    """A registry with a version `parent/1`, trained a little without labels."""
    models = tmp_path_factory.mktemp("models")
    config = TrainingConfig(
        **TINY, data=(scenes,), models=models, work=models / "work", name="parent", steps=4
    )
    train(config, log=lambda _line: None)
    return models


@pytest.fixture(scope="session")
def valkey():
    directory = make_directory()
    with ValkeyProcess(directory) as running:
        yield running
    shutil.rmtree(directory)


@pytest.fixture(autouse=True)
def plain_plots(monkeypatch):
    """Plots without a drawing: a report has three to six, and drawing one takes 0.2 s."""

    def blank(_figure, *, path, colours) -> None:
        Image.new("L", (8, 8), colours).save(path)

    monkeypatch.setattr(plots, "_write", blank)


@pytest.fixture
def desk(valkey, tmp_path):
    valkey.clear()
    made = Desk(tmp_path, url=valkey.url)
    yield made
    made.app.close()
    made.store.close()
