"""Files that survive a crash: replaced atomically, brought onto the disk, hashed."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import os
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from halftone.core import errors
from halftone.core.system import sync

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import BufferedWriter


def subdirectories(directory: Path) -> list[Path]:
    """Return the directories in a directory; none if it does not exist."""
    try:
        return [path for path in directory.iterdir() if path.is_dir()]
    except (FileNotFoundError, NotADirectoryError):
        return []


def files_below(directory: Path) -> list[Path]:
    """Return all files below a directory, sorted, without those that file managers put there."""
    return sorted(
        path for path in directory.rglob("*") if not path.is_dir() and not is_clutter(path.name)
    )


def is_clutter(name: str) -> bool:
    """Return whether a file of this name was put into a folder by a file manager.

    macOS keeps how a folder looks in `.DS_Store`, and on other systems' disks what it knows of
    `1.jpg` in `._1.jpg`.
    """
    return name.startswith("._") or name in {".DS_Store", ".localized", "Thumbs.db", "desktop.ini"}


def walk(directory: Path) -> Iterator[Path]:
    """Yield all files and directories below a directory, unsorted, as they are found.

    Symbolic links to directories are not followed. What cannot be listed is left out.
    """
    waiting = [directory]
    while waiting:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                path = Path(entry.path)
                yield path
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(path)


def sha256(path: Path) -> str:
    """Return a file's SHA-256 hash in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_object(path: Path) -> dict[str, Any]:
    """Return the JSON object that a file holds.

    Raises:
        errors.DataLoss: The file holds something else.
        OSError: The file cannot be read.
    """
    try:
        value = json.loads(path.read_bytes())
    except ValueError as error:
        raise errors.DataLoss(f"{path} is not valid JSON.", reason="FILE_DAMAGED") from error
    if not isinstance(value, dict):
        raise errors.DataLoss(f"{path} does not hold a JSON object.", reason="FILE_DAMAGED")
    return value


def to_json(value: object) -> bytes:
    """Return the bytes of a JSON file that people may look into."""
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def open_beneath(root: Path, inside: Path) -> int:
    """Open a file below a folder for reading, and return its descriptor.

    Each folder on the way is opened from within the one before it, and none may be a link. So
    nobody who can write below the root leads this elsewhere, at whatever moment a folder is swapped
    for a link. Opening a pipe does not wait.

    Args:
        root: The folder, which is trusted.
        inside: The file's path relative to it, without `..`.

    Raises:
        OSError: A part of the path is missing, or a link (ELOOP), or no folder (ENOTDIR).
    """
    *folders, name = inside.parts
    if ".." in inside.parts or inside.is_absolute():
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), str(inside))
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in folders:
            try:
                inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            except NotADirectoryError as error:
                # A link to a folder is no folder either.
                if stat.S_ISLNK(os.stat(part, dir_fd=folder, follow_symlinks=False).st_mode):
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(inside)) from error
                raise
            os.close(folder)
            folder = inner
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    finally:
        os.close(folder)


def with_folders(path: Path) -> Path:
    """Create the missing folders above a file, and return the file's path.

    Raises:
        NotADirectoryError: One of the folders is a file.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise NotADirectoryError(
            errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path.parent)
        ) from error
    return path


def replace_file(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Replace a file durably: readers see the old content or the new, whatever happens.

    Args:
        path: The file.
        content: Its new content.
        mode: Who may read and write it.
    """
    with _replacing(path, mode=mode) as file:
        file.write(content)


def write_output(path: Path, content: bytes) -> None:
    """Write a file that a person asked for: whole, or not at all. Missing folders are created.

    A file that is there stays as it was if the disk is full. A link is followed, and what is no
    file, such as `/dev/stdout`, is written to.

    Raises:
        OSError: It cannot be written; the error names it.
    """
    target = with_folders(path).resolve() if path.is_symlink() else with_folders(path)
    if target.exists() and not target.is_file() and not target.is_dir():
        with _rewrite_errors(path):
            target.write_bytes(content)
        return
    with _rewrite_errors(path):
        replace_file(target, content)


def write_json(path: Path, value: object) -> None:
    """Replace a JSON file durably; see `replace_file`."""
    replace_file(path, to_json(value))


@contextlib.contextmanager
def writing(path: Path, *, for_spreadsheets: bool = False) -> Iterator[TextIO]:
    """Yield a text file to write to. It takes the place of `path` when the block has ended.

    If the block fails, the file is discarded, and a file at `path` stays as it was.

    Args:
        path: The file.
        for_spreadsheets: Whether the file begins with a byte order mark, without which Excel takes
            UTF-8 for another encoding.
    """
    with _replacing(path) as file:
        # CSV files have line ends of their own.
        encoding = "utf-8-sig" if for_spreadsheets else "utf-8"
        text = io.TextIOWrapper(file, encoding=encoding, newline="")
        yield text
        # Whoever opened the file closes it.
        text.detach()


@contextlib.contextmanager
def _replacing(path: Path, *, mode: int = 0o644) -> Iterator[BufferedWriter]:
    with _rewrite_errors(path):
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with _name_full_disk(path), os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            sync(file.fileno())
        # mkstemp makes private files, but other users' processes read models.
        Path(temporary).chmod(mode)
        with _rewrite_errors(path):
            os.replace(temporary, path)  # noqa: PTH105  # `Path.replace`, named as the design names it
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


@contextlib.contextmanager
def _name_full_disk(path: Path) -> Iterator[None]:
    """Let an error about a disk that takes no more bytes name the file; by itself it names none."""
    try:
        yield
    except OSError as error:
        full = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
        if error.filename is None and error.errno in full:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


@contextlib.contextmanager
def _rewrite_errors(path: Path) -> Iterator[None]:
    """Let errors name the file that was asked for, not the temporary one beside it."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def sync_tree(directory: Path) -> None:
    """Bring all files and directories of a tree onto the disk."""
    for path in files_below(directory):
        with path.open("rb") as file:
            sync(file.fileno())
    for path in [directory, *(path for path in directory.rglob("*") if path.is_dir())]:
        sync_directory(path)


def sync_directory(directory: Path) -> None:
    """Bring a directory's entries onto the disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)
