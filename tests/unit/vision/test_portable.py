"""Versions that run without torch: what is wrong with them is said."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from halftone.core import errors
from halftone.registry.starter import find_starter
from halftone.vision import portable
from halftone.vision.portable import PortableModel, list_runtimes


@pytest.fixture
def version(tmp_path: Path) -> Path:
    """A copy of the starter."""
    return Path(shutil.copytree(find_starter().directory, tmp_path / "1"))


def test_the_starter_computes_what_was_published(version):
    assert portable.check_golden(version) > 0.999999


def test_what_differs_from_what_was_published_is_refused(version):
    path = version / "golden.json"
    golden = json.loads(path.read_text())
    values = np.array(golden["images"][0]["descriptor"])
    values[:100] += 0.004
    golden["images"][0]["descriptor"] = list(values / np.linalg.norm(values))
    path.write_text(json.dumps(golden))
    assert PortableModel.load(version).check_golden(version) > 0.99
    with pytest.raises(errors.DataLoss, match=r"at least 0\.9999 is required"):
        portable.check_golden(version)


@pytest.mark.parametrize("runtime", list_runtimes())
def test_a_lone_batch_may_be_shared(version, runtime):
    model = PortableModel.load(version, threads=2, streams=2, runtime=runtime)
    size = model.spec.preprocessing.size
    pictures = np.random.default_rng(0).integers(0, 256, (5, size, size), dtype=np.uint8)
    np.testing.assert_allclose(model.embed(pictures, parts=2), model.embed(pictures), atol=1e-5)


def test_damaged_weights_are_refused(version):
    weights = version / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100_000])
    with pytest.raises(errors.DataLoss, match="cannot be loaded"):
        PortableModel.load(version)


def test_a_missing_file_is_refused(version):
    (version / "model.safetensors").unlink()
    with pytest.raises(errors.DataLoss, match="cannot be loaded"):
        PortableModel.load(version)


@pytest.mark.parametrize("missing", [("onnx",), ("safetensors",), ("openvino", "onnxruntime")])
def test_missing_packages_are_named_with_what_brings_them(version, monkeypatch, missing):
    for name in missing:
        for module in [each for each in sys.modules if each.partition(".")[0] == name]:
            monkeypatch.setitem(sys.modules, module, None)
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(errors.FailedPrecondition, match="halftone-search\\[local\\]") as caught:
        PortableModel.load(version)
    assert caught.value.reason == "NOT_INSTALLED"
    assert missing[-1] in caught.value.message


# Two versions, the first of which goes first, as when models are promoted; then a signal.
SIGNALLED = """
import gc, os, signal, sys
from pathlib import Path
from halftone.vision.portable import PortableModel

heard = []
signal.signal(signal.SIGTERM, lambda *_: heard.append("heard"))
first = PortableModel.load(Path(sys.argv[1]), runtime=sys.argv[2])
second = PortableModel.load(Path(sys.argv[1]), runtime=sys.argv[2])
del first
gc.collect()
del second
gc.collect()
os.kill(os.getpid(), signal.SIGTERM)
print(*heard)
"""


@pytest.mark.parametrize("runtime", list_runtimes())
def test_signals_are_heard_after_models_have_gone(version, runtime):
    words = [sys.executable, "-c", SIGNALLED, str(version), runtime]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, "heard\n"), done.stderr
