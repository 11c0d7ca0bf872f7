"""Page tokens: opaque, bound to the request that they continue and to its model version."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING, Any

from halftone.core import errors

if TYPE_CHECKING:
    from google.protobuf.message import Message


def fingerprint(request: Message, *, without: tuple[str, ...]) -> str:
    """What stays the same from page to page: the request without its paging fields."""
    copy = type(request)()
    copy.CopyFrom(request)
    for name in without:
        copy.ClearField(name)
    return hashlib.sha256(copy.SerializeToString(deterministic=True)).hexdigest()[:32]


def encode(*, fingerprint: str, model_version: str, position: Any) -> str:
    """A token for the page that begins at a position."""
    body = json.dumps([fingerprint, model_version, position], separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(_checksum(body) + body).decode().rstrip("=")


def decode(token: str, *, fingerprint: str, model_version: str) -> Any:
    """The position in a token, still to be checked: the checksum tells errors, not forgeries.

    Raises:
        errors.InvalidArgument: It is garbled, or belongs to another request.
        errors.ModelVersionMismatch: It belongs to another model version.
    """
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        body = raw[8:]
        if raw[:8] != _checksum(body):
            raise ValueError  # noqa: TRY301 - one way to say that it is garbled
        found, version, position = json.loads(body)
    except (ValueError, TypeError, RecursionError) as error:
        raise garbled() from error
    if version != model_version:
        raise errors.ModelVersionMismatch(
            f"The page token belongs to {version}; {model_version} answers now. Search again.",
            subject="page_token",
        )
    if found != fingerprint:
        raise errors.InvalidArgument(
            "page_token: it belongs to another request; only the page size may change.",
            field="page_token",
        )
    return position


def garbled() -> errors.InvalidArgument:
    """What is said of a token that this service did not make."""
    return errors.InvalidArgument(
        "page_token: this is no token that this service gave out.", field="page_token"
    )


def _checksum(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()[:8]
