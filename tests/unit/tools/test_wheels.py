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
    assert wheels.find_missing(PINS, ARM, ask=having(*PINS)) == []
    assert wheels.find_needless(PINS, ARM, ask=having("numpy", "source-only")) == []
    assert wheels.find_needless(PINS, ARM, ask=having(*PINS)) == [
        "openvino has a wheel for Python 3.12 on Linux ARM: it is no exception any more."
    ]


def test_another_error_is_not_taken_for_a_missing_wheel():
    def ask(pins, target):
        return wheels.Answer(is_found=False, text="the disk is full")

    with pytest.raises(SystemExit, match="the disk is full"):
        wheels.find_missing(PINS, ARM, ask=ask)


NO_SOLUTION = "error: No solution found when resolving dependencies\n  cause: Because "


@pytest.mark.parametrize(
    "text",
    [
        "error: Failed to fetch: http://x/numpy/\n  cause: Connection refused (os error 111)",
        "error: Failed to fetch: http://x/numpy/\n  cause: HTTP status server error (503)",
        "error: failed to write to file `x`: No space left on device (os error 28)",
        f"{NO_SOLUTION}numpy was not found in the package registry and you require numpy==2",
        f"{NO_SOLUTION}x was not found in the package registry\nhint: returned a 403 error",
    ],
)
def test_an_index_that_does_not_answer_is_no_fault_of_the_packages(text):
    with pytest.raises(wheels.UnavailableError):
        wheels.read_answer(2, text)


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        (f"{NO_SOLUTION}opencv_python==4.1 has no usable wheels and you require", "opencv-python"),
        (f"{NO_SOLUTION}there is no version of numpy==99 and you require numpy==99", ""),
        ("error: Couldn't parse requirement in `-` at position 0", ""),
        ("error: Requested extra not found: nosuch", ""),
    ],
)
def test_a_fault_of_the_packages_is_one(text, missing):
    answer = wheels.read_answer(1, text)
    assert (answer.is_found, answer.missing, answer.text) == (False, missing, text)


def test_an_index_is_asked_again_twice():
    answers = [
        wheels.UnavailableError("503"),
        wheels.UnavailableError("503"),
        wheels.Answer(is_found=True),
    ]

    def ask():
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert wheels.ask_patiently(ask, pauses=(0, 0)).is_found
    answers[:] = [wheels.UnavailableError("503")] * 3
    with pytest.raises(wheels.UnavailableError):
        wheels.ask_patiently(ask, pauses=(0, 0))
    assert not answers


def test_what_was_found_before_the_index_went_away_stays_found():
    def check(target):
        if target.system != "Windows":
            raise wheels.UnavailableError("503")
        return wheels.Finding(["x==1 has no wheel"], [])

    windows = wheels.Target("3.12", "Windows")
    findings, why = wheels.check_all([windows, ARM], check=check)
    assert ([line for each in findings for line in each.missing], why) == (
        ["x==1 has no wheel"],
        "503",
    )


def test_exceptions_are_pinned_and_what_is_asked_for_is_what_is_supported():
    pins = wheels.read_pins(ROOT / "constraints.txt")
    assert set(wheels.EXCEPTIONS) <= set(pins)
    assert {system for each in wheels.EXCEPTIONS.values() for system in each} <= set(wheels.SYSTEMS)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == f">={wheels.PYTHONS[0]}"
    assert wheels.INSTALLED.keys() == wheels.SYSTEMS.keys()
    extras = {extra for each in wheels.INSTALLED.values() for extra in each}
    assert extras <= set(project["optional-dependencies"])
