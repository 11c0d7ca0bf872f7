"""Page sizes and page tokens of the RPCs that answer in pages.

A servicer makes one `Pager` for each of its lists and reads every request with it:

    _JOBS = Pager(TypeAdapter(int), default_size=20)

Tokens are opaque to clients. A token continues only the request that it was made for; just the page
size may change from page to page. Tokens are not signed, so anyone can make one; the adapter that
the pager is given checks every position that comes in.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from halftone.core import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from google.protobuf.message import Message

MAX_PAGE_SIZE: Final = 1_000
"""The most items in one answer."""

_CHECKSUM_BYTES: Final = 8
_BODY: Final = TypeAdapter(tuple[str, str, Any])
"""A token's content: the request's fingerprint, the model version, and the position."""

P = TypeVar("P")
R = TypeVar("R")


def check_size(value: int, *, field: str) -> int:
    """Return the number of items to answer with.

    Raises:
        errors.InvalidArgument: The size is not between 1 and `MAX_PAGE_SIZE`.
    """
    if not 1 <= value <= MAX_PAGE_SIZE:
        raise errors.InvalidArgument(
            f"{field}: {value}; it must be 1 to {MAX_PAGE_SIZE}.", field=field
        )
    return value


class Pager(Generic[P]):
    """Reads the paging fields of one kind of request. `P` is the type of a position in the list."""

    def __init__(
        self, position: TypeAdapter[P], *, default_size: int, size_field: str = "page_size"
    ) -> None:
        """Create the pager of one list.

        Args:
            position: The type of a position, with all its bounds. It must survive a round trip
                through JSON.
            default_size: The number of items if the request names none.
            size_field: The name of the request's field for the number of items.
        """
        self._position = position
        self._default_size = default_size
        self._size_field = size_field

    def read(self, request: Message, *, model_version: str = "") -> Page[P]:
        """Return the page that a request asks for.

        Args:
            request: The request. It has `page_token` and an `optional` field for the size.
            model_version: The version that answers, if the order of the list depends on it. Tokens
                of other versions are refused then.

        Raises:
            errors.InvalidArgument: The size is out of bounds, or the token is garbled or belongs to
                another request.
            errors.ModelVersionMismatch: The token belongs to another model version.
        """
        field = self._size_field
        size = getattr(request, field) if request.HasField(field) else self._default_size
        check_size(size, field=field)
        fingerprint = _fingerprint(request, without=("page_token", field))
        token: str = request.page_token  # type: ignore[attr-defined]  # every list's request has one
        return Page(
            size=size,
            position=self._decode(token, fingerprint=fingerprint, model_version=model_version)
            if token
            else None,
            fingerprint=fingerprint,
            model_version=model_version,
        )

    def _decode(self, token: str, *, fingerprint: str, model_version: str) -> P:
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
            checksum, body = raw[:_CHECKSUM_BYTES], raw[_CHECKSUM_BYTES:]
            # Detects a token that was cut or mistyped; it is no signature.
            if checksum != _checksum(body):
                raise ValueError(token)  # noqa: TRY301 - all garbled tokens get one answer
            # Strict JSON has no unpaired surrogates, so what the token says can be encoded again.
            made_for, version, position = _BODY.validate_json(body, strict=True)
        except (ValueError, TypeError, RecursionError) as error:
            raise invalid_token() from error
        if model_version and version and version != model_version:
            raise errors.ModelVersionMismatch(
                f"The page token belongs to {version[:200]}; {model_version} answers now. "
                "Search again.",
                subject="page_token",
            )
        if (made_for, version) != (fingerprint, model_version):
            raise errors.InvalidArgument(
                "page_token: it belongs to another request; only the page size may change.",
                field="page_token",
            )
        try:
            # In JSON mode pydantic accepts arrays as tuples and never accepts a number as a string.
            return self._position.validate_json(json.dumps(position), strict=True)
        except (ValidationError, RecursionError) as error:
            raise invalid_token() from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[P]):
    """The page of a list that a request asks for.

    Attributes:
        size: The most items on the page.
        position: The position at which the page begins; None for the first page.
        fingerprint: Hash of the request without its paging fields, for the next token.
        model_version: The model version for the next token; empty if the order does not depend on
            it.
    """

    size: int
    position: P | None
    fingerprint: str
    model_version: str

    def cut(self, items: Sequence[R]) -> Sequence[R]:
        """Return the items of the page.

        Drops the extra item that shows whether there is a next page.
        """
        return items[: self.size]

    def next_token(self, items: Sequence[R], *, position: Callable[[R], object]) -> str:
        """Return the token of the next page; empty after the last one.

        Args:
            items: The page's items and, if there is one, the item after them.
            position: Returns the position of an item; it is called for the last one of the page.
        """
        return self.token_at(position(items[self.size - 1])) if len(items) > self.size else ""

    def token_at(self, position: object) -> str:
        """Return the token of the page that begins at a position."""
        body = json.dumps(
            [self.fingerprint, self.model_version, position], separators=(",", ":")
        ).encode()
        return base64.urlsafe_b64encode(_checksum(body) + body).decode().rstrip("=")


def invalid_token() -> errors.InvalidArgument:
    """Return the error for a token that this service did not make."""
    return errors.InvalidArgument(
        "page_token: this is no token that this service gave out.", field="page_token"
    )


def _fingerprint(request: Message, *, without: tuple[str, ...]) -> str:
    """Hash the request without its paging fields, which stays the same from page to page."""
    copy = type(request)()
    copy.CopyFrom(request)
    for name in without:
        copy.ClearField(name)
    # The name is hashed too, because empty requests of two lists serialize alike.
    made = hashlib.sha256(request.DESCRIPTOR.full_name.encode())
    made.update(copy.SerializeToString(deterministic=True))
    return made.hexdigest()[:32]


def _checksum(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()[:_CHECKSUM_BYTES]
