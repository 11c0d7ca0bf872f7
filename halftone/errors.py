"""Names the exceptions that calls raise; `halftone.core.errors` has their tree."""

from halftone.core.errors import (
    AlreadyExists,
    Cancelled,
    DataDirectoryError,
    DataLoss,
    DeadlineExceeded,
    FailedPrecondition,
    HalftoneError,
    ImageRejected,
    Internal,
    InvalidArgument,
    ModelVersionMismatch,
    NotFound,
    ResourceExhausted,
    StorageFull,
    Unavailable,
)

__all__ = [
    "AlreadyExists",
    "Cancelled",
    "DataDirectoryError",
    "DataLoss",
    "DeadlineExceeded",
    "FailedPrecondition",
    "HalftoneError",
    "ImageRejected",
    "Internal",
    "InvalidArgument",
    "ModelVersionMismatch",
    "NotFound",
    "ResourceExhausted",
    "StorageFull",
    "Unavailable",
]
