"""The store of image bytes, thumbnails and local features, addressed by the image's SHA-256.

    originals/ab/cd/abcd…           the bytes as they were imported
    thumbnails/ab/cd/abcd….jpg      made from them
    features/ab/cd/abcd….bin        local features, made from them

The store is a directory or an fsspec URL (`s3://bucket/halftone`, with the package that fsspec asks
for). Writing the same bytes again changes nothing.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from halftone.core import errors
from halftone.core.files import replace_file, sync_directory

if TYPE_CHECKING:
    from collections.abc import Iterator

_SHA256: Final = re.compile(r"[0-9a-f]{64}")


class Blobs:
    """A store of images and of files made from them. Its calls block; run them in threads."""

    def __init__(self, url: str) -> None:
        """Create a store in the directory or at the fsspec URL `url`. Nothing is opened yet."""
        self._local = Path(url.removeprefix("file://")) if _is_local(url) else None
        self._url = url
        self._on_disk: set[str] = set()
        self._damaged: set[str] = set()
        self._remote: Any = None

    def put(self, content: bytes, *, sha256: str) -> None:
        """Write an image durably. If other bytes are there, they are replaced.

        Raises:
            errors.StorageFull: The disk is full. Nothing was stored.
        """
        self._put(_original(sha256), content)
        self._damaged.discard(sha256)

    def get(self, sha256: str) -> bytes:
        """Return the bytes of an image.

        Raises:
            errors.NotFound: The image is not in the store.
            errors.DataLoss: The bytes do not match the hash.
        """
        content = self._get(_original(sha256))
        if hashlib.sha256(content).hexdigest() != sha256:
            self._damaged.add(sha256)
            raise errors.DataLoss(
                f"The stored bytes of {sha256} do not match their hash; import the image again."
            )
        return content

    def put_thumbnail(self, content: bytes, *, sha256: str) -> None:
        """Write the thumbnail of an image."""
        self._put(_thumbnail(sha256), content)

    def get_thumbnail(self, sha256: str) -> bytes:
        """Return the thumbnail of an image.

        Raises:
            errors.NotFound: There is no thumbnail.
        """
        return self._get(_thumbnail(sha256))

    def put_features(self, content: bytes, *, sha256: str) -> None:
        """Write the local features of an image. They replace older features of it."""
        self._put(_features(sha256), content)

    def get_features(self, sha256: str) -> bytes:
        """Return the local features of an image.

        Raises:
            errors.NotFound: There are no features.
        """
        return self._get(_features(sha256))

    def has(self, sha256: str) -> bool:
        """Return whether the image is in the store."""
        path = _original(sha256)
        with _translate_errors(path):
            if self._local is not None:
                return (self._local / path).is_file()
            return bool(self._filesystem().exists(self._remote_path(path)))

    def is_intact(self, sha256: str, *, size: int) -> bool:
        """Return whether the image is stored with `size` bytes and not known to be damaged.

        The image is not read: that would cost an import as much as reading its source.
        """
        if sha256 in self._damaged:
            return False
        path = _original(sha256)
        try:
            with _translate_errors(path):
                if self._local is not None:
                    return (self._local / path).stat().st_size == size
                return bool(self._filesystem().info(self._remote_path(path))["size"] == size)
        except errors.NotFound:
            return False

    def delete(self, sha256: str) -> None:
        """Delete an image and the files made from it. Missing files are ignored.

        The image is deleted first, so that a thread that makes a file from it at the same time can
        see that it is gone and delete the file; see `delete_made`.
        """
        self._delete(_original(sha256))
        self.delete_made(sha256)

    def delete_made(self, sha256: str) -> None:
        """Delete the thumbnail and the local features of an image. Missing files are ignored."""
        self._delete(_thumbnail(sha256))
        self._delete(_features(sha256))

    def list_folders(self) -> list[Path]:
        """Return the local folders that hold the pictures; none if a remote store does."""
        return [] if self._local is None else [self._local, self._local / "originals"]

    def _delete(self, path: str) -> None:
        with contextlib.suppress(errors.NotFound), _translate_errors(path):
            if self._local is not None:
                (self._local / path).unlink()
            else:
                self._filesystem().rm_file(self._remote_path(path))

    def _put(self, path: str, content: bytes) -> None:
        if self._local is None:
            # Object stores write whole objects or nothing.
            with _translate_errors(path):
                self._filesystem().pipe_file(self._remote_path(path), content)
            return
        target = self._local / path
        with _translate_errors(path):
            if _holds(target, content):
                return
            target.parent.mkdir(parents=True, exist_ok=True)
            self._sync_parents(self._local, path)
            replace_file(target, content)

    def _sync_parents(self, root: Path, path: str) -> None:
        """Sync the directories that lead to a file, once for each process.

        Includes directories that existed: another thread, or a process that was killed, may have
        just created them.
        """
        shard, kind = path.rsplit("/", 1)[0], path.split("/", 1)[0]
        for inner in (kind, shard.rsplit("/", 1)[0], shard):
            if inner not in self._on_disk:
                sync_directory((root / inner).parent)
                self._on_disk.add(inner)

    def _get(self, path: str) -> bytes:
        with _translate_errors(path):
            if self._local is not None:
                return (self._local / path).read_bytes()
            return bytes(self._filesystem().cat_file(self._remote_path(path)))

    def _filesystem(self) -> Any:
        if self._remote is None:
            # Imported here because only few installations have an object store.
            import fsspec  # noqa: PLC0415

            try:
                self._remote, _ = fsspec.core.url_to_fs(self._url)
            except ImportError as error:
                raise errors.FailedPrecondition(
                    f"{self._url} needs another package: {error}", subject=self._url
                ) from error
        return self._remote

    def _remote_path(self, path: str) -> str:
        return f"{self._url.rstrip('/')}/{path}"


def _is_local(url: str) -> bool:
    return "://" not in url or url.startswith("file://")


def _original(sha256: str) -> str:
    return f"originals/{_shards(sha256)}"


def _thumbnail(sha256: str) -> str:
    return f"thumbnails/{_shards(sha256)}.jpg"


def _features(sha256: str) -> str:
    return f"features/{_shards(sha256)}.bin"


def _shards(sha256: str) -> str:
    if not _SHA256.fullmatch(sha256):
        raise errors.Internal(f"{sha256!r} is not a SHA-256.")
    return f"{sha256[:2]}/{sha256[2:4]}/{sha256}"


def _holds(target: Path, content: bytes) -> bool:
    try:
        return target.stat().st_size == len(content) and target.read_bytes() == content
    except OSError:
        # It is missing, or on a part of the disk that cannot be read any more.
        return False


@contextlib.contextmanager
def _translate_errors(path: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise errors.NotFound(
            f"There is no blob {path}. Import its image again.",
            resource_type="blob",
            resource_name=path,
        ) from error
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            raise errors.StorageFull(
                "The disk of the image store is full; the image was not stored."
            ) from error
        if error.errno == errno.EISDIR:
            # This does not pass, and other pictures can be stored.
            raise errors.DataLoss(
                f"Something is in the way of the blob {path}: {error.strerror}."
            ) from error
        raise errors.Unavailable(
            f"The image store cannot be used: {error.strerror or error}."
        ) from error
    except errors.HalftoneError:
        raise
    except Exception as error:
        # The libraries of remote file systems raise errors of any type.
        raise errors.Unavailable(
            f"The image store cannot be used: {type(error).__name__}: {error}."
        ) from error
