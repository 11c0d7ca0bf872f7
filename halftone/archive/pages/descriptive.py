"""Reads what METS says of an issue in MODS or Dublin Core: title, date, language, rights."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from halftone.archive.pages import markup
from halftone.archive.pages.vocabulary import find_language, read_date

if TYPE_CHECKING:
    from collections.abc import Iterable
    from xml.etree.ElementTree import Element

_DATES: Final = ("dateIssued", "dateCreated", "dateCaptured", "date")
_RIGHTS: Final = ("", "useandreproduction", "restrictiononaccess", "rights", "license")
_TRAILING_DATE: Final = re.compile(r",?\s*\(?\d{4}-\d\d-\d\d\)?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What is known of an issue; empty where nothing is."""

    title: str = ""
    date: str = ""
    date_text: str = ""
    language: str = ""
    rights: str = ""
    page: str = ""


def read(section: Element) -> Description:
    """Return what a `dmdSec` says."""
    mods = next(section.iter("mods"), None)
    if mods is not None:
        return _read_mods(mods)
    return _read_dublin_core(section)


def merge(descriptions: Iterable[Description], *, label: str) -> Description:
    """Return the first that is known of each field.

    Args:
        descriptions: The most telling first.
        label: The label of the whole, which has the title where nothing else has.
    """
    every = list(descriptions)

    def first(field: str) -> str:
        return next((value for each in every if (value := getattr(each, field))), "")

    dated = next((each for each in every if each.date), None)
    label_date = re.search(r"\d{4}-\d\d-\d\d", label)
    date = dated.date if dated else read_date(label_date[0]) if label_date else ""
    return Description(
        title=first("title") or _TRAILING_DATE.sub("", label).strip(),
        date=date,
        date_text="" if date else first("date_text"),
        language=first("language"),
        rights=first("rights"),
    )


def _read_mods(mods: Element) -> Description:
    title = _read_title(mods.find("titleInfo"))
    if not title:
        # Issues often have only a number; the journal is what they belong to.
        hosts = (each for each in mods.findall("relatedItem") if each.get("type") == "host")
        title = next(filter(None, (_read_title(host.find("titleInfo")) for host in hosts)), "")
    date, date_text = _read_dates(mods)
    # Some libraries keep there which viewer shows the issue.
    rights = next(
        (
            each
            for each in mods.iter("accessCondition")
            if each.get("type", "").lower().replace(" ", "") in _RIGHTS
        ),
        None,
    )
    return Description(
        title=title,
        date=date,
        date_text=date_text,
        language=_read_language(mods),
        rights=markup.read_text(rights) or ("" if rights is None else rights.get("href", "")),
        page=_read_page_number(mods),
    )


def _read_title(info: Element | None) -> str:
    if info is None:
        return ""
    parts = (markup.read_text(info.find(name)) for name in ("nonSort", "title"))
    return " ".join(filter(None, parts))


def _read_dates(mods: Element) -> tuple[str, str]:
    origins = [*mods.findall("originInfo"), *mods.findall("part")]
    written = [
        each
        for name in _DATES
        for origin in origins
        for each in origin.findall(name)
        if markup.read_text(each)
    ]
    # A key date is what a catalogue sorts by.
    written.sort(key=lambda each: each.get("keyDate") != "yes")
    for element in written:
        text = markup.read_text(element)
        date = read_date(text, qualifier=element.get("qualifier", ""))
        end = next(
            (each for each in written if each.tag == element.tag and each.get("point") == "end"),
            None,
        )
        if date and element.get("point") == "start" and end is not None:
            interval = read_date(f"{date}/{read_date(markup.read_text(end))}")
            return interval or date, text
        if date:
            return date, text
    return "", markup.read_text(written[0]) if written else ""


def _read_language(mods: Element) -> str:
    terms = [term for language in mods.findall("language") for term in language]
    terms = [term for term in terms if term.tag == "languageTerm"]
    terms.sort(key=lambda term: term.get("type") != "code")
    return next(filter(None, (find_language(markup.read_text(term)) for term in terms)), "")


def _read_page_number(mods: Element) -> str:
    for detail in mods.iter("detail"):
        if (detail.get("type") or "").lower() in {"page number", "page"}:
            return markup.read_text(detail.find("number"))
    return ""


def _read_dublin_core(section: Element) -> Description:
    def first(*names: str) -> str:
        return next(
            (
                text
                for name in names
                for each in section.iter(name)
                if (text := markup.read_text(each))
            ),
            "",
        )

    written = first("issued", "created", "date")
    return Description(
        title=first("title"),
        date=read_date(written) if written else "",
        date_text=written,
        language=find_language(first("language")),
        rights=first("license", "rights"),
    )
