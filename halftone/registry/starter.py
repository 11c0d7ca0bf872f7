"""Finds the starter version, which comes with every installation.

The folder `starter` of the package holds it: in a checkout and an editable installation a link to
`models/starter`, in a wheel the files themselves (docs/decisions.md 100).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import halftone
from halftone.core import errors
from halftone.registry.version import ModelVersion, newest_version

NAME: Final = "starter"

_FOLDER: Final = Path(halftone.__file__).parent / NAME


def find_starter() -> ModelVersion:
    """Return the newest starter version that this installation carries.

    Raises:
        errors.FailedPrecondition: It carries none, since its files are incomplete.
    """
    newest = newest_version(_FOLDER)
    if newest is None:
        raise errors.FailedPrecondition(
            f"This installation carries no starter version: {_FOLDER} is missing or empty. Install "
            "Halftone again.",
            subject=str(_FOLDER),
            reason="NO_STARTER",
        )
    return ModelVersion(name=NAME, version=int(newest.name), directory=newest)
