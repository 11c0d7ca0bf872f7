"""The name under which Halftone is installed, and what messages and documentation make of it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import halftone
from halftone.core.extras import DISTRIBUTION, make_install_command

ROOT = Path(__file__).parents[3]
PLACES = ". .ci .github deploy docs halftone protos services tests tools"
FOLDERS = PLACES.split()
TEXTS = ".css .go .html .jinja .js .json .md .proto .py .sh .toml .ts .txt .yaml .yml"
SUFFIXES = set(TEXTS.split())
NAMES = {"Dockerfile", "Makefile", "run"}
# Quotes, a line break and options may stand between the command and the name.
INSTALL = re.compile(r"pip3? install(?:[\s\"'\\]+-[\w-]+)*[\s\"'\\]+halftone(?!-search)\b")
EXTRA = re.compile(r"\bhalftone\[[a-z{]")
WANTED = re.compile(rf"{DISTRIBUTION}\[([\w,]+)\]|(?:make_install_command|needs_extra)\(([^()]*)\)")
QUOTED = re.compile(r"[\"'](\w+)[\"']")


def read_project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def read_texts():
    """Yield the names and contents of what people read; no git is needed for it."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).glob("*" if folder == "." else "**/*")):
            if path.is_file() and (path.suffix in SUFFIXES or path.name in NAMES):
                yield path.relative_to(ROOT).as_posix(), path.read_text()


def test_the_commands():
    assert make_install_command() == "pip install halftone-search"
    assert make_install_command("server") == "pip install 'halftone-search[server]'"
    assert make_install_command("a", "b") == "pip install 'halftone-search[a,b]'"


def test_the_name_is_that_of_the_distribution_and_the_version_stands_in_one_place():
    project = read_project()
    assert project["name"] == DISTRIBUTION
    assert "version" not in project
    assert project["dynamic"] == ["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", halftone.__version__)


def test_nothing_tells_people_to_install_a_stranger_s_package():
    strangers = [
        (name, found.group())
        for name, text in read_texts()
        for found in (*INSTALL.finditer(text), *EXTRA.finditer(text))
        if name != "tests/unit/core/test_extras.py"
    ]
    assert strangers == []


def test_every_extra_that_is_named_exists():
    extras = set(read_project()["optional-dependencies"])
    named = {
        extra
        for name, text in read_texts()
        if name != "tests/unit/core/test_extras.py"
        for found in WANTED.finditer(text)
        for extra in (found[1].split(",") if found[1] else QUOTED.findall(found[2]))
    }
    assert {"all", "local", "mlflow"} <= named <= extras
