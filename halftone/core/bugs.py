"""Decides what a caller may be told of an error."""

from __future__ import annotations

from halftone.core import errors, telemetry

_log = telemetry.get_logger(__name__)


def conceal_bug(error: Exception, **facts: str) -> errors.HalftoneError:
    """Return the error that a caller may see.

    An error that was raised on purpose is returned as it is. Any other error is a bug: its trace is
    logged, and the caller gets INTERNAL with the id of the request, under which the log has the
    trace.

    Args:
        error: The error that was raised.
        facts: Further facts to log beside the trace.
    """
    if isinstance(error, errors.HalftoneError) and not isinstance(error, errors.Internal):
        return error
    _log.error("failed", exc_info=error, **facts)
    request_id = telemetry.request_id()
    return errors.Internal(
        f"Something went wrong. The log has it under {request_id}.", request_id=request_id
    )
