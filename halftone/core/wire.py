"""Limits and names that both ends of a gRPC channel share. Imports only the standard library."""

from __future__ import annotations

import contextvars
import math
from typing import Final
from urllib.parse import quote

REQUEST_ID_KEY: Final = "x-request-id"
"""The gRPC metadata key that carries a request's id from service to service."""

AUTHORIZATION_KEY: Final = "authorization"
"""The gRPC metadata key that carries a caller's key, as in HTTP: `Bearer SECRET`."""

CALLER_KEY: Final = "x-halftone-caller"
"""The gRPC metadata key with which a service of ours says for whom it calls: what tells the caller
apart, a semicolon, and the caller's label, both in per cent. It counts only with the services' own
key."""

_acting_for: contextvars.ContextVar[tuple[tuple[str, str], ...]] = contextvars.ContextVar(
    "acting_for", default=()
)

IDLE_STREAM: Final = "IDLE_STREAM"
"""The reason of the error that ends an import which has sent nothing for long."""

MAX_IMAGE_BYTES: Final = 32 * 1024 * 1024
"""The largest image that travels in a message. A service may be configured to take less."""

MAX_MESSAGE_BYTES: Final = 36 * 1024 * 1024
"""The largest message: an image, or several together, and the fields around them."""
CHANNEL_OPTIONS: Final[tuple[tuple[str, int], ...]] = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
)
"""Options for both ends of every channel."""


_MIB: Final = 1024 * 1024


def act_for(caller: str, *, label: str) -> None:
    """Say for whom the rest of this task, and what it starts, calls services.

    Args:
        caller: What tells the caller apart, for example `key:3f2a9c41d07e`.
        label: The caller's name, which may be empty.
    """
    _acting_for.set(((CALLER_KEY, f"{quote(caller, safe=':')};{quote(label)}"),))


def make_caller() -> tuple[tuple[str, str], ...]:
    """Return the metadata that says for whom this task calls; none if it calls for itself."""
    return _acting_for.get()


def make_authorization(key: str) -> tuple[tuple[str, str], ...]:
    """Return the metadata that carries a key; none if it is empty."""
    return ((AUTHORIZATION_KEY, f"Bearer {key}"),) if key else ()


def describe_excess(size: int, *, limit: int) -> str:
    """Return what is wrong with a picture of `size` bytes: `has 41.3 MiB; the limit is 32 MiB`.

    Args:
        size: The picture's bytes, more than `limit`.
        limit: The most bytes.
    """
    if limit % _MIB:
        return f"has {size:,} bytes; the limit is {limit:,}"
    # Rounded up, since it is never the limit itself.
    return f"has {math.ceil(10 * size / _MIB) / 10:,.1f} MiB; the limit is {limit // _MIB:,} MiB"
