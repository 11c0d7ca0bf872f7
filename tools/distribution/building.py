"""Builds the sdist and the wheel from a clean copy of the sources."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]

# All that the distributions are made of. A checkout also holds what earlier builds have left, which
# setuptools would take up again.
_FOLDERS: Final = ("halftone", "services", "models/starter")
SOURCE_FILES: Final = ("pyproject.toml", "README.md", "LICENSE")


@dataclass(frozen=True, kw_only=True)
class Distributions:
    """What was built.

    Attributes:
        sdist: The archive of the sources.
        wheel: The wheel that was built from the sdist.
    """

    sdist: Path
    wheel: Path


def copy_sources(target: Path) -> None:
    """Copy what the distributions are made of; links stay links."""
    for name in _FOLDERS:
        shutil.copytree(
            ROOT / name,
            target / name,
            symlinks=True,
            ignore=shutil.ignore_patterns("__pycache__", "*.pyc"),
        )
    for name in SOURCE_FILES:
        shutil.copy2(ROOT / name, target / name)


def build(sources: Path, *, out: Path, isolated: bool = True) -> Distributions:
    """Build the sdist, and the wheel from it, into an empty directory.

    Args:
        sources: A directory that `copy_sources` has filled; builds leave files in it.
        out: The directory.
        isolated: Whether setuptools is taken from an index, as pip does, rather than from here.

    Raises:
        SystemExit: The build fails.
    """
    options = () if isolated else ("--no-isolation",)
    command = [sys.executable, "-m", "build", *options, "--outdir", str(out), str(sources)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - ours
    if done.returncode:
        raise SystemExit(f"{done.stdout}{done.stderr}\nThe build failed.")
    (sdist,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    return Distributions(sdist=sdist, wheel=wheel)
