"""Decides what of a picture others may see, by the field `show` of its record.

Every way on which pixels leave an archive asks `check_shown`: thumbnails and parts of pictures, and
through them contact sheets, pages of clusters, overlays and exports. Searching and comparing do
not: they tell what pictures share, and show none of it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from halftone.core import errors
from halftone.v1 import search_pb2

NOT_SHOWN: Final = "NOT_SHOWN"
"""The reason with which pixels are refused."""


class Show(StrEnum):
    """What of a picture others may see."""

    NONE = "none"
    """The record alone."""
    THUMBNAIL = "thumbnail"
    """Thumbnails of at most 512 pixels a side."""
    FULL = "full"
    """All of it in full detail."""


_BY_MESSAGE: Final = {
    search_pb2.Image.NONE: Show.NONE,
    search_pb2.Image.THUMBNAIL: Show.THUMBNAIL,
    search_pb2.Image.FULL: Show.FULL,
}
_TO_MESSAGE: Final = {show: value for value, show in _BY_MESSAGE.items()}
_ORDER: Final = (Show.NONE, Show.THUMBNAIL, Show.FULL)


def find_strictest(*shows: Show) -> Show:
    """Return the value that shows least."""
    return min(shows, key=_ORDER.index)


def check_shown(show: Show, *, wanted: Show, name: str) -> None:
    """Check that pixels of a picture may be given out.

    Args:
        show: What the picture's record allows.
        wanted: What is asked for: a thumbnail, or the picture in full detail.
        name: The record's name, for the message.

    Raises:
        errors.PermissionDenied: The record does not allow it (`NOT_SHOWN`).
    """
    if _ORDER.index(show) >= _ORDER.index(wanted):
        return
    what = "only as a thumbnail" if show is Show.THUMBNAIL else "not at all"
    raise errors.PermissionDenied(
        f"The archive shows the picture of {name} {what}.",
        reason=NOT_SHOWN,
        metadata={"show": show.value, "name": name},
    )


def parse_show(text: str, *, field: str = "show") -> Show:
    """Return the value that a text names, in any case.

    Raises:
        errors.InvalidArgument: It names none.
    """
    try:
        return Show(text.strip().lower())
    except ValueError as error:
        raise errors.InvalidArgument(
            f"{field}: {text[:80]!r} is not one of {', '.join(Show)}.", field=field
        ) from error


def read_show(image: search_pb2.Image) -> Show | None:
    """Return the value of a record's message; None if it is not set.

    A value that only a later release knows counts as `NONE`.
    """
    if image.show == search_pb2.Image.SHOW_UNSPECIFIED:
        return None
    return _BY_MESSAGE.get(image.show, Show.NONE)


def to_message(show: Show) -> search_pb2.Image.Show:
    """Convert a value to that of a record's message."""
    return _TO_MESSAGE[show]
