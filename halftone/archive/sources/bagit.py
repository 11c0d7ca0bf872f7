"""Opens a BagIt bag (RFC 8493): what lies in `data/` is a source, and each file is checked.

A picture whose checksum is not the bag's is rejected, since it is not what was handed over.
"""

from __future__ import annotations

import dataclasses
import hashlib
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from halftone.archive.rows import Row
from halftone.archive.sources.source import Kind, Source
from halftone.core import errors
from halftone.core.spelling import compose, find_spelling

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from halftone.archive.sources.source import Options

_ALGORITHMS: Final = ("sha512", "sha384", "sha256", "sha224", "sha1", "md5")
"""The algorithms of payload manifests that are checked, the strongest first."""
_NAMED: Final = 5


def recognise_bag(path: Path) -> bool:
    """Return whether a path is a folder with a bag's declaration and payload."""
    return (path / "bagit.txt").is_file() and (path / "data").is_dir()


def open_bag(
    path: Path, *, archive: str, options: Options, open_inner: Callable[..., Source]
) -> Source:
    """Open the payload of a bag.

    Args:
        path: The bag.
        archive: The archive that the records belong to.
        options: How the payload is to be read.
        open_inner: Opens the payload as a source; `open_source`.

    Raises:
        errors.InvalidArgument: The bag has no payload manifest that can be checked, what describes
            its pictures is damaged, or the payload is no source.
    """
    sums, algorithm = _read_sums(path)
    inner = path / "data"
    alone = [each for each in inner.iterdir() if not each.name.startswith(".")]
    if len(alone) == 1 and alone[0].is_dir():
        inner = alone[0]
    source = open_inner(inner, archive=archive, options=dataclasses.replace(options, kind=None))
    if source.path.is_file():
        problem = _check(source.path, bag=path, sums=sums, algorithm=algorithm)
        if problem:
            raise errors.InvalidArgument(
                f"{source.path} {problem}.", field="path", reason="CHECKSUM"
            )
    gone = [name for name in sums if not find_spelling(path / name).exists()]
    if gone:
        shown = ", ".join(gone[:_NAMED]) + (" …" if len(gone) > _NAMED else "")
        source.remarks.append(f"The bag is incomplete: {len(gone):,} files are missing: {shown}.")
    rows = _check_rows(source.rows, bag=path, sums=sums, algorithm=algorithm)
    return dataclasses.replace(source, rows=rows)


def make_kind(open_inner: Callable[..., Source]) -> Kind:
    """Return the kind of source that a bag is, whose payload is opened by a function."""

    def open_(path: Path, *, archive: str, options: Options) -> Source:
        return open_bag(path, archive=archive, options=options, open_inner=open_inner)

    return Kind(name="bagit", recognise=recognise_bag, open=open_)


def _read_sums(bag: Path) -> tuple[dict[str, str], str]:
    """Return the payload's checksums by name in normal form C, and their algorithm."""
    for algorithm in _ALGORITHMS:
        path = bag / f"manifest-{algorithm}.txt"
        if path.is_file():
            break
    else:
        raise errors.InvalidArgument(
            f"{bag} is a bag without a payload manifest (manifest-sha512.txt or the like).",
            field="path",
            reason="NO_MANIFEST",
        )
    sums: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8-sig").splitlines():
        digest, _, name = line.strip().partition(" ")
        name = unquote(name.strip().lstrip("*"))
        if digest and name:
            sums[compose(name)] = digest.lower()
    return sums, algorithm


def _check(path: Path, *, bag: Path, sums: dict[str, str], algorithm: str) -> str:
    """Return what is wrong with a file of the payload, or ""."""
    relative = path.resolve().relative_to(bag.resolve()).as_posix()
    expected = sums.get(compose(relative))
    if expected is None:
        return f"is not listed in manifest-{algorithm}.txt of the bag"
    with path.open("rb") as file:
        found = hashlib.file_digest(file, algorithm).hexdigest()
    return "" if found == expected else f"does not have the {algorithm} checksum of the bag"


def _check_rows(
    rows: Iterator[Row], *, bag: Path, sums: dict[str, str], algorithm: str
) -> Iterator[Row]:
    for row in rows:
        problem = ""
        if row.path is not None:
            problem = _check(row.path, bag=bag, sums=sums, algorithm=algorithm)
        if problem:
            error = errors.InvalidArgument(
                f"file: {row.path} {problem}.", field="file", reason="CHECKSUM"
            )
            yield Row(number=row.number, image_id=row.image_id, error=error)
        else:
            yield row
