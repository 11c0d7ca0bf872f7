"""Opens a folder of page scans as a source: each page is a record, and so is each picture on it.

A page's record comes before those of its pictures. What their descriptions say is read by
`halftone.archive.pages`; where no picture is described in a whole issue, pictures are found by
layout. If the boxes of the first issue do not fit its scans, nothing is yielded at all; of a later
one, each page is rejected.
"""

from __future__ import annotations

import dataclasses
import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from halftone.archive.manifests import Row, make_name, validate
from halftone.archive.pages import captions, folders, naming, placing, scans, survey
from halftone.archive.pages.model import Block, Issue, Kind, Page
from halftone.archive.sources.source import Kind as SourceKind
from halftone.archive.sources.source import Layout, PageOptions, Source
from halftone.core import errors
from halftone.core.spelling import compose
from halftone.imaging.images import MIN_SIDE, Region
from halftone.v1 import search_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from halftone.archive.pages.placing import Placed, Scan
    from halftone.archive.sources.source import Options

FOUND_BY: Final = "found_by"
"""The label of a picture that says who knows of it: `alto`, `mets`, `page`, `iiif` or `layout`."""
CAPTION_FROM: Final = "caption_from"
"""The label of a picture that says what its caption is: `caption` or `nearby text`."""
_ISSUE: Final = "issue"
_DATE_TEXT: Final = "date_as_given"
_REMARKS: Final = 20


def recognise_pages(path: Path) -> bool:
    """Return whether a path is a folder of page scans with descriptions beside them."""
    return path.is_dir() and survey.has_descriptions(path)


def open_pages(path: Path, *, archive: str, options: Options) -> Source:
    """Open a folder of page scans, with or without descriptions.

    Raises:
        errors.InvalidArgument: It is no folder, or holds no scans.
    """
    if not path.is_dir():
        raise errors.InvalidArgument(f"{path} is not a folder of page scans.", field="path")
    if not survey.count_images(path):
        raise errors.InvalidArgument(f"{path} holds no scans of pages.", field="path")
    remarks: list[str] = []
    reader = PageReader(folder=path, options=options.pages or PageOptions(), remarks=remarks)
    return Source(
        path=path,
        folder=path,
        rows=_make_rows(reader, archive=archive),
        total=survey.estimate_records(path),
        describe_row="record {}".format,
        numbering="Records are numbered in the order of the pages, each before its pictures.",
        remarks=remarks,
    )


PAGES: Final = SourceKind(
    name="pages", recognise=recognise_pages, open=open_pages, opens_pictures=True
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture on a page.

    Attributes:
        name: The last part of its image id.
        block: Where it is, in pixels of the scan.
        caption: The text that belongs to it; empty if there is none.
        caption_from: `captions.CAPTION` or `captions.NEARBY`; empty without a caption.
    """

    name: str
    block: Block
    caption: str = ""
    caption_from: str = ""

    @property
    def region(self) -> Region:
        """Return its place in whole pixels of the upright scan."""
        return Region(*(round(number) for number in self.block.box))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadPage:
    """A page with what is on it.

    Attributes:
        id: Its image id.
        page: What its description says.
        scan: What its scan says; None if the scan cannot be used, `error` says why.
        placed: Its blocks in pixels of the scan.
        pictures: The pictures on it.
        error: Why the page cannot be used; None for a good one.
    """

    id: str
    page: Page
    scan: Scan | None = None
    placed: Placed | None = None
    pictures: tuple[Picture, ...] = ()
    error: errors.InvalidArgument | None = None


@dataclass(kw_only=True)
class PageReader:
    """Reads the issues of a folder with the pictures on their pages.

    Attributes:
        folder: The folder.
        options: How it is read.
        remarks: Where sentences for people are added.
        scans: The decoded scans.
    """

    folder: Path
    options: PageOptions
    remarks: list[str]
    scans: scans.Scans = field(default_factory=scans.Scans)

    def read(self, *, check: bool = True) -> Iterator[tuple[Issue, Iterator[ReadPage]]]:
        """Yield issues with their pages, which are read while they are gone through.

        Args:
            check: Whether the pages of an issue whose boxes do not fit its scans have an `error`;
                otherwise the reason becomes a remark.

        Raises:
            errors.InvalidArgument: The boxes of the first issue with scans do not fit them, and
                `check` is set.
        """
        began = False
        for issue in folders.read_issues(self.folder):
            for note in issue.notes:
                self._remark(note)
            pages = self._read_issue(issue, check=check, began=began)
            began = began or any(page.image is not None for page in issue.pages)
            yield issue, pages

    def _read_issue(self, issue: Issue, *, check: bool, began: bool) -> Iterator[ReadPage]:
        """Check the boxes of an issue, and return its pages."""
        pages = [page for page in issue.pages if page.image is not None]
        stems = Counter(_make_stem(page) for page in pages)
        # Of scans without a description there may be many, and nothing to check.
        measured = {
            index: self._measure(page, ambiguous=stems[_make_stem(page)] > 1)
            for index, page in enumerate(pages)
            if page.blocks
        }
        good = [(each.page, each.scan) for each in measured.values() if each.scan is not None]
        try:
            placing.check(good, override=self.options.override)
        except errors.InvalidArgument as error:
            if check and not began:
                raise
            if check:
                return self._refuse(pages, stems=stems, measured=measured, error=error)
            self._remark(error.message)
        return self._finish(issue, pages=pages, stems=stems, measured=measured)

    def _finish(
        self,
        issue: Issue,
        *,
        pages: list[Page],
        stems: Counter[Path],
        measured: dict[int, ReadPage],
    ) -> Iterator[ReadPage]:
        by_layout = self._uses_layout(issue)
        for index, page in enumerate(pages):
            read = measured.pop(index, None)
            if read is None:
                read = self._measure(page, ambiguous=stems[_make_stem(page)] > 1)
            yield self._find(read, by_layout=by_layout)

    def _refuse(
        self,
        pages: list[Page],
        *,
        stems: Counter[Path],
        measured: dict[int, ReadPage],
        error: errors.InvalidArgument,
    ) -> Iterator[ReadPage]:
        """Yield the pages of an issue whose boxes do not fit, each with the reason."""
        first = ""
        for index, page in enumerate(pages):
            image_id = self._make_id(page, ambiguous=stems[_make_stem(page)] > 1)
            own = measured[index].error if index in measured else None
            if own is None:
                own = error
                if first:
                    own = errors.InvalidArgument(
                        f"The boxes of this issue do not fit its scans; {first} says what would.",
                        field="path",
                        reason=error.reason,
                    )
                first = first or image_id
            yield ReadPage(id=image_id, page=page, error=own)

    def _make_id(self, page: Page, *, ambiguous: bool) -> str:
        assert page.image is not None  # noqa: S101 - for the type checker
        return compose(naming.make_id(page.image, folder=self.folder, ambiguous=ambiguous))

    def _uses_layout(self, issue: Issue) -> bool:
        if self.options.layout is Layout.AUTO:
            return not issue.has_pictures
        return self.options.layout is Layout.ALWAYS

    def _measure(self, page: Page, *, ambiguous: bool) -> ReadPage:
        override = self.options.override
        assert page.image is not None  # noqa: S101 - for the type checker
        image_id = self._make_id(page, ambiguous=ambiguous)
        needs_dpi = placing.needs_dpi(page, override=override)
        try:
            scan = scans.measure(page.image, needs_dpi=needs_dpi)
            # A page in a unit of length without a size may have no scale at all.
            placing.place(page, scan, override=override)
        except errors.InvalidArgument as error:
            return ReadPage(id=image_id, page=page, error=error)
        if placing.find_mismatch(page, scan):
            self._remark(
                f"{page.image} and {page.description} have other proportions: boxes may be shifted."
            )
        if scan.pages > 1:
            self._remark(_describe_further(page.image, scan))
        return ReadPage(id=image_id, page=page, scan=scan)

    def _find(self, read: ReadPage, *, by_layout: bool) -> ReadPage:
        """Return a page with its pictures."""
        if read.page.image is None or read.scan is None:
            return read
        placed = placing.place(read.page, read.scan, override=self.options.override)
        wanted = {Kind.PICTURE, *(self.options.kinds)}
        found = [block for block in placed.blocks if block.kind in wanted]
        if by_layout:
            lines = [line for block in placed.blocks for line in block.lines]
            try:
                more = self.scans.find_pictures(read.page.image, texts=lines)
            except errors.InvalidArgument as error:
                return dataclasses.replace(read, error=error)
            found += [block for block in more if not any(_overlap(block, known) for known in found)]
        pictures: list[Picture] = []
        used: set[str] = set()
        for block in found:
            if min(block.box.width, block.box.height) < MIN_SIDE:
                self._remark(
                    f"{read.id}: the picture {block.id} of {block.box.width:.0f} x "
                    f"{block.box.height:.0f} pixels is too small to be compared, and left out."
                )
                continue
            text, source = captions.find_text(
                block.box, blocks=placed.blocks, page_height=read.scan.size[1], own=block.text
            )
            name = naming.name_picture(block, number=len(pictures) + 1, used=used)
            pictures.append(Picture(name=name, block=block, caption=text, caption_from=source))
        return dataclasses.replace(read, placed=placed, pictures=tuple(pictures))

    def _remark(self, text: str) -> None:
        if len(self.remarks) < _REMARKS:
            self.remarks.append(text)
        elif len(self.remarks) == _REMARKS:
            self.remarks.append("… and more of the kind.")


def _describe_further(path: Path, scan: Scan) -> str:
    return f"{path} has {scan.pages} pages; only the first is imported."


def _make_stem(page: Page) -> Path:
    assert page.image is not None  # noqa: S101 - for the type checker
    return page.image.with_suffix("")


def _overlap(block: Block, other: Block) -> bool:
    shared = block.box.intersect(other.box).area
    return shared > 0.5 * min(block.box.area, other.box.area)


def _make_rows(reader: PageReader, *, archive: str) -> Iterator[Row]:
    number = 0
    for issue, pages in reader.read():
        for page in pages:
            for row in _rows_of_page(page, issue=issue, archive=archive, reader=reader):
                number += 1
                yield dataclasses.replace(row, number=number)
    for path in folders.find_documents(reader.folder):
        number += 1
        yield Row(
            number=number,
            image_id=compose(naming.make_id(path, folder=reader.folder, ambiguous=True)),
            error=errors.InvalidArgument(
                f"{path} is a PDF among page scans, and not imported. A manifest that names it "
                "imports its pages, without pictures on them.",
                field="file",
                reason="BAD_FILE",
            ),
        )


def _rows_of_page(
    read: ReadPage, *, issue: Issue, archive: str, reader: PageReader
) -> Iterator[Row]:
    path = read.page.image
    assert path is not None  # noqa: S101 - for the type checker
    if read.error is not None:
        yield Row(number=0, image_id=read.id, error=read.error)
        return
    try:
        record = _make_record(read, issue=issue, archive=archive)
    except errors.InvalidArgument as error:
        yield Row(number=0, image_id=read.id, error=error)
        return
    # The remarks end after the first few; these are listed, each with its page.
    scan = read.scan
    notes = (_describe_further(path, scan),) if scan is not None and scan.pages > 1 else ()
    yield Row(number=0, image_id=read.id, image=record, path=path, notes=notes)
    for picture in read.pictures:
        image_id = f"{read.id}/{picture.name}"
        try:
            image = _make_picture(picture, page=record, archive=archive, image_id=image_id)
        except errors.InvalidArgument as error:
            yield Row(number=0, image_id=image_id, error=error)
            continue
        content = partial(reader.scans.cut, path, picture.region)
        yield Row(number=0, image_id=image_id, image=image, path=path, content=content)


def _make_record(read: ReadPage, *, issue: Issue, archive: str) -> search_pb2.Image:
    image = search_pb2.Image(
        name=str(make_name(archive, image_id=read.id, field="image_id")),
        journal=_clean(issue.title, limit=1_000),
        date=issue.date,
        page=_clean(read.page.number, limit=200),
        language=read.page.language or issue.language,
        rights=_clean(issue.rights, limit=2_000),
    )
    if issue.id:
        image.labels[_ISSUE].values.append(_clean(issue.id, limit=1_000))
    if issue.date_text and not issue.date:
        image.labels[_DATE_TEXT].values.append(_clean(issue.date_text, limit=1_000))
    validate(image, prefix="")
    return image


def _make_picture(
    picture: Picture, *, page: search_pb2.Image, archive: str, image_id: str
) -> search_pb2.Image:
    image = search_pb2.Image()
    image.CopyFrom(page)
    image.name = str(make_name(archive, image_id=image_id, field="image_id"))
    image.page_image = page.name
    region = picture.region
    image.page_region.x, image.page_region.y = region.x, region.y
    image.page_region.width, image.page_region.height = region.width, region.height
    image.caption = _clean(picture.caption, limit=20_000)
    image.labels[FOUND_BY].values.append(picture.block.profile.partition(":")[0])
    if picture.caption_from:
        image.labels[CAPTION_FROM].values.append(picture.caption_from)
    if picture.block.kind is not Kind.PICTURE:
        image.labels["kind"].values.append(picture.block.kind.value)
    validate(image, prefix="")
    return image


def _clean(text: str, *, limit: int) -> str:
    plain = "".join(c for c in text if unicodedata.category(c) != "Cc" or c in "\n\t")
    return compose(plain.strip())[:limit]
