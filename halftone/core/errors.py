"""The exception tree and its one table to gRPC status codes.

    HalftoneError
    ├── InvalidArgument            a field is wrong; names it
    │   └── ImageRejected          the picture cannot be used; says why
    ├── NotFound
    ├── AlreadyExists
    ├── FailedPrecondition         the state forbids it
    │   ├── ModelVersionMismatch   an embedding or a cursor of another model version
    │   └── DataDirectoryError     in use by another process, or written by a newer release
    ├── Unauthenticated            no valid key came with the call
    ├── PermissionDenied           the key, or the record, does not allow it
    ├── ResourceExhausted          full; `retry_after` is set when waiting helps
    │   └── StorageFull            the disk is full; waiting does not help
    ├── Unavailable                draining, or a dependency is down
    ├── DeadlineExceeded
    ├── Cancelled
    ├── DataLoss                   stored data does not match its hash
    └── Internal                   a bug; the text is generic, the log has the trace

Services raise these. `to_status` turns one into a `google.rpc.Status` with the details that
AIP-193 asks for, and `from_status` turns that back into the same class on the client's side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

if TYPE_CHECKING:
    from collections.abc import Iterator

DOMAIN: Final = "halftone"


class HalftoneError(Exception):
    """The base class of all errors that Halftone raises on purpose.

    Attributes:
        message: A sentence for a person.
        reason: A constant in UPPER_SNAKE_CASE for programs, unique within the domain `halftone`.
        metadata: Facts about this occurrence, for programs.
        request_id: The id of the request in which it happened, if known.
    """

    reason = "UNKNOWN"

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        metadata: dict[str, str] | None = None,
        request_id: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        if reason is not None:
            self.reason = reason
        self.metadata = dict(metadata or {})
        self.request_id = request_id


class InvalidArgument(HalftoneError):
    """A field of the request is wrong; `field` is its path, for example `filter.date.start`."""

    reason = "INVALID_ARGUMENT"

    def __init__(
        self,
        message: str,
        *,
        field: str = "",
        reason: str | None = None,
        metadata: dict[str, str] | None = None,
        request_id: str = "",
    ) -> None:
        super().__init__(message, reason=reason, metadata=metadata, request_id=request_id)
        self.field = field


class ImageRejected(InvalidArgument):
    """A picture cannot be used; `reason` is one of the constants of `halftone.imaging.images`."""

    reason = "IMAGE_REJECTED"


class _ResourceError(HalftoneError):
    def __init__(
        self,
        message: str,
        *,
        resource_type: str = "",
        resource_name: str = "",
        reason: str | None = None,
        metadata: dict[str, str] | None = None,
        request_id: str = "",
    ) -> None:
        super().__init__(message, reason=reason, metadata=metadata, request_id=request_id)
        self.resource_type = resource_type
        self.resource_name = resource_name


class NotFound(_ResourceError):
    """The resource `resource_name`, of the kind `resource_type`, does not exist."""

    reason = "NOT_FOUND"


class AlreadyExists(_ResourceError):
    """The resource `resource_name`, of the kind `resource_type`, exists already."""

    reason = "ALREADY_EXISTS"


class FailedPrecondition(HalftoneError):
    """The system is not in the state that the request needs; `subject` names what is in the way."""

    reason = "FAILED_PRECONDITION"

    def __init__(
        self,
        message: str,
        *,
        subject: str = "",
        reason: str | None = None,
        metadata: dict[str, str] | None = None,
        request_id: str = "",
    ) -> None:
        super().__init__(message, reason=reason, metadata=metadata, request_id=request_id)
        self.subject = subject


class ModelVersionMismatch(FailedPrecondition):
    """An embedding or a cursor belongs to another model version than the one that answers."""

    reason = "MODEL_VERSION_MISMATCH"


class DataDirectoryError(FailedPrecondition):
    """The data directory is in use by another process or was written by a newer release."""

    reason = "DATA_DIRECTORY"


class Unauthenticated(HalftoneError):
    """No key came with the call, or one that does not hold."""

    reason = "UNAUTHENTICATED"


class PermissionDenied(HalftoneError):
    """The caller may not do this, or nobody may see it."""

    reason = "PERMISSION_DENIED"


class _RetryableError(HalftoneError):
    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None = None,
        reason: str | None = None,
        metadata: dict[str, str] | None = None,
        request_id: str = "",
    ) -> None:
        super().__init__(message, reason=reason, metadata=metadata, request_id=request_id)
        self.retry_after = retry_after


class ResourceExhausted(_RetryableError):
    """A queue or a quota is full. `retry_after` (seconds) is set when waiting helps."""

    reason = "RESOURCE_EXHAUSTED"


class StorageFull(ResourceExhausted):
    """The disk is full. Nothing was stored; waiting does not help."""

    reason = "STORAGE_FULL"


class Unavailable(_RetryableError):
    """The service is draining or something it depends on is down; try again."""

    reason = "UNAVAILABLE"


class DeadlineExceeded(HalftoneError):
    """The deadline passed before the answer was ready."""

    reason = "DEADLINE_EXCEEDED"


class Cancelled(HalftoneError):
    """The caller gave up."""

    reason = "CANCELLED"


class DataLoss(HalftoneError):
    """Stored data is damaged: a hash does not match."""

    reason = "DATA_LOSS"


class Internal(HalftoneError):
    """A bug. The message is generic on purpose; the service's log has the trace."""

    reason = "INTERNAL"


# The one table between exceptions and status codes, in both directions. The order matters going
# from an exception to its code (the first class it is an instance of); going back, the reason
# picks the subclass.
_CODES: Final[tuple[tuple[type[HalftoneError], grpc.StatusCode], ...]] = (
    (InvalidArgument, grpc.StatusCode.INVALID_ARGUMENT),
    (NotFound, grpc.StatusCode.NOT_FOUND),
    (AlreadyExists, grpc.StatusCode.ALREADY_EXISTS),
    (FailedPrecondition, grpc.StatusCode.FAILED_PRECONDITION),
    (Unauthenticated, grpc.StatusCode.UNAUTHENTICATED),
    (PermissionDenied, grpc.StatusCode.PERMISSION_DENIED),
    (ResourceExhausted, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (Unavailable, grpc.StatusCode.UNAVAILABLE),
    (DeadlineExceeded, grpc.StatusCode.DEADLINE_EXCEEDED),
    (Cancelled, grpc.StatusCode.CANCELLED),
    (DataLoss, grpc.StatusCode.DATA_LOSS),
    (Internal, grpc.StatusCode.INTERNAL),
)
_BY_NUMBER: Final = {code.value[0]: code for _, code in _CODES}
_BY_CODE: Final = {code: cls for cls, code in _CODES}
_SUBCLASSES: Final[tuple[type[HalftoneError], ...]] = (
    ImageRejected,
    ModelVersionMismatch,
    DataDirectoryError,
    StorageFull,
)


def code_of(error: HalftoneError) -> grpc.StatusCode:
    """Return the gRPC status code of an error."""
    for cls, code in _CODES:
        if isinstance(error, cls):
            return code
    return grpc.StatusCode.INTERNAL


def of_code(name: str, *, reason: str = "") -> type[HalftoneError]:
    """Return the error class for a status code's name and a reason; `Internal` if unknown."""
    found = next((cls for cls, code in _CODES if code.name == name), Internal)
    narrower = (cls for cls in _SUBCLASSES if issubclass(cls, found) and cls.reason == reason)
    return next(narrower, found)


def to_status(error: HalftoneError, *, request_id: str = "") -> status_pb2.Status:
    """Return the `google.rpc.Status` of an error, with its details.

    Characters that UTF-8 cannot encode, for example those of a file name in another encoding,
    become question marks.

    Args:
        error: The error to convert.
        request_id: Goes into a `RequestInfo`, so that a report can be matched with the log.
    """
    status = status_pb2.Status(code=code_of(error).value[0], message=_encodable(error.message))
    info = error_details_pb2.ErrorInfo(
        reason=_encodable(error.reason),
        domain=DOMAIN,
        # The class travels too: reasons are open-ended, classes are not.
        metadata={
            **{_encodable(key): _encodable(value) for key, value in error.metadata.items()},
            "class": type(error).__name__,
        },
    )
    status.details.add().Pack(info)
    for detail in _details(error):
        status.details.add().CopyFrom(detail)
    request_id = request_id or error.request_id
    if request_id:
        status.details.add().Pack(error_details_pb2.RequestInfo(request_id=_encodable(request_id)))
    return status


def _encodable(text: str) -> str:
    """Replace what UTF-8 cannot encode, so that protobuf accepts the text."""
    return text.encode("utf-8", "replace").decode()


def _details(error: HalftoneError) -> Iterator[any_pb2.Any]:
    detail = any_pb2.Any()
    message, reason = _encodable(error.message), _encodable(error.reason)
    if isinstance(error, InvalidArgument):
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=_encodable(error.field), description=message, reason=reason
        )
        detail.Pack(error_details_pb2.BadRequest(field_violations=[violation]))
        yield detail
    elif isinstance(error, _ResourceError):
        detail.Pack(
            error_details_pb2.ResourceInfo(
                resource_type=_encodable(error.resource_type),
                resource_name=_encodable(error.resource_name),
                description=message,
            )
        )
        yield detail
    elif isinstance(error, FailedPrecondition):
        violation = error_details_pb2.PreconditionFailure.Violation(
            type=reason, subject=_encodable(error.subject), description=message
        )
        detail.Pack(error_details_pb2.PreconditionFailure(violations=[violation]))
        yield detail
    elif isinstance(error, _RetryableError) and error.retry_after is not None:
        delay = duration_pb2.Duration()
        delay.FromNanoseconds(round(error.retry_after * 1e9))
        detail.Pack(error_details_pb2.RetryInfo(retry_delay=delay))
        yield detail


def from_status(status: status_pb2.Status) -> HalftoneError:
    """Return the error that a status describes; the inverse of `to_status`.

    A status that does not come from Halftone, for example from a proxy, becomes an error of the
    class that belongs to its code.
    """
    code = _BY_NUMBER.get(status.code, grpc.StatusCode.INTERNAL)
    cls = _BY_CODE[code]
    info = error_details_pb2.ErrorInfo()
    fields: dict[str, object] = {}
    for detail in status.details:
        if not detail.Unpack(info):
            fields.update(_fields(detail))
    metadata = dict(info.metadata)
    name = metadata.pop("class", "")
    for subclass in _SUBCLASSES:
        if subclass.__name__ == name and issubclass(subclass, cls):
            cls = subclass
    error = cls(status.message, reason=info.reason or None, metadata=metadata)
    for key, value in fields.items():
        if hasattr(error, key):
            setattr(error, key, value)
    return error


def _fields(detail: any_pb2.Any) -> dict[str, object]:
    """Return the attributes that one detail of a status carries; the inverse of `_details`."""
    bad_request = error_details_pb2.BadRequest()
    if detail.Unpack(bad_request) and bad_request.field_violations:
        return {"field": bad_request.field_violations[0].field}
    resource = error_details_pb2.ResourceInfo()
    if detail.Unpack(resource):
        return {
            "resource_type": resource.resource_type,
            "resource_name": resource.resource_name,
        }
    failure = error_details_pb2.PreconditionFailure()
    if detail.Unpack(failure) and failure.violations:
        return {"subject": failure.violations[0].subject}
    retry = error_details_pb2.RetryInfo()
    if detail.Unpack(retry):
        return {"retry_after": retry.retry_delay.ToNanoseconds() / 1e9}
    request = error_details_pb2.RequestInfo()
    if detail.Unpack(request):
        return {"request_id": request.request_id}
    return {}


def from_rpc_error(error: grpc.RpcError) -> HalftoneError:
    """Return Halftone's error for an error that gRPC raised on the client's side."""
    # Every RpcError that a call raises is a Call as well; the stubs do not say so.
    try:
        status = rpc_status.from_call(cast("grpc.Call", error))
    except ValueError:
        # A proxy changed the code or the text, so that they no longer match the details.
        status = None
    if status is None:
        code = error.code()
        details = error.details() or "no details"
        number = code.value[0] if code in _BY_CODE else code_pb2.INTERNAL
        status = status_pb2.Status(code=number, message=details)
        if code is grpc.StatusCode.UNKNOWN or code not in _BY_CODE:
            status.message = f"{code.name}: {details}"
    return from_status(status)
