"""Says how to install what an installation lacks: the extras of the distribution."""

from __future__ import annotations

from typing import Final

DISTRIBUTION: Final = "halftone-search"
"""The name on package indexes. `halftone` alone is somebody else's package there."""


def make_install_command(*extras: str) -> str:
    """Return the command line that installs Halftone with some of its extras."""
    wanted = f"'{DISTRIBUTION}[{','.join(extras)}]'" if extras else DISTRIBUTION
    return f"pip install {wanted}"
