"""Unpacks zip files that strangers made: nothing leaves the folder, and all is bounded.

What a zip file says of itself is not trusted. Its list of members is bounded while it is read, the
sizes that it declares are added up before anything is unpacked, and no member gets more bytes than
it declared. A member that cannot be used is rejected with its reason, the others are unpacked.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import stat
import struct
import zipfile
import zlib
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Final, cast

from halftone.core import errors, files, wire

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator
    from pathlib import Path

SUFFIX: Final = ".zip"
_SIGNATURES: Final = (b"PK\x03\x04", b"PK\x05\x06")
_LONGEST_PATH: Final = 400
_LONGEST_PART: Final = 255  # bytes, what file systems take
_CHUNK: Final = 1 << 18
# Each member's entry in the list has 46 bytes and its name. Twice what names usually need.
_LISTED_BYTES: Final = 256
# The list stands at the end, behind it a comment of up to 64 KiB, which is read to find the list.
_END_BYTES: Final = 1 << 18
# Scans hardly shrink, tables of text by a factor of ten, a blank page by a few hundred. Deflate
# reaches 1,032.
_MOST_RATIO: Final = 200
_RATIO_FREE_BYTES: Final = 16 << 20
_ENCRYPTED: Final = 0x1
_UTF8: Final = 0x800
_METHODS: Final = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_CLUTTER_FOLDER: Final = "__MACOSX"


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """How much may come out of a zip file.

    Attributes:
        members: The most files.
        bytes: The most bytes of all files.
        member_bytes: The most bytes of one file.
    """

    members: int
    bytes: int
    member_bytes: int


@dataclass(kw_only=True)
class Unpacked:
    """What came out of a zip file.

    Attributes:
        files: The number of files.
        bytes: Their bytes.
        rejected: The members that were not unpacked, by name, each with the reason.
    """

    files: int = 0
    bytes: int = 0
    rejected: list[tuple[str, errors.InvalidArgument]] = field(default_factory=list)


class Stopped(Exception):  # noqa: N818 - it is no error: somebody asked for it
    """The unpacking was stopped from outside."""


def unpack(
    path: Path,
    *,
    folder: Path,
    bounds: Bounds,
    stop: threading.Event | None = None,
    on_member: Callable[[int, int], None] = lambda _done, _total: None,
) -> Unpacked:
    """Unpack a zip file into a folder.

    Files that macOS adds to zip files and folders are left out without a word.

    Args:
        path: The zip file.
        folder: The folder; files that it has already stay, and members of their names are rejected.
        bounds: How much may come out of it.
        stop: Ends the unpacking when it is set.
        on_member: Called with the number of members that are done, and that of all.

    Raises:
        errors.InvalidArgument: It is no zip file, is damaged, or holds too much. Nothing was
            unpacked then.
        Stopped: `stop` was set.
        errors.StorageFull: The disk is full.
        OSError: The folder cannot be written to.
    """
    with contextlib.ExitStack() as opened:
        file = opened.enter_context(path.open("rb"))
        try:
            archive = opened.enter_context(_open(file, members=bounds.members))
        except _READ_ERRORS as error:
            raise _refuse("This is no zip file, or it is damaged.", reason="ZIP_DAMAGED") from error
        unpacked = Unpacked()
        members = _choose_members(archive, bounds=bounds, rejected=unpacked.rejected)
        _check_total(members, bounds=bounds, packed_bytes=path.stat().st_size)
        for number, (name, info) in enumerate(members):
            on_member(number, len(members))
            try:
                unpacked.bytes += _write(archive, info, folder / name, stop=stop)
                unpacked.files += 1
            except errors.InvalidArgument as error:
                unpacked.rejected.append((name, error))
        on_member(len(members), len(members))
    return unpacked


class _Metered:
    """A file of which only so many bytes may be read until `lift` is called.

    `zipfile` reads the list of members at once, however long the file says that it is.
    """

    def __init__(self, file: IO[bytes], *, allowed: int) -> None:
        self._file = file
        self._left: int | None = allowed

    def lift(self) -> None:
        """Let further reads be as long as they like."""
        self._left = None

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes.

        Raises:
            errors.InvalidArgument: These would be too many.
        """
        if self._left is None:
            return self._file.read(size)
        # What the file does not have is not read, whatever it says.
        content = self._file.read(self._left + 1 if size < 0 else min(size, self._left + 1))
        if len(content) > self._left:
            raise _refuse_members()
        self._left -= len(content)
        return content

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


# `zipfile` trusts offsets and sizes, and meets what comes of it in its own ways: seeks that fail,
# structures that are cut off, numbers that are too large.
_READ_ERRORS: Final = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    RuntimeError,
    ValueError,
    OverflowError,
    EOFError,
    IndexError,
    OSError,
)


def _open(file: IO[bytes], *, members: int) -> zipfile.ZipFile:
    """Open a zip file whose list of members is bounded."""
    metered = _Metered(file, allowed=members * _LISTED_BYTES + _END_BYTES)
    archive = zipfile.ZipFile(cast("IO[bytes]", metered))
    metered.lift()
    return archive


def _choose_members(
    archive: zipfile.ZipFile,
    *,
    bounds: Bounds,
    rejected: list[tuple[str, errors.InvalidArgument]],
) -> list[tuple[str, zipfile.ZipInfo]]:
    """Return the members that can be unpacked, by name; the others go to `rejected`.

    Raises:
        errors.InvalidArgument: There are too many members, or none.
    """
    members: list[tuple[str, zipfile.ZipInfo]] = []
    for info in archive.infolist():
        name = _find_name(info)
        if info.is_dir() or name.endswith("/") or _is_clutter(name):
            continue
        if len(members) + len(rejected) >= bounds.members:
            raise _refuse_members()
        try:
            _check_member(name, info, bounds=bounds)
        except errors.InvalidArgument as error:
            rejected.append((name, error))
        else:
            members.append((name, info))
    if not members and not rejected:
        raise _refuse("This zip file holds no files.", reason="ZIP_EMPTY")
    return members


def _check_total(
    members: list[tuple[str, zipfile.ZipInfo]], *, bounds: Bounds, packed_bytes: int
) -> None:
    """Check what all members together declare, which is the most that is unpacked of them."""
    total = sum(info.file_size for _, info in members)
    if total > bounds.bytes:
        raise _refuse(
            f"This zip file holds {total / 2**20:,.0f} MiB, and there is room for "
            f"{max(0, bounds.bytes) / 2**20:,.0f} MiB.",
            reason="ZIP_TOO_LARGE",
        )
    # Members may share their packed bytes, so that each of them grows as little as it may.
    if total > max(packed_bytes * _MOST_RATIO, _RATIO_FREE_BYTES):
        raise _refuse(
            f"This zip file would grow to more than {_MOST_RATIO} times its size, which pictures "
            "do not.",
            reason="ZIP_RATIO",
        )


def _check_member(name: str, info: zipfile.ZipInfo, *, bounds: Bounds) -> None:
    """Check what the list of members says of one.

    Raises:
        errors.InvalidArgument: The member cannot be used.
    """
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind and not stat.S_ISREG(kind):
        raise _refuse("It is a link or a device and no file.", reason="ZIP_LINK")
    if _leads_out(name) or "\0" in info.orig_filename:
        raise _refuse(
            "Its name leads out of the zip file, or cannot be a file's name.", reason="ZIP_NAME"
        )
    if info.flag_bits & _ENCRYPTED:
        raise _refuse("It is protected by a password.", reason="ZIP_ENCRYPTED")
    if name.lower().endswith(SUFFIX):
        raise _refuse_nested()
    if info.compress_type not in _METHODS:
        raise _refuse(
            "It is packed in a way that is not read here. Pack it with the usual settings.",
            reason="ZIP_METHOD",
        )
    if info.file_size > bounds.member_bytes:
        raise _refuse(
            f"It {wire.describe_excess(info.file_size, limit=bounds.member_bytes)}.",
            reason="TOO_MANY_BYTES",
        )
    if info.file_size > max(info.compress_size * _MOST_RATIO, _RATIO_FREE_BYTES):
        raise _refuse(
            f"It would grow to more than {_MOST_RATIO} times its packed size, which pictures do "
            "not.",
            reason="ZIP_RATIO",
        )


def _leads_out(name: str) -> bool:
    # Windows' `C:` is a drive at the beginning, and a stream of a file elsewhere.
    parts = name.split("/")
    return (
        not name
        or name.startswith("/")
        or len(name) > _LONGEST_PATH
        or parts[0].endswith(":")
        or any(part in {"", ".", ".."} or len(part.encode()) > _LONGEST_PART for part in parts)
        or any(letter < " " or letter == "\x7f" for letter in name)
    )


def _find_name(info: zipfile.ZipInfo) -> str:
    """Return a member's name with slashes.

    A name is in UTF-8 where a flag says so, and in the alphabet of old PCs otherwise. macOS writes
    UTF-8 without the flag, which by chance hardly any other name is.
    """
    name = info.filename
    if not info.flag_bits & _UTF8 and not name.isascii():
        with contextlib.suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")
    name = name.replace("\\", "/")
    return name.encode("utf-8", "replace").decode()


def _is_clutter(name: str) -> bool:
    parts = name.split("/")
    return _CLUTTER_FOLDER in parts[:-1] or files.is_clutter(parts[-1])


def _write(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path, *, stop: threading.Event | None
) -> int:
    """Unpack a member into a new file and return its bytes; what fails leaves no file."""
    chunks = _read(archive, info)
    # A member that cannot be opened makes no folders.
    first = next(chunks, b"")
    written = 0
    with _creating(target) as out:
        for chunk in itertools.chain([first], chunks):
            if stop is not None and stop.is_set():
                raise Stopped
            out.write(chunk)
            written += len(chunk)
        if written != info.file_size:
            raise _refuse_damaged()
    return written


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    """Yield a member's content; never more than the list of members says that it has.

    Raises:
        errors.InvalidArgument: It is damaged, or a zip file itself.
    """
    try:
        with archive.open(info) as packed:
            chunk = packed.read(_CHUNK)
            if chunk.startswith(_SIGNATURES):
                raise _refuse_nested()
            while chunk:
                yield chunk
                chunk = packed.read(_CHUNK)
    except _READ_ERRORS as error:
        raise _refuse_damaged() from error


@contextlib.contextmanager
def _creating(target: Path) -> Iterator[IO[bytes]]:
    """Yield a new file, which is removed if the block fails."""
    try:
        out = files.with_folders(target).open("xb")
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise _refuse(
            "There is another file or folder of this name.", reason="ZIP_DUPLICATE"
        ) from None
    try:
        with out:
            yield out
    except OSError as error:
        target.unlink(missing_ok=True)
        if error.errno == errno.ENOSPC:
            raise errors.StorageFull("The disk of this page is full.") from error
        raise
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def _refuse(message: str, *, reason: str) -> errors.InvalidArgument:
    return errors.InvalidArgument(message, field="files", reason=reason)


def _refuse_damaged() -> errors.InvalidArgument:
    return _refuse(
        "It is damaged: it does not unpack to what the zip file says.",
        reason="ZIP_MEMBER_DAMAGED",
    )


def _refuse_nested() -> errors.InvalidArgument:
    return _refuse(
        "It is a zip file inside a zip file, which is not opened. Unpack it first.",
        reason="ZIP_NESTED",
    )


def _refuse_members() -> errors.InvalidArgument:
    return _refuse(
        "This zip file holds more files than an import takes.", reason="ZIP_TOO_MANY_MEMBERS"
    )
