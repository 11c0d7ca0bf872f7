"""Translates failures of a Qdrant server to Halftone's errors."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Final

import grpc
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from halftone.core import errors

if TYPE_CHECKING:
    from collections.abc import Iterator

_BUGS: Final = frozenset(
    {
        # Wrong input, a bad request, what strict mode forbids.
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.ALREADY_EXISTS,
        # A message that is larger than the server reads.
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)
"""Status codes that blame the request; see `to_error`."""

_FULL: Final = ("no space left", "disk is full", "insufficient storage")
_QUOTED: Final = 300
"""Characters of the server's own text that an error quotes."""
_SERVER: Final = "The Qdrant server"

NO_ANSWER: Final = "STORE_DOES_NOT_ANSWER"
"""The reason of the error when a call ran into its deadline."""
_LOCAL_NOT_FOUND: Final = re.compile(r"Collection \S+ not found")


@contextlib.contextmanager
def translate_errors(server: str = _SERVER) -> Iterator[None]:
    """Run a `with` block and raise its errors of `qdrant-client`, gRPC and HTTP as Halftone's.

    Args:
        server: Who is asked, with its address, as the subject of a sentence.

    Raises:
        errors.HalftoneError: The call failed; see `to_error`.
    """
    try:
        yield
    except errors.HalftoneError:
        raise
    except ResourceExhaustedResponse as error:
        raise errors.ResourceExhausted(
            f"{server} is full.", retry_after=float(error.retry_after_s)
        ) from error
    except (grpc.RpcError, UnexpectedResponse, ResponseHandlingException, OSError) as error:
        raise to_error(error, server=server) from error
    except ValueError as error:
        # The client's local mode has no status codes.
        if not _LOCAL_NOT_FOUND.fullmatch(str(error)):
            raise
        raise errors.NotFound(f"{error}.", resource_type="collection") from error


def to_error(error: Exception, *, server: str = _SERVER) -> errors.HalftoneError:
    """Return Halftone's error for a failed call.

    What Qdrant means by a code is in its `StorageError` and `CollectionError`:

    ==================== ==================================================== ====================
    code                 means                                                becomes
    ==================== ==================================================== ====================
    INVALID_ARGUMENT     the request is wrong, or strict mode forbids it      INTERNAL: our bug
    ALREADY_EXISTS       a collection of that name exists                     INTERNAL: our bug
    OUT_OF_RANGE         the message is too large                             INTERNAL: our bug
    UNIMPLEMENTED        no such method, or not without a cluster             INTERNAL: our bug
    NOT_FOUND            no such collection: another process dropped it       NOT_FOUND
    RESOURCE_EXHAUSTED   too many requests; or too little room                itself; STORAGE_FULL
    INTERNAL             a node or its replicas do not answer, a disk fails,  UNAVAILABLE
                         memory runs out, an operation was cancelled
    FAILED_PRECONDITION  locked, no active replica, a shard is being moved    UNAVAILABLE
    DEADLINE_EXCEEDED    our deadline, or the server's own timeout            UNAVAILABLE
    UNAUTHENTICATED,     the key is wrong                                     UNAVAILABLE
    PERMISSION_DENIED
    anything else        the connection, a proxy                              UNAVAILABLE
    ==================== ==================================================== ====================

    Only what blames the request is final. Everything else passes when the server, the disk or the
    settings are mended, so the work is to be tried again and no record is to blame.

    Args:
        error: The error of the call.
        server: Who was asked, with its address, as the subject of a sentence.
    """
    code = error.code() if isinstance(error, grpc.Call) else None
    text = (error.details() if isinstance(error, grpc.Call) else str(error)) or "no details"
    quoted = text[:_QUOTED]
    if any(words in text.lower() for words in _FULL):
        return errors.StorageFull(
            "The disk of the Qdrant server is full; what was acknowledged is safe, the rest was "
            f"not stored. {server} says: {quoted}"
        )
    match code:
        case grpc.StatusCode.RESOURCE_EXHAUSTED:
            made: errors.HalftoneError = errors.ResourceExhausted(
                f"{server} is full: {quoted}", retry_after=1.0
            )
        case grpc.StatusCode.NOT_FOUND:
            made = errors.NotFound(
                f"{server} has no such collection: {quoted}", resource_type="collection"
            )
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            made = errors.Unavailable(
                f"{server} did not answer in time: {quoted}", reason=NO_ANSWER, retry_after=1.0
            )
        case grpc.StatusCode.UNAUTHENTICATED | grpc.StatusCode.PERMISSION_DENIED:
            made = errors.Unavailable(
                f"{server} does not accept the key in HALFTONE_SEARCH_QDRANT_API_KEY: {quoted}",
                reason="STORE_REFUSES_KEY",
                retry_after=1.0,
            )
        case _ if code in _BUGS:
            made = errors.Internal(f"{server} refused a request: {text[:500]}")
        case _:
            made = errors.Unavailable(f"{server} cannot do this now: {quoted}", retry_after=1.0)
    return made
