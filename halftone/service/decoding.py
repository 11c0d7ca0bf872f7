"""Turns a message that cannot be decoded into a value, which ends its call like a wrong request.

gRPC decodes a message before a servicer sees it. What its decoder raises becomes UNKNOWN or
INTERNAL with a traceback in the log, and ends a stream for good. Here the decoder returns an
`Undecodable` instead, which the server's interceptor refuses with INVALID_ARGUMENT.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from halftone.core import errors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    Behavior = TypeVar("Behavior", bound=Callable[..., Any])

UNDECODABLE: Final = "UNDECODABLE"
"""The reason of the error for a message that cannot be decoded."""
_MARK: Final = "takes_undecodable"


@dataclass(frozen=True, slots=True)
class Undecodable:
    """A message that cannot be decoded.

    Attributes:
        size: Its bytes.
    """

    size: int

    def to_error(self) -> errors.InvalidArgument:
        """Return the error with which the message is refused."""
        return errors.InvalidArgument(
            f"A message of {self.size:,} bytes cannot be decoded as this method's request.",
            reason=UNDECODABLE,
        )


def takes_undecodable(behavior: Behavior) -> Behavior:
    """Mark a method whose stream of requests may hold values of `Undecodable`.

    The streams of other methods end at the first one.
    """
    setattr(behavior, _MARK, True)
    return behavior


def make_tolerant(decode: Callable[[bytes], Any] | None) -> Callable[[bytes], Any] | None:
    """Return a decoder that returns an `Undecodable` instead of raising."""
    if decode is None:
        return None

    def decode_or_tell(content: bytes) -> Any:
        try:
            return decode(content)
        except Exception:  # noqa: BLE001 - whatever it is, the message is to blame
            return Undecodable(len(content))

    return decode_or_tell


def check_decoded(request: Any, *, behavior: Callable[..., Any]) -> Any:
    """Return a request, or the stream of requests, for the method that answers it.

    Args:
        request: The decoded request, or an asynchronous iterator over them.
        behavior: The method.

    Raises:
        errors.InvalidArgument: The request could not be decoded. For a stream, its iterator raises
            this.
    """
    if isinstance(request, Undecodable):
        raise request.to_error()
    if hasattr(request, "__anext__") and not getattr(behavior, _MARK, False):
        return _check_each(request)
    return request


async def _check_each(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for request in requests:
        if isinstance(request, Undecodable):
            raise request.to_error()
        yield request
