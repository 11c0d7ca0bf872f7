"""Certificates that `deploy/tls/make-certificates.sh` makes, as operators make theirs."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from halftone.core.settings import TlsSettings

if TYPE_CHECKING:
    from typing import Any

SCRIPT = Path(__file__).parents[2] / "deploy/tls/make-certificates.sh"


def make(folder: Path, *names: str) -> None:
    """Make an authority in a folder unless there is one, and new certificates."""
    subprocess.run([str(SCRIPT), str(folder), *names], check=True, capture_output=True)


def settings(folder: Path, name: str, **more: Any) -> TlsSettings:
    """Return the settings of whoever has a certificate of the folder, and trusts its authority."""
    return TlsSettings(
        certificate=folder / f"{name}.pem",
        key=folder / f"{name}.key",
        ca=folder / "ca.pem",
        **more,
    )
