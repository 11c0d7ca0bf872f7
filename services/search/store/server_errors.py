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
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
    }
)
"""Status codes that blame the request; see `to_error`."""

_LOCAL_NOT_FOUND: Final = re.compile(r"Collection \S+ not found")


@contextlib.contextmanager
def translate_errors() -> Iterator[None]:
    """Run a `with` block and raise its errors of `qdrant-client`, gRPC and HTTP as Halftone's.

    Raises:
        errors.HalftoneError: The call failed; see `to_error`.
    """
    try:
        yield
    except errors.HalftoneError:
        raise
    except ResourceExhaustedResponse as error:
        raise errors.ResourceExhausted(
            "The Qdrant server is full.", retry_after=float(error.retry_after_s)
        ) from error
    except (grpc.RpcError, UnexpectedResponse, ResponseHandlingException, OSError) as error:
        raise to_error(error) from error
    except ValueError as error:
        # The client's local mode has no status codes.
        if not _LOCAL_NOT_FOUND.fullmatch(str(error)):
            raise
        raise errors.NotFound(f"{error}.", resource_type="collection") from error


def to_error(error: Exception) -> errors.HalftoneError:
    """Return Halftone's error for a failed call.

    NOT_FOUND stays: another process has dropped the collection. Other codes that blame the request
    become INTERNAL: the requests are ours, so such a code is a bug. Everything else means that the
    server cannot answer now, and becomes UNAVAILABLE. A cluster that has lost a node answers
    INTERNAL, UNKNOWN or ABORTED, and FAILED_PRECONDITION when too few replicas are left; none of
    these is a fault of the record that was to be stored.
    """
    code = error.code() if isinstance(error, grpc.Call) else None
    text = (error.details() if isinstance(error, grpc.Call) else str(error)) or "no details"
    if "no space left" in text.lower() or "disk is full" in text.lower():
        return errors.StorageFull(
            "The disk of the Qdrant server is full; what was acknowledged is safe, the rest was "
            "not stored."
        )
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return errors.ResourceExhausted("The Qdrant server is full.", retry_after=1.0)
    if code is grpc.StatusCode.NOT_FOUND:
        return errors.NotFound(
            f"The Qdrant server has no such collection: {text[:200]}", resource_type="collection"
        )
    if code in _BUGS:
        return errors.Internal(f"The Qdrant server refused a request: {text[:500]}")
    return errors.Unavailable(
        f"The Qdrant server cannot do this now: {text[:200]}", retry_after=1.0
    )
