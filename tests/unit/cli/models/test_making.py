"""`halftone models calibrate`: a version with probabilities of its own, from a labelled archive."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from halftone.cli import app
from halftone.matching.probability import Calibration, Evidence
from halftone.registry.versions import Registry

STARTER = Path(__file__).parents[4] / "models" / "starter" / "1"


def archive(folder: Path, *, pairs: int) -> Path:
    """Pictures in two journals each, the second one cropped and paler."""
    folder.mkdir()
    generator = np.random.default_rng(3)
    rows, groups = ["image_id,file,journal,date"], []
    for number in range(pairs):
        coarse = generator.integers(0, 255, (12, 16), dtype=np.uint8)
        plate = Image.fromarray(coarse).resize((160, 120), Image.Resampling.BICUBIC)
        plate.save(folder / f"{number}a.png")
        cut = plate.crop((6, 4, 156, 118)).point([round(40 + 0.7 * x) for x in range(256)])
        cut.save(folder / f"{number}b.png")
        for letter, journal in (("a", "Die Woche"), ("b", "Le Monde")):
            rows.append(f"{number}{letter},{number}{letter}.png,{journal},1905")
        pair = {"a": f"{number}a", "b": f"{number}b"}
        groups.append(
            {
                "group": f"g{number}",
                "members": list(pair.values()),
                "links": [pair],
                "composite": False,
            }
        )
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")
    (folder / "groups.json").write_text(json.dumps(groups))
    return folder


@pytest.fixture
def models(tmp_path) -> Path:
    shutil.copytree(STARTER, tmp_path / "models" / "starter" / "1")
    return tmp_path / "models"


def calibrate(models: Path, *arguments: object):
    words = ["models", "--directory", models, "calibrate", "starter/1", *arguments]
    return CliRunner().invoke(app.main, [str(word) for word in words])


@pytest.mark.soak
def test_a_calibrated_version_has_the_same_weights(models, tmp_path):
    result = calibrate(models, "--archive", archive(tmp_path / "plates", pairs=15))

    assert result.exit_code == 0, result.output
    assert "starter/2 has the weights of starter/1" in result.stdout
    registry = Registry(models)
    before, after = registry.resolve("starter/1"), registry.resolve("starter/2")
    registry.verify(after)
    weights = [each.directory / "model.safetensors" for each in (before, after)]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    assert after.spec()["parents"] == ["starter/1"]
    calibration = Calibration.from_dict(after.spec()["calibration"])
    alike = Evidence(similarity=1.0, pdq=1.0, words=1.0, verification=None)
    other = Evidence(similarity=0.0, pdq=0.0, words=0.0, verification=None)
    assert calibration.probability(alike) > 0.9
    assert calibration.probability(other) < 0.1
    assert after.metrics()["calibration"]["matches"] == 30
    assert (after.directory / "report" / "calibration" / "reliability.png").is_file()


def test_too_few_pairs_publish_nothing(models, tmp_path):
    result = calibrate(models, "--archive", archive(tmp_path / "plates", pairs=4))

    assert result.exit_code != 0
    assert "needs 30 true pairs" in result.output
    assert [each.id for each in Registry(models).list()] == ["starter/1"]


def test_published_weights_of_sscd_become_a_version(tmp_path):
    import torch  # noqa: PLC0415  # slow, and only for this one
    import torchvision  # noqa: PLC0415

    torch.manual_seed(0)
    weights = tmp_path / "sscd_disc_mixup.torchvision.pt"
    torch.save(torchvision.models.resnet18(num_classes=16).state_dict(), weights)
    words = ["models", "--directory", tmp_path / "models", "import", "sscd", "--weights", weights]

    result = CliRunner().invoke(app.main, [str(word) for word in (*words, "--size", 64)])

    assert result.exit_code == 0, result.output
    assert "sscd/1 is published" in result.stdout
    version = Registry(tmp_path / "models").resolve("sscd/1")
    assert version.spec()["initial_weights"]["licence"] == "MIT"


@pytest.mark.parametrize(("words", "missing"), [("sscd", "--weights"), ("resnet18", "--whiten-on")])
def test_an_import_says_what_it_needs(tmp_path, words, missing):
    result = CliRunner().invoke(
        app.main, ["models", "--directory", str(tmp_path), "import", *words.split()]
    )

    assert result.exit_code == 2
    assert f"needs {missing}" in result.output
