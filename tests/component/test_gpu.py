"""`make gpu` as a user runs it, at sizes for a machine without a GPU."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from halftone.registry.versions import Registry

ROOT = Path(__file__).parents[2]
# All but "tests": those that need no GPU run here by themselves.
STAGES = ("network", "embedder", "step", "compile", "training")


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_every_stage_runs_on_a_cpu(tmp_path):
    out = tmp_path / "out"
    command = [
        *(sys.executable, "tests/gpu/__main__.py", "--device", "cpu", "--tiny", "--no-install"),
        *("--minutes", "14", "--work", tmp_path / "work", "--json", tmp_path / "gpu.json"),
        *("--out", out, "--skip", "tests"),
    ]
    ended = subprocess.run(
        list(map(str, command)), cwd=ROOT, capture_output=True, text=True, check=False, timeout=880
    )

    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr
    content = json.loads((tmp_path / "gpu.json").read_text())
    assert {name: each["status"] for name, each in content["stages"].items()} == dict.fromkeys(
        STAGES, "done"
    )
    assert content["skipped"] == {}
    assert content["hardware"]["torch"]
    rows = {name: [row["what"] for row in each["rows"]] for name, each in content["stages"].items()}
    figures = {
        "network": "fused, best batch",
        "embedder": "service over gRPC",
        "step": "training step",
        "compile": "compiled",
        "training": "archive, R@1",
    }
    for name, what in figures.items():
        assert any(row.startswith(what) for row in rows[name]), (name, rows[name])
        # And in the table.
        assert what in ended.stdout

    # The trained version came out in parts that make a version again.
    parts = sorted(out.glob("gpu-2.tar.part-*"))
    assert parts
    assert max(part.stat().st_size for part in parts) <= 16 * 2**20
    models = tmp_path / "models"
    with tarfile.open(fileobj=io.BytesIO(b"".join(part.read_bytes() for part in parts))) as whole:
        whole.extractall(models, filter="data")
    Registry(models).verify("gpu/2")
    # What was made to measure speed is gone.
    assert not list(tmp_path.rglob("speed-only*"))
