"""Gives the services of a stack one file of keys, and a secret to call each other with."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import TYPE_CHECKING

from halftone.core.keys import FILE_NAME
from halftone.core.settings import AccessSettings

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from halftone.stack.supervisor import Child


def share_access(children: Iterable[Child], *, data: Path) -> list[Child]:
    """Return the children with the file of keys and a secret of their own in their environment.

    The file need not exist: `halftone keys create` makes it, and the services see it then.

    Args:
        children: The services of the stack.
        data: The data directory of the stack.
    """
    settings = AccessSettings()
    shared = {
        "HALFTONE_KEYS_FILE": str((settings.keys_file or data / FILE_NAME).absolute()),
        "HALFTONE_SERVICE_KEY": settings.service_key or secrets.token_urlsafe(32),
    }
    return [replace(child, environment={**shared, **child.environment}) for child in children]
