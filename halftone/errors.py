"""What calls raise: the public door of `halftone.core.errors`, which has the tree."""

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
