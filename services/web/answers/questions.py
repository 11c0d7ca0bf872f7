"""Searches as addresses: reads a question from the fields of a URL, and writes it back.

Every state of a search is in its address: the picture (a token of `uploads`, or the name of an
image of the archive), the part of it, the filter, and the page.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from halftone.archive import dates
from halftone.client import Filter, ImageKind, Region
from halftone.core import errors

if TYPE_CHECKING:
    from starlette.datastructures import QueryParams

_REGION: Final = re.compile(r"([0-9]{1,6}),([0-9]{1,6}),([0-9]{1,6}),([0-9]{1,6})")
_MOST_VALUES: Final = 50
_LONGEST: Final = 1000


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A filter as a reader chooses it.

    Attributes:
        date: An EDTF date or interval that the printing's date has to overlap.
        caption: Words that must all occur in the caption.
        labels: Pairs of a key and a value.
        kind: `picture` for pictures on pages, `page` for the rest; "" for both.
        pages: Names of pages whose pictures are wanted.
    """

    journals: tuple[str, ...] = ()
    archives: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    date: str = ""
    caption: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    kind: str = ""
    pages: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Return whether every image matches."""
        return self == Choice()

    def make_filter(self) -> Filter | None:
        """Return the filter for the client; None if every image matches."""
        if self.is_empty:
            return None
        labels: dict[str, list[str]] = {}
        for key, value in self.labels:
            labels.setdefault(key, []).append(value)
        return Filter(
            journals=self.journals,
            archives=self.archives,
            languages=self.languages,
            start=self.date,
            end=self.date,
            caption=self.caption,
            labels=labels,
            kind=ImageKind(self.kind) if self.kind else None,
            page_images=self.pages,
        )

    @property
    def nothing(self) -> Choice:
        """Return the choice that every image matches, for addresses without a filter."""
        return Choice()

    def with_date(self, date: str) -> Choice:
        """Return the choice with another date."""
        return dataclasses.replace(self, date=date)

    def list_fields(self) -> list[tuple[str, str]]:
        """Return the choice as fields of an address."""
        return [
            *(("journal", value) for value in self.journals),
            *(("archive", value) for value in self.archives),
            *(("language", value) for value in self.languages),
            *([("date", self.date)] if self.date else []),
            *([("caption", self.caption)] if self.caption else []),
            *(("label", f"{key}={value}") for key, value in self.labels),
            *self.list_hidden(),
        ]

    def list_hidden(self) -> list[tuple[str, str]]:
        """Return what addresses choose and forms do not, as fields of an address."""
        return [
            *([("kind", self.kind)] if self.kind else []),
            *(("on_page", page) for page in self.pages),
        ]


@dataclass(frozen=True, kw_only=True)
class Question:
    """A search as its address says it.

    Attributes:
        picture: The token of a dropped picture; or empty.
        image: The name of an image of the archive; or empty.
        region: The part of the picture to search by, in pixels of the upright picture.
        page: The token of a further page; empty for the first.
    """

    picture: str = ""
    image: str = ""
    region: Region | None = None
    choice: Choice = field(default_factory=Choice)
    page: str = ""

    @property
    def has_picture(self) -> bool:
        """Return whether there is a picture to search by."""
        return bool(self.picture or self.image)

    def list_fields(self) -> list[tuple[str, str]]:
        """Return the question as fields of an address, without its page."""
        region = [("region", format_region(self.region))] if self.region else []
        return [
            *([("picture", self.picture)] if self.picture else []),
            *([("image", self.image)] if self.image else []),
            *region,
            *self.choice.list_fields(),
        ]

    def list_subject(self) -> list[tuple[str, str]]:
        """Return what is searched by as fields of an address, without the filter."""
        return dataclasses.replace(self, choice=Choice()).list_fields()

    def make_query(self, **changes: object) -> str:
        """Return the query part of the address of this question, with some fields changed."""
        changed = dataclasses.replace(self, **{"page": "", **changes})  # type: ignore[arg-type]
        page = [("page", changed.page)] if changed.page else []
        return urlencode([*changed.list_fields(), *page])


def read_question(params: QueryParams) -> Question:
    """Read a question from the fields of an address.

    Raises:
        errors.InvalidArgument: A field is wrong. The error names it.
    """
    picture, image = params.get("picture", ""), params.get("image", "")
    if picture and image:
        raise errors.InvalidArgument(
            "Search by a dropped picture or by an image of the archive, not by both.",
            field="picture",
        )
    return Question(
        picture=picture,
        image=image,
        region=read_region(params),
        choice=read_choice(params),
        page=params.get("page", ""),
    )


def read_choice(params: QueryParams) -> Choice:
    """Read a filter from the fields of an address.

    Raises:
        errors.InvalidArgument: The date is no EDTF date, a label has no value, or there are too
            many values.
    """
    date = params.get("date", "").strip()
    if date:
        dates.parse(date, field="date")
    labels = []
    for label in _list_values(params, "label"):
        key, sign, value = label.partition("=")
        if not sign or not key:
            raise errors.InvalidArgument(
                f"A label is KEY=VALUE, not {label!r}.", field="label", reason="BAD_LABEL"
            )
        labels.append((key, value))
    kind = params.get("kind", "")
    if kind not in {"", *ImageKind}:
        raise errors.InvalidArgument(f"{kind[:80]!r} is no kind of record.", field="kind")
    return Choice(
        journals=_list_values(params, "journal"),
        archives=_list_values(params, "archive"),
        languages=_list_values(params, "language"),
        date=date,
        caption=params.get("caption", "").strip()[:_LONGEST],
        labels=tuple(labels),
        kind=kind,
        pages=_list_values(params, "on_page"),
    )


def _list_values(params: QueryParams, key: str) -> tuple[str, ...]:
    values = tuple(dict.fromkeys(filter(None, params.getlist(key))))
    if len(values) > _MOST_VALUES:
        raise errors.InvalidArgument(
            f"At most {_MOST_VALUES} values of a kind can be chosen.", field=key
        )
    return values


def read_region(params: QueryParams) -> Region | None:
    """Read the part of a picture: `region=x,y,width,height`, or the four numbers one by one.

    Four numbers come from a form without JavaScript. Without any, it is the whole picture.

    Raises:
        errors.InvalidArgument: They are not four whole numbers.
    """
    text = params.get("region", "").strip()
    numbers = [params.get(name, "").strip() for name in ("x", "y", "w", "h")]
    if any(numbers):
        text = ",".join(number or "0" for number in numbers)
    if not text:
        return None
    match = _REGION.fullmatch(text)
    if match is None:
        raise errors.InvalidArgument(
            f"A part of a picture is four whole numbers, x,y,width,height, not {text[:60]!r}.",
            field="region",
            reason="BAD_REGION",
        )
    x, y, width, height = map(int, match.groups())
    return Region(x, y, width, height) if width and height else None


def format_region(region: Region | None) -> str:
    """Return a part of a picture as it stands in an address; "" for None."""
    return "" if region is None else ",".join(map(str, region))


def fit_region(region: Region | None, *, size: tuple[int, int]) -> Region | None:
    """Return a region cut to a picture's size; None if that is the whole picture, or nothing."""
    if region is None:
        return None
    left, top = min(region.x, size[0] - 1), min(region.y, size[1] - 1)
    width, height = min(region.width, size[0] - left), min(region.height, size[1] - top)
    if (width, height) == size:
        return None
    return Region(left, top, width, height)
