"""Looks quickly at a folder: whether it holds page scans and descriptions, and about how many."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from halftone.archive.pages import markup
from halftone.core import files
from halftone.imaging.opening import SUFFIXES

if TYPE_CHECKING:
    from pathlib import Path

_ROOTS: Final = frozenset(("mets", "alto", "PcGts"))
_LOOKED_AT: Final = 2_000
"""How many files are looked at before a folder is said to have no descriptions."""
_COUNTED: Final = 40  # descriptions, for an estimate
_READ: Final = 8 << 20  # bytes of each
_BEGINNING: Final = 256 << 10
_ANNOTATIONS: Final = re.compile(
    rb'"@?type"\s*:\s*"(?:sc:)?(?:AnnotationPage|AnnotationList|AnnotationCollection|Manifest)"'
)
_PICTURES: Final = re.compile(
    rb"<(?:\w+:)?(?:Illustration|ImageRegion|GraphicRegion|LineDrawingRegion)\b|"
    rb'TYPE="Illustration"|xywh='
)


def has_descriptions(folder: Path) -> bool:
    """Return whether a folder holds scans and descriptions of pages."""
    has_image = has_description = False
    for count, path in enumerate(files.walk(folder)):
        if count > _LOOKED_AT or (has_image and has_description):
            break
        suffix = path.suffix.lower()
        has_image = has_image or suffix in SUFFIXES
        if has_description or suffix not in {".xml", ".json"} or not path.is_file():
            continue
        if suffix == ".xml":
            has_description = markup.find_root(path) in _ROOTS
        else:
            has_description = _is_annotation(path)
    return has_image and has_description


def _is_annotation(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return _ANNOTATIONS.search(file.read(_BEGINNING)) is not None
    except OSError:
        return False


def count_images(folder: Path) -> int:
    """Return how many files look like scans."""
    return sum(path.suffix.lower() in SUFFIXES for path in files.walk(folder))


def estimate_records(folder: Path) -> int:
    """Return about how many pages and pictures a folder has, by a look at some of its files."""
    paths = [path for path in files.walk(folder) if path.suffix.lower() in {".xml", ".json"}]
    looked_at = paths[:: max(1, len(paths) // _COUNTED)]
    pictures = sum(_count_pictures(path) for path in looked_at)
    return count_images(folder) + round(pictures * len(paths) / max(1, len(looked_at)))


def _count_pictures(path: Path) -> int:
    try:
        with path.open("rb") as file:
            return len(_PICTURES.findall(file.read(_READ)))
    except OSError:
        return 0
