"""The one table from errors to HTTP statuses."""

from __future__ import annotations

from typing import Final

from halftone.core import errors

_BY_REASON: Final = {
    "FORM_TOKEN": 403,
    "FOREIGN_ORIGIN": 403,
    "UNKNOWN_HOST": 421,
    "TOO_MANY_BYTES": 413,
    "STALLED": 408,
    "STORAGE_FULL": 507,
}
_BY_CLASS: Final = (
    (errors.InvalidArgument, 400),
    (errors.PermissionDenied, 403),
    (errors.NotFound, 404),
    (errors.AlreadyExists, 409),
    (errors.FailedPrecondition, 409),
    (errors.ResourceExhausted, 429),
    (errors.Unavailable, 503),
    (errors.DeadlineExceeded, 504),
    (errors.Cancelled, 503),
)


def find_status(error: errors.HalftoneError) -> int:
    """Return the HTTP status of an error."""
    if error.reason in _BY_REASON:
        return _BY_REASON[error.reason]
    return next((status for kind, status in _BY_CLASS if isinstance(error, kind)), 500)
