"""What is said about packages without wheels; the index itself is asked by `make wheels`."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tools import wheels

ROOT = Path(__file__).parents[3]
PINS = {"numpy": "2.4.6", "openvino": "1", "source-only": "3"}
ARM = wheels.Target("3.12", "Linux ARM")


def having(*names):
    """An index that has wheels of these packages only."""

    def ask(pins, target):
        missing = [name for name in pins if name not in names]
        return wheels.Answer(is_found=not missing, missing=missing[0] if missing else "")

    return ask


def test_a_package_without_a_wheel_is_named():
    assert wheels.find_missing(PINS, ARM, ask=having("numpy", "source-only")) == []
    assert wheels.find_missing(PINS, ARM, ask=having("numpy")) == [
        "source-only==3 has no wheel for Python 3.12 on Linux ARM."
    ]
    elsewhere = wheels.Target("3.12", "macOS ARM")
    assert len(wheels.find_missing(PINS, elsewhere, ask=having("numpy"))) == 2


def test_an_exception_that_is_none_any_more_is_named():
    assert wheels.find_missing(PINS, ARM, ask=having(*PINS)) == [
        "openvino has a wheel for Python 3.12 on Linux ARM: it is no exception any more."
    ]


def test_another_error_is_not_taken_for_a_missing_wheel():
    def ask(pins, target):
        return wheels.Answer(is_found=False, text="the disk is full")

    with pytest.raises(SystemExit, match="the disk is full"):
        wheels.find_missing(PINS, ARM, ask=ask)


def test_exceptions_are_pinned_and_what_is_asked_for_is_what_is_supported():
    pins = wheels.read_pins(ROOT / "constraints.txt")
    assert set(wheels.EXCEPTIONS) <= set(pins)
    assert {system for each in wheels.EXCEPTIONS.values() for system in each} <= set(wheels.SYSTEMS)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == f">={wheels.PYTHONS[0]}"
    assert wheels.INSTALLED.keys() == wheels.SYSTEMS.keys()
    extras = {extra for each in wheels.INSTALLED.values() for extra in each}
    assert extras <= set(project["optional-dependencies"])
