"""Reads XML that may come from anyone, within bounds.

Descriptions need no document types, so a file that has one with declarations is refused before any
entity could grow: neither billion laughs nor external entities are ever expanded or fetched. What
is left is size: bytes, elements and their attributes, depth, and the length of one tag are all
bounded while the file is read, so that 100 MB of nested tags end after a few hundred of them.

The parser is expat, which comes with Python. See docs/decisions.md 200.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final
from xml.etree.ElementTree import (
    Element,
    TreeBuilder,
)
from xml.parsers import expat

from halftone.core import errors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

MAX_BYTES: Final = 64 * 1024 * 1024
"""Larger files are refused: the METS file of a thick issue has 20 MB."""
MAX_NODES: Final = 2_000_000
"""The most elements and attributes together: a broadsheet's ALTO has 400,000."""
MAX_DEPTH: Final = 100
"""The most elements within each other: METS needs about 25."""
MAX_ATTRIBUTES: Final = 200
"""The most attributes of an element."""
_MAX_TAG: Final = 4 * 1024 * 1024
"""The longest tag in bytes: a polygon's points are in an attribute."""
_LARGEST: Final = 10_000_000  # of a page's side, in any unit
_CHUNK: Final = 256 * 1024

UNREADABLE: Final = "UNREADABLE_XML"
TOO_LARGE: Final = "XML_TOO_LARGE"
FORBIDDEN: Final = "XML_FORBIDDEN"


def read(path: Path, *, max_nodes: int = MAX_NODES) -> Element:
    """Return the root element of a file; names of elements and attributes have no namespace.

    Args:
        path: The file.
        max_nodes: The most elements and attributes together.

    Raises:
        errors.InvalidArgument: The file cannot be read, is no XML (`UNREADABLE_XML`), declares a
            document type with entities or other declarations (`XML_FORBIDDEN`), or has more of
            something than is allowed (`XML_TOO_LARGE`).
    """
    builder = _Builder(path, max_nodes=max_nodes)
    with _opening(path) as file:
        return builder.read(file)


def find_root(path: Path) -> str:
    """Return the name of a file's root element, without namespace; empty if it is no XML.

    Only the file's beginning is read.
    """
    try:
        with _opening(path) as file:
            return _Builder(path).find_root(file.read(_CHUNK))
    except errors.InvalidArgument:
        return ""


@contextlib.contextmanager
def _opening(path: Path) -> Iterator[BinaryIO]:
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise errors.InvalidArgument(
            f"{path} cannot be read: {error.strerror or error}.", field="path", reason=UNREADABLE
        ) from error


class _FoundRootError(Exception):
    """Ends the parsing at the first element."""


class _Builder:
    """Builds the tree of one file.

    Args:
        path: The file's path, for errors.
        max_nodes: The most elements and attributes together.
    """

    def __init__(self, path: Path, *, max_nodes: int = MAX_NODES) -> None:
        self._max_nodes = max_nodes
        self._path = path
        self._tree = TreeBuilder()
        self._root = ""
        self._only_root = False
        self._nodes = 0
        self._depth = 0
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._tree.data
        parser.StartDoctypeDeclHandler = self._start_doctype
        parser.EntityDeclHandler = self._refuse_declaration
        parser.AttlistDeclHandler = self._refuse_declaration
        parser.ElementDeclHandler = self._refuse_declaration
        parser.NotationDeclHandler = self._refuse_declaration
        parser.UnparsedEntityDeclHandler = self._refuse_declaration
        parser.ExternalEntityRefHandler = self._refuse_declaration
        parser.SkippedEntityHandler = self._refuse_declaration
        self._parser = parser

    def read(self, file: BinaryIO) -> Element:
        size = 0
        try:
            while chunk := file.read(_CHUNK):
                size += len(chunk)
                if size > MAX_BYTES:
                    raise self._too_large(f"{MAX_BYTES // 2**20} MiB")
                self._parser.Parse(chunk)
                # expat keeps a tag until its end has come, and looks for it again each time.
                if size - max(0, self._parser.CurrentByteIndex) > _MAX_TAG + _CHUNK:
                    raise self._too_large(f"{_MAX_TAG // 2**20} MiB in one tag")
            self._parser.Parse(b"", True)  # noqa: FBT003 - expat takes it by position only
        except (expat.ExpatError, ValueError, LookupError) as error:
            raise errors.InvalidArgument(
                f"{self._path} is no XML that can be read: {error}.",
                field="path",
                reason=UNREADABLE,
            ) from error
        return self._tree.close()

    def find_root(self, beginning: bytes) -> str:
        self._only_root = True
        with contextlib.suppress(expat.ExpatError, ValueError, LookupError, _FoundRootError):
            self._parser.Parse(beginning)
        return self._root

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if self._only_root:
            self._root = _strip_prefix(name)
            raise _FoundRootError
        self._depth += 1
        self._nodes += 1 + len(attributes)
        if self._depth > MAX_DEPTH:
            raise self._too_large(f"{MAX_DEPTH} elements within each other")
        if len(attributes) > MAX_ATTRIBUTES:
            raise self._too_large(f"{MAX_ATTRIBUTES} attributes of an element")
        if self._nodes > self._max_nodes:
            raise self._too_large(f"{self._max_nodes:,} elements and attributes")
        self._tree.start(
            _strip_prefix(name),
            {
                _strip_prefix(key): value
                for key, value in attributes.items()
                if not key.startswith("xmlns")
            },
        )

    def _end(self, name: str) -> None:
        self._depth -= 1
        self._tree.end(_strip_prefix(name))

    def _start_doctype(
        self, _name: str, _system: str | None, _public: str | None, has_internal: int
    ) -> None:
        # One that only names its schema is harmless: nothing is fetched.
        if has_internal:
            self._refuse_declaration()

    def _refuse_declaration(self, *_: object) -> int:
        if self._only_root:
            return 1  # what kind of file it would be; `read` refuses it
        raise errors.InvalidArgument(
            f"{self._path} declares entities or a document type of its own, which descriptions of "
            "pages do not need and which may be an attack. It is not read.",
            field="path",
            reason=FORBIDDEN,
        )

    def _too_large(self, limit: str) -> errors.InvalidArgument:
        return errors.InvalidArgument(
            f"{self._path} has more than {limit}; no description of pages needs that much.",
            field="path",
            reason=TOO_LARGE,
        )


def _strip_prefix(name: str) -> str:
    # Prefixes are not resolved: many files use ones that they never declare.
    return name.rpartition(":")[2]


def read_text(element: Element | None) -> str:
    """Return all text within an element, with single blanks; empty for None."""
    return "" if element is None else " ".join("".join(element.itertext()).split())


def parse_number(text: str | None) -> float | None:
    """Return a number of an attribute; None if there is none, or none that is finite."""
    try:
        value = float((text or "").strip().replace(",", "."))
    except ValueError:
        return None
    return value if abs(value) < 1e9 else None  # noqa: PLR2004 - also false for NaN


def parse_size(width: float | None, height: float | None) -> tuple[float, float] | None:
    """Return a width and a height; None if one is missing, or is none that a page can have."""
    if width is None or height is None:
        return None
    return (width, height) if min(width, height) >= 1 and max(width, height) <= _LARGEST else None


def parse_points(text: str | None) -> list[tuple[float, float]]:
    """Return the points of a polygon: `x,y x,y` or `x y x y`; none if they make no pairs."""
    numbers = [parse_number(part) for part in (text or "").replace(",", " ").split()]
    if len(numbers) % 2 or None in numbers:
        return []
    values = [number for number in numbers if number is not None]
    return list(zip(values[::2], values[1::2], strict=True))
