"""What the words of descriptions mean: kinds of blocks, languages, dates."""

from __future__ import annotations

import re
from typing import Final

from halftone.archive import date_hints, dates
from halftone.archive.pages.model import Kind
from halftone.core import errors

_KINDS: Final = {
    Kind.PICTURE: (
        "picture image illustration illus photo photograph photography photographie foto "
        "fotografie bild abbildung figure graphic graphics graphik grafik gravure engraving "
        "etching woodcut drawing linedrawing zeichnung dessin cartoon karikatur caricature comic "
        "comics map karte carte chart diagram portrait painting plate vignette ilustracion "
        "illustrazione illustratie afbeelding kuva graphiczone figurezone halftone pictorial"
    ),
    Kind.ADVERTISEMENT: (
        "advertisement advert advertising ad ads publicite reclame anzeige werbung reklame annonce "
        "annonces advertentie pubblicita anuncio ilmoitus classified classifieds"
    ),
    Kind.TABLE: "table tableau tabelle tabel tabella tabla taulukko tablezone",
    Kind.CAPTION: "caption legend legende bildunterschrift bildlegende onderschrift didascalia",
    Kind.OTHER: (
        "container separatorsbox separator rule line frame noise border barcode punchhole "
        "papergrow handwrittenannotation signature stamp"
    ),
}
_WORDS: Final = {word: kind for kind, words in _KINDS.items() for word in words.split()}
_ENDINGS: Final = ("zone", "region", "block", "s")

# ISO 639-2 codes, bibliographic and terminological, and names, of languages of printed archives.
_LANGUAGES: Final = {
    "ar": "ara arabic", "be": "bel", "bg": "bul bulgarian", "ca": "cat catalan",
    "cs": "cze ces czech", "cy": "wel cym welsh", "da": "dan danish",
    "de": "ger deu german deutsch gmh", "el": "gre ell greek", "en": "eng english",
    "es": "spa spanish", "et": "est estonian", "eu": "baq eus", "fa": "per fas",
    "fi": "fin finnish", "fr": "fre fra french francais", "fy": "fry", "ga": "gle irish",
    "gd": "gla", "gl": "glg", "he": "heb hebrew", "hi": "hin", "hr": "hrv scr croatian",
    "hu": "hun hungarian", "hy": "arm hye", "is": "ice isl icelandic", "it": "ita italian",
    "ja": "jpn japanese", "ka": "geo kat", "ko": "kor", "la": "lat latin",
    "lb": "ltz luxembourgish", "lt": "lit lithuanian", "lv": "lav latvian", "mk": "mac mkd",
    "mt": "mlt", "nl": "dut nld dutch", "no": "nor norwegian", "nb": "nob", "nn": "nno",
    "pl": "pol polish", "pt": "por portuguese", "rm": "roh", "ro": "rum ron romanian",
    "ru": "rus russian", "sk": "slo slk slovak", "sl": "slv slovenian", "sq": "alb sqi",
    "sr": "srp scc serbian", "sv": "swe swedish", "tr": "tur turkish", "uk": "ukr ukrainian",
    "yi": "yid yiddish", "zh": "chi zho chinese",
}  # fmt: skip
_TAGS: Final = {word: tag for tag, words in _LANGUAGES.items() for word in words.split()}
_TAG: Final = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*")
_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\d)T.*")
_MARKS: Final = {"approximate": "~", "questionable": "?"}


def classify(text: str | None) -> Kind | None:
    """Return the kind of block that a word means, in any case and several languages.

    It has to be the whole word: a page of type `ILLUSTRATION_PAGE` is no picture. None if the word
    says nothing of this sort.
    """
    word = re.sub(r"[^a-z0-9]", "", _fold(text or "").rpartition(":")[2])
    for ending in ("", *_ENDINGS):
        if word.endswith(ending) and (kind := _WORDS.get(word.removesuffix(ending))):
            return kind
    return None


def find_language(text: str | None) -> str:
    """Return the BCP 47 tag of a code or a name of a language; empty if it is not one."""
    word = (text or "").strip()
    folded = _fold(word)
    if folded in _TAGS:
        return _TAGS[folded]
    if folded in {"und", "zxx", "mul", "mis", "n/a"} or not _TAG.fullmatch(word):
        return ""
    head, *rest = word.replace("_", "-").split("-")
    return "-".join([_TAGS.get(head.lower(), head.lower()), *rest])


def read_date(text: str, *, qualifier: str = "") -> str:
    """Return the EDTF date that a description means; empty if that is not clear.

    Args:
        text: The date as it is written; EDTF, ISO 8601 with a time, `22.08.1914`, a month's name.
        qualifier: MODS's `approximate`, `questionable` or `inferred`.
    """
    written = _TIME.sub(r"\1", " ".join(text.split()))
    candidates = [written, *date_hints.list_readings(written)] if written else []
    readable = [date for date in dict.fromkeys(candidates) if date and _is_date(date)]
    # What is a date as it stands needs no reading; of two readings neither is certain.
    if not readable or (readable[0] != written and len(readable) > 1):
        return ""
    mark = _MARKS.get(qualifier, "")
    return readable[0] + (mark if re.fullmatch(r"[0-9X-]+", readable[0]) else "")


def _is_date(text: str) -> bool:
    if len(text) > dates.MAX_LENGTH:
        return False
    try:
        dates.parse(text)
    except errors.InvalidArgument:
        return False
    return True


def _fold(text: str) -> str:
    plain = text.strip().casefold()
    return plain.translate(str.maketrans("éèêàâçïîôûüöäñóí", "eeeaaciiouuoanoi"))
