"""Which packages each stage needs beside torch and torchvision, and how to get those missing.

A machine with a GPU often has a torch that must not be replaced, and sometimes no package index. So
nothing is installed into the interpreter that was given: what is missing goes into a folder of its
own, without dependencies (all of them are listed here), and where that fails the stages that need
it are skipped.
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

# Imported as … : distributed as …, for all that differ.
_DISTRIBUTIONS: Final = {
    "PIL": "pillow",
    "annotated_types": "annotated-types",
    "dateutil": "python-dateutil",
    "dotenv": "python-dotenv",
    "fontTools": "fonttools",
    "google.protobuf": "protobuf",
    "google.rpc": "googleapis-common-protos",
    "grpc": "grpcio",
    "grpc_health": "grpcio-health-checking",
    "grpc_reflection": "grpcio-reflection",
    "grpc_status": "grpcio-status",
    "lazy_loader": "lazy-loader",
    "prometheus_client": "prometheus-client",
    "pydantic_core": "pydantic-core",
    "pydantic_settings": "pydantic-settings",
    "pytest_timeout": "pytest-timeout",
    "pytorch_metric_learning": "pytorch-metric-learning",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "typing_extensions": "typing-extensions",
    "typing_inspection": "typing-inspection",
}

_NETWORK: Final = ("numpy", "PIL")
_MODEL: Final = (
    *_NETWORK,
    "google.protobuf",
    "google.rpc",
    "grpc",
    "grpc_status",
    "safetensors",
    "typing_extensions",
)
_SETTINGS: Final = (
    "annotated_types",
    "dotenv",
    "pydantic",
    "pydantic_core",
    "pydantic_settings",
    "typing_inspection",
)
_SERVICE: Final = (
    *_MODEL,
    *_SETTINGS,
    "grpc_health",
    "grpc_reflection",
    "prometheus_client",
    "structlog",
)
_TRAINER: Final = (
    *_MODEL,
    *_SETTINGS,
    "cloudpickle",
    "contourpy",
    "cycler",
    "dateutil",
    "fontTools",
    "jinja2",
    "joblib",
    "kiwisolver",
    "markupsafe",
    "matplotlib",
    "narwhals",
    "packaging",
    "pyparsing",
    "pytorch_metric_learning",
    "scipy",
    "six",
    "sklearn",
    "threadpoolctl",
    "tqdm",
)

NEEDS: Final = {
    "tests": tuple(
        dict.fromkeys(
            (*_SERVICE, *_TRAINER, "iniconfig", "pluggy", "pygments", "pytest", "pytest_timeout")
        )
    ),
    "network": _NETWORK,
    "compile": _NETWORK,
    "embedder": _SERVICE,
    "step": _TRAINER,
    "training": _TRAINER,
}
"""By stage, all that its processes import beside torch and torchvision."""

ENTRIES: Final = {
    "tests": (
        "pytest",
        "halftone.services.embedder.__main__",
        "halftone.services.trainer.loop.train",
    ),
    "network": ("halftone.vision.inference", "halftone.vision.network"),
    "compile": ("halftone.vision.inference", "halftone.vision.network"),
    "embedder": (
        "halftone.services.embedder.__main__",
        "halftone.services.embedder.encoders.torch_encoder",
    ),
    "step": ("halftone.services.trainer.loop.state", "halftone.services.trainer.loop.config"),
    "training": ("halftone.services.trainer.loop.train", "halftone.archive.sample"),
}
"""By stage, the modules whose import shows whether what is there is new enough."""


def missing(stages: Iterable[str]) -> list[str]:
    """The distributions that these stages need and that are not there, sorted."""
    names = {name for stage in stages for name in NEEDS[stage]}
    return sorted(distribution(name) for name in names if not _found(name))


def distribution(name: str) -> str:
    """What pip calls the package that is imported by that name."""
    return _DISTRIBUTIONS.get(name, name)


def command(distributions: Sequence[str], *, folder: Path, constraints: Path) -> list[str]:
    """What installs them into `folder`."""
    return [
        *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
        *("--no-deps", "--only-binary=:all:", "--target", str(folder), "-c", str(constraints)),
        *distributions,
    ]


def install(
    distributions: Sequence[str], *, folder: Path, constraints: Path, seconds: float
) -> str:
    """Install into `folder`, within a time. Returns why it did not work, or nothing."""
    try:
        finished = subprocess.run(  # our own command
            command(distributions, folder=folder, constraints=constraints),
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
            # Without an index it should say so at once.
            env={**os.environ, "PIP_RETRIES": "0", "PIP_DEFAULT_TIMEOUT": "10"},
        )
    except subprocess.TimeoutExpired:
        return f"pip took longer than {seconds:.0f} s"
    lines = finished.stderr.strip().splitlines()
    return "" if finished.returncode == 0 else (lines[0] if lines else "pip failed")


def shown(distributions: Sequence[str], *, folder: Path, constraints: Path) -> str:
    """The command as a line for people."""
    words = command(distributions, folder=folder, constraints=constraints)
    return shlex.join(word for word in words if word not in ("--quiet", "--only-binary=:all:"))


def _found(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # the package around it is not there
        return False
