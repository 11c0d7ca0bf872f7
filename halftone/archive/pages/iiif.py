"""Reads IIIF annotations that name parts of pages by `xywh`.

AnnotationPages (W3C Web Annotation, IIIF Presentation 3), AnnotationLists (Presentation 2), and
either within a manifest. A part is a media fragment, in pixels of the canvas or in percent:
`https://…/canvas/p1#xywh=100,200,300,400`. A fragment without a text, or with a word such as
`photo` as its tag, is a picture; one that supplements the page with its text is text.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from halftone.archive.pages import markup
from halftone.archive.pages.descriptive import Description
from halftone.archive.pages.model import Block, Box, Kind, Page
from halftone.archive.pages.vocabulary import classify, read_date
from halftone.core import errors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAX_BYTES: Final = 64 * 1024 * 1024
_MAX_DEPTH: Final = 20  # collection, manifest, canvas, page, annotation
_FRAGMENT: Final = re.compile(
    r"xywh=(?:(pixel|percent|pct):)?([0-9.]+),([0-9.]+),([0-9.]+),([0-9.]+)"
)
_TEXTUAL: Final = ("supplementing", "transcribing")
_TAGS: Final = ("tagging", "classifying", "identifying")
_HTML: Final = re.compile(r"<[^>]*>")
_PARTS: Final = ("items", "resources", "annotations", "otherContent", "sequences", "canvases")


def is_annotation(document: object) -> bool:
    """Return whether a JSON document is one that `parse` reads."""
    kind = _kind(document)
    return kind in {"annotationpage", "annotationlist", "annotationcollection", "manifest"}


def load(path: Path) -> object:
    """Return a JSON document; None if the file is none.

    Raises:
        errors.InvalidArgument: The file cannot be read or is larger than `MAX_BYTES`.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise errors.InvalidArgument(
                f"{path} has more than {MAX_BYTES // 2**20} MiB.", field="path"
            )
        return json.loads(path.read_bytes())
    except OSError as error:
        raise errors.InvalidArgument(f"{path} cannot be read: {error}.", field="path") from error
    except (ValueError, RecursionError):
        return None


def parse(document: object) -> list[Page]:
    """Return the canvases that have annotations, in the order of the document.

    `image_name` is the last part of the address of the canvas's image, or of the canvas.

    Args:
        document: The document, see `load`.
    """
    reader = _Reader()
    reader.walk(document, canvas="")
    return [
        Page(
            image_name=reader.images.get(canvas, "") or _find_name(canvas),
            size=reader.sizes.get(canvas),
            blocks=tuple(_in_pixels(blocks, size=reader.sizes.get(canvas))),
        )
        for canvas, blocks in reader.blocks.items()
    ]


def _kind(node: object) -> str:
    if not isinstance(node, dict):
        return ""
    kind = node.get("type") or node.get("@type") or ""
    kind = kind[0] if isinstance(kind, list) and kind else kind
    return str(kind).rpartition(":")[2].lower()


def _find_id(node: object) -> str:
    if isinstance(node, dict):
        node = node.get("id") or node.get("@id") or ""
    return node if isinstance(node, str) else ""


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _find_name(address: str) -> str:
    """Return what an address of an image or a canvas has for a name."""
    parts = [unquote(part) for part in urlsplit(address).path.split("/") if part]
    # An image of an image service ends in region, size, rotation and quality.
    if parts and re.fullmatch(r"(default|native|color|gray|bitonal)\.\w+", parts[-1]):
        parts = parts[:-4]
    return parts[-1] if parts else ""


@dataclass
class _Reader:
    """Collects the parts of canvases."""

    blocks: dict[str, list[tuple[Block, bool]]] = field(default_factory=dict)
    sizes: dict[str, tuple[float, float]] = field(default_factory=dict)
    images: dict[str, str] = field(default_factory=dict)

    def walk(self, node: object, *, canvas: str, depth: int = 0) -> None:
        if depth > _MAX_DEPTH:
            return
        match _kind(node):
            case "annotation":
                self._add(node, canvas=canvas)
                return
            case "canvas" if isinstance(node, dict):
                canvas = _find_id(node)
                width, height = node.get("width"), node.get("height")
                numbers = (markup.parse_number(str(side)) for side in (width, height))
                if size := markup.parse_size(*numbers):
                    self.sizes[canvas] = size
                for image in _list(node.get("images")):
                    self._add(image, canvas=canvas)
        if isinstance(node, dict):
            for key in _PARTS:
                for child in _list(node.get(key)):
                    self.walk(child, canvas=canvas, depth=depth + 1)

    def _add(self, node: object, *, canvas: str) -> None:
        if not isinstance(node, dict):
            return
        motivations = [
            str(each).rpartition(":")[2].lower() for each in _list(node.get("motivation"))
        ]
        bodies = [*_list(node.get("body")), *_list(node.get("resource"))]
        if "painting" in motivations and not any(_has_text(body) for body in bodies):
            for body in bodies:
                name = _find_name(_find_id(body))
                if name and canvas:
                    self.images.setdefault(canvas, name)
            return
        for target in [*_list(node.get("target")), *_list(node.get("on"))]:
            source, fragment = _read_target(target)
            found = _FRAGMENT.search(fragment)
            numbers = (
                [markup.parse_number(number) for number in found.groups()[1:]] if found else []
            )
            if found is None or None in numbers:
                continue
            box = Box(*(number or 0.0 for number in numbers))
            made = _make(node, bodies=bodies, motivations=motivations, box=box)
            is_percent = found[1] in {"percent", "pct"}
            self.blocks.setdefault(source or canvas, []).append((made, is_percent))


def _read_target(target: object) -> tuple[str, str]:
    """Return the canvas and the fragment of a target."""
    if isinstance(target, str):
        source, _, fragment = target.partition("#")
        return source, fragment
    if not isinstance(target, dict):
        return "", ""
    whole = target.get("source") or target.get("full") or _find_id(target)
    source, _, fragment = _find_id(whole).partition("#")
    for selector in _list(target.get("selector")):
        if isinstance(selector, dict):
            selector = selector.get("default") or selector  # noqa: PLW2901 - a choice of selectors
            fragment = str(selector.get("value") or fragment) if isinstance(selector, dict) else ""
    return source, fragment


def _has_text(body: object) -> bool:
    return isinstance(body, dict) and ("chars" in body or "value" in body)


def _make(node: dict[str, Any], *, bodies: list[Any], motivations: list[str], box: Box) -> Block:
    texts, kind = [], None
    for body in bodies:
        if not isinstance(body, dict):
            continue
        text = body.get("value") or body.get("chars") or ""
        text = " ".join(_HTML.sub(" ", text).split()) if isinstance(text, str) else ""
        purpose = str(body.get("purpose") or "").rpartition(":")[2].lower()
        is_tag = purpose in _TAGS or _kind(body) == "tag" or any(m in _TAGS for m in motivations)
        named = classify(text) if text else None
        if named and (is_tag or named is Kind.PICTURE):
            kind = kind or named
        elif text:
            texts.append(text)
    if kind is None:
        is_text = any(each in _TEXTUAL for each in motivations) or "textGranularity" in node
        # In version 2, what was read on a page is painted on it.
        is_text = is_text or "painting" in motivations
        kind = Kind.TEXT if texts and is_text else None
    identifier = _find_id(node)
    return Block(
        id=_find_name(identifier) if "#" not in identifier else identifier.rpartition("#")[2],
        kind=kind or Kind.PICTURE,
        box=box,
        text="\n".join(texts),
        profile="iiif",
    )


def _in_pixels(
    blocks: list[tuple[Block, bool]], *, size: tuple[float, float] | None
) -> Iterator[Block]:
    """Yield blocks in the canvas's units; parts in percent need its size."""
    for block, is_percent in blocks:
        if not is_percent:
            yield block
        elif size is not None:
            box = block.box.scale(size[0] / 100, size[1] / 100)
            yield Block(
                id=block.id, kind=block.kind, box=box, text=block.text, profile=block.profile
            )


def describe(document: object) -> Description:
    """Return what a manifest says of the whole: its label, `navDate` and rights."""
    if not isinstance(document, dict) or _kind(document) != "manifest":
        return Description()
    rights = document.get("rights") or document.get("license") or ""
    return Description(
        title=_read_words(document.get("label")),
        date=read_date(str(document.get("navDate") or "")),
        rights=rights if isinstance(rights, str) else "",
    )


def _read_words(words: object) -> str:
    """Return the first text of a label, in whatever language and version it is written."""
    for _ in range(_MAX_DEPTH):
        if isinstance(words, dict):
            words = words.get("@value") or next(iter(words.values()), "")
        elif isinstance(words, list):
            words = next(iter(words), "")
        else:
            break
    return words.strip() if isinstance(words, str) else ""
