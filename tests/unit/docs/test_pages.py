"""What the documentation names exists: links, files, modules, make's targets."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/*.md", "models/**/*.md", "protos/**/*.md")
    for path in ROOT.glob(pattern)
)
OTHERS = (
    ".github/workflows/ci.yml",
    ".pre-commit-config.yaml",
    "Makefile",
    "deploy/docker/Dockerfile",
    "docker-compose.edge.yml",
    "docker-compose.gpu.yml",
    "docker-compose.yml",
    "pyproject.toml",
)
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(#[^)\s]*)?\)")
# A path from the repository's root with a suffix, or a folder with a closing slash.
FILE = re.compile(
    r"(?<![\w./…-])((?:halftone|services|tests|docs|deploy|protos|tools)/[\w./-]*(?:\.\w+|/))(?![\w*])"
)
MODULE = re.compile(r"(?<![\w./-])((?:halftone|tests)(?:\.[a-z_]\w*)+)")
NOT_MODULES = re.compile(
    r"halftone\.(v1\b|train$|training(\.work)?$)"
)  # messages; the queues and the task


def headings(path: Path) -> set[str]:
    """The anchors that a page's headings get."""
    lines = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines}


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name):
    page = ROOT / name
    for target, anchor in LINK.findall(page.read_text()):
        linked = (page.parent / target).resolve() if target else page
        assert linked.exists(), target
        if anchor:
            assert anchor[1:] in headings(linked), target + anchor


@pytest.mark.parametrize("name", [*PAGES, *OTHERS])
def test_files_that_are_named_exist(name):
    for path in FILE.findall((ROOT / name).read_text()):
        # Compilers are told the contracts' files relative to protos/.
        assert (ROOT / path).exists() or (ROOT / "protos" / path).exists(), path


@pytest.mark.parametrize("name", [*PAGES, *OTHERS])
def test_modules_that_are_named_exist(name):
    for dotted in MODULE.findall((ROOT / name).read_text()):
        if NOT_MODULES.match(dotted):
            continue
        parts = dotted.split(".")
        # What is named may be something in a module.
        assert any(
            (ROOT / "/".join(parts[:length])).with_suffix(".py").exists()
            or (ROOT / "/".join(parts[:length]) / "__init__.py").exists()
            for length in (len(parts), len(parts) - 1)
        ), dotted


@pytest.mark.parametrize("name", PAGES)
def test_targets_that_are_named_exist(name):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = re.findall(r"(?:`|^)make ([a-z-]+)", (ROOT / name).read_text(), re.MULTILINE)
    assert set(named) <= targets


def test_services_are_imported_by_one_name_only():
    """The link is what the checkout, the type checker, the tests and the wheel share."""
    assert (ROOT / "halftone" / "services").resolve() == ROOT / "services"
    assert importlib.util.find_spec("halftone.services.search") is not None


@pytest.mark.skipif(shutil.which("git") is None, reason="git, which lists the files, is not here")
def test_every_module_is_packaged():
    """Setuptools finds `services` below `halftone` and not beside it."""
    from setuptools import find_packages  # noqa: PLC0415 - what builds the wheel

    packages = set(find_packages(str(ROOT), include=["halftone*"]))
    tracked = subprocess.run(
        ["git", "ls-files", "halftone", "services"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.split()
    for path in tracked:
        if path.endswith(".py"):
            folder = Path(path).parent.as_posix().replace("/", ".")
            name = folder if folder.startswith("halftone") else f"halftone.{folder}"
            assert name in packages, path
