"""What an image has to install, from pyproject.toml."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tools.requirements import list_requirements

ROOT = Path(__file__).parents[3]
PROJECT = {
    "name": "some-thing",
    "dependencies": ["a>=1,<2"],
    "optional-dependencies": {
        "base": ["b; python_version < '4'"],
        "more": ["some-thing[base, other]", "c[d]>=3"],
        "other": ["e", "some-thing[more]"],  # a circle
    },
}


def test_extras_that_name_extras():
    assert list_requirements(PROJECT, extras=["base"]) == ["a>=1,<2", "b; python_version < '4'"]
    assert list_requirements(PROJECT, extras=["more"]) == [
        "a>=1,<2",
        "b; python_version < '4'",
        "c[d]>=3",
        "e",
    ]
    with pytest.raises(KeyError):
        list_requirements(PROJECT, extras=["none"])


def test_the_images_ask_for_extras_that_exist(tmp_path):
    dockerfile = (ROOT / "deploy/docker/Dockerfile").read_text()
    (images,) = re.findall(
        r"requirements\.py pyproject\.toml /requirements \\\n\s+(.+)", dockerfile
    )
    script = ROOT / "tools/requirements.py"
    command = [sys.executable, script, ROOT / "pyproject.toml", tmp_path, *images.split()]
    subprocess.run(command, check=True)
    name = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["name"]
    written = {path.stem: path.read_text() for path in tmp_path.iterdir()}
    assert set(written) == {"search", "embedder", "trainer", "web"}
    assert not any(name in lines for lines in written.values())
    assert "qdrant" in written["search"]
    assert "torch" not in written["search"]
    assert "torch" in written["trainer"]
