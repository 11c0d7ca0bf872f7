"""What people install: built, read, and used outside of the checkout."""

from __future__ import annotations

import shutil
import zipfile

import pytest

from tools.distribution import building, checking, trying


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    building.copy_sources(folder)
    return folder


@pytest.fixture(scope="module")
def built(sources, tmp_path_factory):
    """The distributions, built without an index."""
    copy = tmp_path_factory.mktemp("copy") / "sources"
    shutil.copytree(sources, copy, symlinks=True)
    return building.build(copy, out=tmp_path_factory.mktemp("dist"), isolated=False)


def test_nothing_is_wrong_with_them(built, sources):
    assert checking.find_problems(built, sources=sources) == []


def test_what_is_wrong_is_said(built, sources, tmp_path):
    """A test of the test: a wheel that lacks the starter and brings tests along."""
    wheel = tmp_path / built.wheel.name
    with zipfile.ZipFile(built.wheel) as whole, zipfile.ZipFile(wheel, "w") as spoilt:
        for name in whole.namelist():
            if "model.safetensors" not in name:
                content = whole.read(name)
                spoilt.writestr(name, content + b"#" if name.endswith("cli/app.py") else content)
        spoilt.writestr("tests/test_it.py", "")
        spoilt.writestr("halftone/__pycache__/x.pyc", "")
    spoilt = building.Distributions(sdist=built.sdist, wheel=wheel)
    assert checking.find_problems(spoilt, sources=sources) == [
        "The wheel lacks halftone/starter/1/model.safetensors.",
        "The wheel has halftone/__pycache__/x.pyc, which is no source.",
        "The wheel has tests/test_it.py, which is no source.",
        "The wheel has another halftone/cli/app.py.",
    ]


@pytest.mark.soak
def test_the_installed_wheel_imports_and_finds(built, tmp_path):
    """Outside of the checkout, with the packages of the tests beside it."""
    environment = trying.install_beside(built.wheel, home=tmp_path)
    trying.use(environment)
