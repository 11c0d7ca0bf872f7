"""Opens whatever holds records to import, and gives their rows.

Import, training and evaluation read archives by `open_source`, so that all of them read the same.
`source` says what a source gives; each other module opens one kind of it. A new kind is a `Kind`
in `KINDS`, the more particular ones first: a manifest is what is left. Nothing here talks to a
service, and no picture is opened before its content is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from halftone.archive.sources import bagit
from halftone.archive.sources.chronicling import CHRONICLING
from halftone.archive.sources.iiif import IIIF
from halftone.archive.sources.manifest import MANIFEST
from halftone.archive.sources.omeka import OMEKA
from halftone.archive.sources.pages import PAGES as PAGES
from halftone.archive.sources.source import Kind as Kind
from halftone.archive.sources.source import Layout as Layout
from halftone.archive.sources.source import Options as Options
from halftone.archive.sources.source import PageOptions as PageOptions
from halftone.archive.sources.source import Source as Source
from halftone.archive.sources.tropy import TROPY
from halftone.core import errors

if TYPE_CHECKING:
    from pathlib import Path


def find_kind(path: Path, *, opens_pictures: bool = True) -> Kind | None:
    """Return the kind of source that a file or folder is; None if it is none.

    Args:
        path: The file or folder.
        opens_pictures: Whether pictures may be decoded in this process, see `Options`.
    """
    kinds = (kind for kind in KINDS if opens_pictures or not kind.opens_pictures)
    return next((kind for kind in kinds if kind.recognise(path)), None)


def open_source(path: Path, *, archive: str, options: Options | None = None) -> Source:
    """Open a source of records.

    Args:
        path: A file or a folder, of any kind of `KINDS`.
        archive: The archive that the records belong to.
        options: How it is to be read.

    Returns:
        The source. Its rows are read while they are gone through.

    Raises:
        errors.InvalidArgument: The source as a whole cannot be used. Raised before the first row.
    """
    options = options or Options()
    if options.kind is not None:
        kind = next((kind for kind in KINDS if kind.name == options.kind), None)
        if kind is None:
            names = ", ".join(kind.name for kind in KINDS)
            raise errors.InvalidArgument(
                f"{options.kind!r} is no kind of source; there are: {names}.", field="kind"
            )
    else:
        found = find_kind(path, opens_pictures=options.opens_pictures)
        kind = PAGES if options.pages is not None else found or MANIFEST
    return kind.open(path, archive=archive, options=options)


KINDS: Final[tuple[Kind, ...]] = (
    *(bagit.make_kind(open_source), OMEKA, TROPY, IIIF, CHRONICLING),
    *(MANIFEST, PAGES),
)
"""The kinds of sources, in the order in which they are tried."""
