"""Gives the services of a stack one file of keys, and a secret to call each other with."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from halftone.core import audit
from halftone.core.keys import FILE_NAME
from halftone.core.settings import AccessSettings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from halftone.stack.supervisor import Child

SERVICE_KEY: Final = "HALFTONE_SERVICE_KEY"


def make_environment(data: Path) -> dict[str, str]:
    """Return the variables that tell all services of a stack who may call them.

    They name the file of keys, which need not exist: `halftone keys create` makes it, and the
    services see it then. They hold a secret with which the services call each other.

    Args:
        data: The data directory of the stack.
    """
    settings = AccessSettings()
    return {
        "HALFTONE_KEYS_FILE": str((settings.keys_file or data / FILE_NAME).absolute()),
        "HALFTONE_AUDIT": (
            settings.audit
            if "audit" in settings.model_fields_set
            else str((data / audit.FILE_NAME).absolute())
        ),
        SERVICE_KEY: settings.service_key or secrets.token_urlsafe(32),
    }


def share_environment(children: Iterable[Child], *, shared: Mapping[str, str]) -> list[Child]:
    """Return the children with what `make_environment` made in their environment."""
    return [replace(child, environment={**shared, **child.environment}) for child in children]
