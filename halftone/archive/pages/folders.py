"""Finds the pages of a folder: which scan belongs to which description.

METS says so where there is one. Elsewhere, and where METS names files that are not there, a scan
belongs to the description that names it, or that has its name (`0001.xml`, `0001.alto.xml`,
`alto/0001.xml` and `images/0001.jpg`). Of several derivatives of a page one is taken; the others
are no pages of their own.

Only files below the folder are looked at, whatever a description refers to.
"""

from __future__ import annotations

import dataclasses
import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from halftone.archive.pages import alto, iiif, markup, mets, page_xml
from halftone.archive.pages.descriptive import Description
from halftone.archive.pages.model import Issue, Page
from halftone.core import errors, files
from halftone.imaging.opening import SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from xml.etree.ElementTree import Element

_DESCRIBING: Final[dict[str, Callable[[Element], list[Page]]]] = {
    "alto": alto.parse,
    "PcGts": page_xml.parse,
}
_ENDINGS: Final = re.compile(r"[._-](alto|page|ocr|xml|text|hocr|iiif|annotations?)$")
# Folders that hold one kind of file of an issue, and not an issue of their own.
_PARTS: Final = re.compile(
    r"(alto|ocr|page|pages|xml|text|fulltext|mets|annotations?|images?|img|scans?|jpe?g|jp2|tiff?|pdfs?|"
    r"png|default|max|master|ocr-?master|viewing|access|derivatives?)([-_ ]?files)?",
    re.IGNORECASE,
)
_UNKNOWN: Final = Description()
_AT_ONCE: Final = 200  # descriptions that are held in memory, where a folder has many


def read_issues(folder: Path) -> Iterator[Issue]:
    """Yield the issues of a folder: those of METS files first, then what else has pages.

    Pages without a description are yielded, too, without blocks; pages whose scan is not there are
    left out, and the issue's `notes` say so. A description that cannot be read costs its page only.

    Args:
        folder: The folder. Links to other folders are not followed.
    """
    tree = _Tree.scan(folder)
    for path in tree.mets:
        if (issue := _read_mets(path, tree=tree)) is not None:
            yield issue
    yield from _read_rest(tree)


def find_documents(folder: Path) -> list[Path]:
    """Return the PDFs of a folder in natural order, without those that are copies of a scan.

    A copy has the name of a scan of its issue, as derivatives have.
    """
    tree, documents = _Tree(root=folder), list[Path]()
    for path in files.walk(folder):
        suffix = path.suffix.lower()
        if suffix in {".pdf", *SUFFIXES} and _is_looked_at(path, root=folder):
            if suffix == ".pdf":
                documents.append(path)
            else:
                tree.add(path)
    documents.sort(key=lambda path: sort_key(str(path)))
    return [
        path
        for path in documents
        if (tree.find_home(path.parent), _stem(path.stem)) not in tree.alike
    ]


def _is_looked_at(path: Path, *, root: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
    return not (hidden or files.is_clutter(path.name) or path.is_symlink()) and path.is_file()


def sort_key(text: str) -> list[tuple[int, int, str]]:
    """Return a key that sorts `page 2` before `page 10`."""
    parts = re.split(r"([0-9]+)", text)
    return [
        (0, int(part), "") if part.isdigit() and part.isascii() else (1, 0, part) for part in parts
    ]


@dataclass(kw_only=True)
class _Tree:
    """The files of a folder, and which of them belong to a page already.

    Attributes:
        root: The folder.
        images: The scans, in natural order.
        texts: The descriptions of pages.
        mets: The METS files.
        jsons: Files that may hold annotations.
        named: Files by a folder that they are somewhere below, and their name. Names such as 0001
            occur in every issue, so looking one up must not look at all issues.
        alike: Scans likewise, by the part of the name that derivatives of a page share.
        described: The descriptions of pages, once more.
        taken: The files that belong to a page already.
    """

    root: Path
    images: list[Path] = field(default_factory=list)
    texts: list[Path] = field(default_factory=list)
    mets: list[Path] = field(default_factory=list)
    jsons: list[Path] = field(default_factory=list)
    named: dict[tuple[Path, str], list[Path]] = field(default_factory=lambda: defaultdict(list))
    alike: dict[tuple[Path, str], list[Path]] = field(default_factory=lambda: defaultdict(list))
    described: set[Path] = field(default_factory=set)
    taken: set[Path] = field(default_factory=set)

    @classmethod
    def scan(cls, root: Path) -> _Tree:
        tree = cls(root=root)
        for path in sorted(files.walk(root), key=lambda path: sort_key(str(path))):
            if _is_looked_at(path, root=root):
                tree.add(path)
        return tree

    def add(self, path: Path) -> None:
        suffix = path.suffix.lower()
        if suffix in SUFFIXES:
            self.images.append(path)
        elif suffix == ".xml":
            kind = markup.find_root(path)
            if kind == "mets":
                self.mets.append(path)
            elif kind in _DESCRIBING:
                self.texts.append(path)
                self.described.add(path)
        elif suffix == ".json":
            self.jsons.append(path)
        else:
            return
        for folder in path.parents:
            self.named[folder, path.name.lower()].append(path)
            if suffix in SUFFIXES:
                self.alike[folder, _stem(path.name)].append(path)
            if folder == self.root:
                break

    def place(self, path: Path) -> str:
        """Return a folder relative to the root; empty for the root."""
        relative = path.relative_to(self.root).as_posix()
        return "" if relative == "." else relative

    def find_home(self, folder: Path) -> Path:
        """Return the folder of an issue: without those that hold one kind of its files."""
        while _PARTS.fullmatch(folder.name) and folder != self.root:
            folder = folder.parent
        return folder

    def resolve(self, href: str, *, folder: Path) -> Path | None:
        """Return the file that a reference means, if it is there: the nearest to who refers."""
        plain = unquote(re.sub(r"^[a-zA-Z]{2,}:/*", "", href.strip())).replace("\\", "/")
        parts = [part for part in PurePosixPath(plain).parts if part not in {"/", ".", ".."}]
        if not parts:
            return None
        for above in (folder, *folder.parents):
            candidates = self.named.get((above, parts[-1].lower()))
            if candidates:
                return max(candidates, key=lambda path: _shared_end(path, parts))
            if above == self.root:
                break
        return None

    def find_images(self, names: Iterable[str], *, folder: Path) -> list[Path]:
        """Return the scans of one of several names: the issue's, or the only ones there are."""
        home = self.find_home(folder)
        for name in names:
            stem = _stem(name)
            near = self.alike.get((home, stem), []) if stem else []
            every = self.alike.get((self.root, stem), []) if stem else []
            if near or len(every) == 1:
                return near or every
        return []

    def take(self, image: Path, *, home: Path, others: Iterable[Path] = ()) -> None:
        """Note that a scan is a page's, and so are the other derivatives of that page."""
        self.taken.add(image)
        self.taken.update(others)
        self.taken.update(self.alike.get((home, _stem(image.name)), ()))


def _shared_end(path: Path, parts: list[str]) -> int:
    """Return how many last parts of a reference a path has."""
    pairs = zip(reversed(path.parts), reversed(parts), strict=False)
    return next((i for i, (own, other) in enumerate(pairs) if own != other), len(parts))


def _stem(name: str) -> str:
    """Return the part of a file's name by which derivatives of a page are known."""
    base = unquote(name.replace("\\", "/")).rpartition("/")[2].lower()
    head, dot, tail = base.rpartition(".")
    stem = head if dot and (f".{tail}" in SUFFIXES or tail in {"xml", "json"}) else base
    while (shorter := _ENDINGS.sub("", stem)) != stem:
        stem = shorter
    return stem


def choose_image(images: Iterable[Path]) -> Path | None:
    """Return the best of several derivatives of a page: the largest file."""
    return max(images, key=lambda path: (path.stat().st_size, path.name), default=None)


def _parse(path: Path, *, notes: list[str]) -> list[Page]:
    """Return the pages of a description; none and a note if it cannot be read."""
    try:
        root = markup.read(path)
    except errors.InvalidArgument as error:
        notes.append(error.message)
        return []
    pages = _DESCRIBING[root.tag](root) if root.tag in _DESCRIBING else []
    return [dataclasses.replace(page, description=path) for page in pages]


def _read_mets(path: Path, *, tree: _Tree) -> Issue | None:
    """Return the issue of a METS file; None if none of its pages is there."""
    notes: list[str] = []
    try:
        document = mets.parse(markup.read(path))
    except errors.InvalidArgument as error:
        # Its pages are read without it.
        return Issue(id=tree.place(path.parent), notes=(error.message,))
    pages, missing = [], []
    for number, listed in enumerate(document.pages, start=1):
        page = _read_listed(listed, document=document, folder=path.parent, tree=tree, notes=notes)
        if page is None:
            continue
        page = dataclasses.replace(page, number=listed.number or page.number or str(number))
        if page.image is None:
            missing.append(page.number)
        else:
            pages.append(page)
    if missing:
        many = f"{len(missing)} pages have no scan" if len(missing) > 1 else "a page has no scan"
        notes.append(f"{path}: {many} here: {', '.join(missing[:8])}{'…' * (len(missing) > 8)}.")  # noqa: PLR2004
    if not document.pages:
        pages += _read_unlisted(path, tree=tree, notes=notes)
    if not pages and not notes:
        return None
    known = document.description
    languages = (page.language for page in pages)
    return Issue(
        id=tree.place(path.parent),
        title=known.title,
        date=known.date,
        date_text=known.date_text,
        language=known.language or next(filter(None, languages), ""),
        rights=known.rights,
        pages=tuple(pages),
        notes=tuple(notes),
    )


def _read_listed(
    listed: mets.PageFiles,
    *,
    document: mets.Document,
    folder: Path,
    tree: _Tree,
    notes: list[str],
) -> Page | None:
    """Return a page that METS lists; None if no file of it is there."""
    texts = [(file, tree.resolve(file.href, folder=folder)) for file in listed.texts]
    found = [(file, path) for file, path in texts if path is not None and path in tree.described]
    page, text = Page(), None
    if found:
        file, text = found[0]
        tree.taken.add(text)
        own = _parse(text, notes=notes)
        page = own[0] if own else page
    for file in (*listed.texts, *listed.images):
        # A description may be missing where METS itself has boxes.
        marks = {block: mark for (owner, block), mark in document.marks.items() if owner == file.id}
        boxes = document.boxes.get(file.id, [])
        if marks or boxes:
            page = mets.mark(page, marks=marks, boxes=boxes)
            if boxes and page.size is None and file.size is not None:
                page = dataclasses.replace(page, size=file.size)
    images = {}
    for file in listed.images:
        path = tree.resolve(file.href, folder=folder)
        if path is not None and path.suffix.lower() in SUFFIXES:
            images[path] = file
    names = [page.image_name, *(file.href for file in listed.images)]
    names += [text.name] if text else [file.href for file in listed.texts]
    others = tree.find_images(filter(None, names), folder=folder)
    image = _choose_described(images, page=page) or choose_image(others)
    described = _find_described(listed.images, page=page)
    if image is None:
        return dataclasses.replace(page, image=None) if text else None
    tree.take(image, home=tree.find_home(folder), others=images)
    return dataclasses.replace(
        page,
        image=image,
        dpi=page.dpi or (described.dpi if described else None),
        image_size=page.image_size or (described.size if described else None),
    )


def _find_described(listed: Iterable[mets.File], *, page: Page) -> mets.File | None:
    """Return the derivative that the numbers of a page are about: of its size, or the first."""
    known = [file for file in listed if file.size or file.dpi]
    same = (file for file in known if page.size and file.size == _whole(page.size))
    return next(same, known[0] if known else None)


def _choose_described(images: dict[Path, mets.File], *, page: Page) -> Path | None:
    """Return the derivative that was described if it is there, else the largest."""
    if page.size is not None:
        for path, file in images.items():
            if file.size == _whole(page.size):
                return path
    return choose_image(images)


def _whole(size: tuple[float, float]) -> tuple[int, int]:
    return round(size[0]), round(size[1])


def _read_unlisted(path: Path, *, tree: _Tree, notes: list[str]) -> list[Page]:
    """Return the pages beside a METS file that lists none."""
    beside = [
        text for text in tree.texts if text.is_relative_to(path.parent) and text not in tree.taken
    ]
    return _number(_match(beside, tree=tree, notes=notes))


def _match(texts: Iterable[Path], *, tree: _Tree, notes: list[str]) -> list[Page]:
    """Return the pages of descriptions with their scans."""
    pages = []
    for text in texts:
        tree.taken.add(text)
        for page in _parse(text, notes=notes):
            images = tree.find_images(
                filter(None, (page.image_name, text.name)), folder=text.parent
            )
            free = [image for image in images if image not in tree.taken]
            image = choose_image(free)
            if image is None:
                notes.append(f"{text}: the scan that it describes is not here.")
                continue
            tree.take(image, home=tree.find_home(text.parent))
            pages.append(dataclasses.replace(page, image=image))
    return pages


def _number(pages: list[Page], *, start: int = 1) -> list[Page]:
    return [
        dataclasses.replace(page, number=page.number or str(number))
        for number, page in enumerate(pages, start=start)
    ]


def _read_rest(tree: _Tree) -> Iterator[Issue]:
    """Yield what no METS file has: descriptions by folder, then annotations, then bare scans."""
    for home, texts in _group([path for path in tree.texts if path not in tree.taken], tree=tree):
        for start in range(0, len(texts), _AT_ONCE):
            notes: list[str] = []
            pages = _match(texts[start : start + _AT_ONCE], tree=tree, notes=notes)
            yield _make_issue(home, pages=pages, tree=tree, notes=notes, start=start + 1)
    for home, paths in _group(tree.jsons, tree=tree):
        for path in paths:
            notes = []
            pages, known = _read_annotations(path, tree=tree, notes=notes)
            if pages or notes:
                yield _make_issue(home, pages=pages, tree=tree, notes=notes, known=known)
    for home, images in _group([path for path in tree.images if path not in tree.taken], tree=tree):
        bare = []
        for image in images:
            if image not in tree.taken:
                tree.take(image, home=home)
                bare.append(Page(image=image))
        for start in range(0, len(bare), _AT_ONCE):
            part = bare[start : start + _AT_ONCE]
            yield _make_issue(home, pages=part, tree=tree, notes=[], start=start + 1)


def _group(paths: list[Path], *, tree: _Tree) -> list[tuple[Path, list[Path]]]:
    """Return files by the folder of their issue, in natural order."""
    groups: dict[Path, list[Path]] = defaultdict(list)
    for path in paths:
        groups[tree.find_home(path.parent)].append(path)
    return sorted(groups.items(), key=lambda group: sort_key(str(group[0])))


def _make_issue(
    home: Path,
    *,
    pages: list[Page],
    tree: _Tree,
    notes: list[str],
    known: Description = _UNKNOWN,
    start: int = 1,
) -> Issue:
    languages = (page.language for page in pages)
    return Issue(
        id=tree.place(home),
        title=known.title,
        date=known.date,
        rights=known.rights,
        language=next(filter(None, languages), ""),
        pages=tuple(_number(pages, start=start)),
        notes=tuple(notes),
    )


def _read_annotations(
    path: Path, *, tree: _Tree, notes: list[str]
) -> tuple[list[Page], Description]:
    """Return the pages that IIIF annotations describe, and what their manifest says."""
    try:
        document: Any = iiif.load(path)
    except errors.InvalidArgument as error:
        notes.append(error.message)
        return [], _UNKNOWN
    if not iiif.is_annotation(document):
        return [], _UNKNOWN
    pages = []
    described = iiif.parse(document)
    for page in described:
        names = [page.image_name, *([path.name] if len(described) == 1 else [])]
        images = tree.find_images(filter(None, names), folder=path.parent)
        image = choose_image(each for each in images if each not in tree.taken)
        if image is not None:
            tree.take(image, home=tree.find_home(path.parent))
            pages.append(dataclasses.replace(page, image=image, description=path))
    return pages, iiif.describe(document)
