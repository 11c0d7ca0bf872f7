"""The files of an import: where they lie, what is unpacked, and which records they make."""

from __future__ import annotations

import secrets
import shutil
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from halftone.archive import sources
from halftone.client import NewImage
from halftone.core import errors, files
from halftone.services.web.answers import unpacking

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from starlette.datastructures import UploadFile

    from halftone.archive.manifests import Row
    from halftone.services.web.answers.unpacking import Bounds

_LONGEST_PATH: Final = 400
_CHUNK: Final = 1 << 20
# What strangers send is not decoded in this process: page scans come in as plain files.
_OPTIONS: Final = sources.Options(opens_pictures=False)


def check_path(name: str) -> PurePosixPath:
    """Return the path of an uploaded file below its import's folder.

    Raises:
        errors.InvalidArgument: It leads out of the folder, or cannot be a path.
    """
    path = PurePosixPath(name.replace("\\", "/").lstrip("/"))
    parts = path.parts
    if (
        not parts
        or len(name) > _LONGEST_PATH
        or any(part in {"..", "."} or len(part.encode()) > 255 for part in parts)  # noqa: PLR2004 - file systems' limit
        or any(ord(letter) < 0x20 for letter in name)  # noqa: PLR2004 - control characters
    ):
        raise errors.InvalidArgument(
            f"{name[:80]!r} cannot be a file's name.", field="files", reason="BAD_FILE_NAME"
        )
    return path


def write(path: Path, file: UploadFile) -> None:
    """Write an uploaded file to a path.

    Raises:
        errors.InvalidArgument: The path leads through a file, or is a folder.
    """
    try:
        with files.with_folders(path).open("wb") as out:
            shutil.copyfileobj(file.file, out, _CHUNK)
    except (NotADirectoryError, IsADirectoryError):
        raise errors.InvalidArgument(
            f"{path.name!r} is both a file and a folder.", field="files", reason="BAD_FILE_NAME"
        ) from None


def list_zips(folder: Path) -> list[Path]:
    """Return the zip files below a folder."""
    return [path for path in files.files_below(folder) if path.suffix.lower() == unpacking.SUFFIX]


def unpack_zip(
    path: Path,
    *,
    bounds: Bounds,
    stop: threading.Event,
    on_member: Callable[[int, int], None],
) -> unpacking.Unpacked:
    """Unpack a zip file beside itself, and remove it.

    `press.zip` becomes the folder `press`, as if that had been dropped.

    Args:
        path: The zip file.
        bounds: How much may come out of it.
        stop: Ends the unpacking when it is set.
        on_member: Called with the number of members that are done, and that of all.

    Returns:
        What came out of it. A zip file that cannot be used as a whole is rejected under its own
        name.

    Raises:
        unpacking.Stopped: `stop` was set.
    """
    # Nothing that is unpacked can be meant for this name.
    packed = path.rename(path.with_name(secrets.token_hex(16)))
    folder = path.with_suffix("")
    try:
        unpacked = unpacking.unpack(
            packed, folder=folder, bounds=bounds, stop=stop, on_member=on_member
        )
    except errors.InvalidArgument as error:
        return unpacking.Unpacked(rejected=[(path.name, error)])
    finally:
        packed.unlink(missing_ok=True)
    _lift_only_folder(folder)
    unpacked.rejected = [(f"{path.name}: {name}", why) for name, why in unpacked.rejected]
    return unpacked


def _lift_only_folder(folder: Path) -> None:
    """Take away a folder that holds all the rest, if it has its parent's name or a manifest.

    A zip file that is made of a folder has that folder in front of each path; one that is made
    inside of it has not. Both shall give the same records.
    """
    inner = list(folder.iterdir()) if folder.is_dir() else []
    if len(inner) != 1 or not inner[0].is_dir():
        return
    only = inner[0]
    if only.name.casefold() == folder.name.casefold() or _has_manifest(only):
        apart = only.rename(folder.with_name(secrets.token_hex(16)))
        folder.rmdir()
        apart.rename(folder)


def read_records(folder: Path, *, archive: str) -> Iterator[Row | NewImage]:
    """Yield the records of the files in an import's folder.

    A folder with a manifest is imported by it, several such folders one after the other. All other
    files become records without metadata, under their paths.

    Args:
        folder: The folder. One that came alone in it, with its own name in front of each path, is
            entered.
        archive: The archive that the records belong to.

    Raises:
        errors.InvalidArgument: A manifest cannot be read.
    """
    inner = [path for path in folder.iterdir() if not files.is_clutter(path.name)]
    if len(inner) == 1 and inner[0].is_dir():
        folder = inner[0]
    if _has_manifest(folder):
        yield from sources.open_source(folder, archive=archive, options=_OPTIONS).rows
        return
    by_manifest = [path for path in sorted(files.subdirectories(folder)) if _has_manifest(path)]
    for path in by_manifest:
        yield from sources.open_source(path, archive=archive, options=_OPTIONS).rows
    others = [
        path
        for path in files.files_below(folder)
        if not any(path.is_relative_to(each) for each in by_manifest)
    ]
    for number, path in enumerate(others, start=1):
        yield NewImage(
            image_id=path.relative_to(folder).as_posix(),
            archive=archive,
            content=path,
            row=number,
        )


def _has_manifest(folder: Path) -> bool:
    return sources.find_kind(folder, opens_pictures=False) is not None
