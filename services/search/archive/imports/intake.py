"""Reads the picture of a record: bytes from the request, or a file below an import root."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from halftone.archive import manifests
from halftone.core import errors, files, wire
from halftone.imaging import images

if TYPE_CHECKING:
    from pathlib import Path

    from halftone.v1 import search_pb2


def read_content(
    request: search_pb2.ImportImagesRequest, *, roots: tuple[Path, ...], limit: int
) -> bytes:
    """Return the bytes of the picture that a request contains or whose path it names.

    Args:
        request: The request.
        roots: The resolved import roots.
        limit: The most bytes that a picture may have.

    Raises:
        errors.InvalidArgument: The request has no bytes and no path, or the path cannot be read.
        errors.ImageRejected: The picture is empty, has more than `limit` bytes, or costs more than
            a picture needs.
    """
    source = request.WhichOneof("source")
    if source is None:
        raise errors.InvalidArgument(
            "source: neither the image's bytes nor a path are given.", field="source"
        )
    content = (
        request.content
        if source == "content"
        else _read_file(request.path, roots=roots, limit=limit)
    )
    if not content:
        raise errors.ImageRejected("The image file is empty.", field=source, reason=images.EMPTY)
    if len(content) > limit:
        raise errors.ImageRejected(
            f"The image {wire.describe_excess(len(content), limit=limit)}.",
            field=source,
            reason=images.TOO_MANY_BYTES,
        )
    # Before the embedder gets it, too.
    images.check(content)
    return content


def _read_file(path: str, *, roots: tuple[Path, ...], limit: int) -> bytes:
    """Read a file below one of the import roots, without following symbolic links."""
    if not roots:
        raise errors.InvalidArgument(
            "path: this server takes no paths; send the image's bytes.", field="path"
        )
    root, located = _find(path, roots=roots)
    try:
        # The file, or a folder on the way, may be replaced after the check.
        descriptor = files.open_beneath(root, located.relative_to(root))
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise errors.InvalidArgument(f"path: {path!r} is not a file.", field="path")
            return file.read(limit + 1)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise errors.InvalidArgument(
                f"path: {path!r} leads through a symbolic link.",
                field="path",
                reason="SYMBOLIC_LINK",
            ) from error
        raise errors.InvalidArgument(
            f"path: {path!r} cannot be read: {error.strerror}.", field="path"
        ) from error


def _find(path: str, *, roots: tuple[Path, ...]) -> tuple[Path, Path]:
    """Return the first root that has a file, and the file's path.

    An absolute path is returned as it is.
    """
    refused: list[errors.InvalidArgument] = []
    for root in roots:
        try:
            return root, manifests.file_below(root, relative=path, field="path")
        except errors.InvalidArgument as error:
            refused.append(error)
    # An error about an unusable file is more helpful than one about a root without the file.
    elsewhere = {"MISSING_FILE", "OUTSIDE_FOLDER"}
    raise min(refused, key=lambda error: error.reason in elsewhere)
