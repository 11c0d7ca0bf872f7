"""The version that every installation carries."""

from __future__ import annotations

from pathlib import Path

import halftone
from halftone.registry.starter import find_starter
from halftone.registry.versions import Registry

ROOT = Path(__file__).parents[3]


def test_the_starter_is_found_below_the_package_and_whole(tmp_path):
    starter = find_starter()
    assert starter.directory.parents[1] == Path(halftone.__file__).parent
    assert starter.directory.resolve().parent == ROOT / "models" / "starter"
    registry = Registry(tmp_path)
    installed = registry.install(starter.directory)
    assert installed.id == starter.id == "starter/1"
    registry.verify(installed)
