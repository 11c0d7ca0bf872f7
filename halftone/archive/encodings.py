"""Finds out in which encoding a text file is, and opens it.

A spreadsheet saves UTF-8, UTF-16 ("Unicode text") or, in the western world, Windows-1252, and does
not say which. The first two cannot be mistaken. What is neither is read as Windows-1252 unless it
holds bytes that mean nothing there; `Encoding.remark` then shows a word of it, by which a person
sees at once whether that was right.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TextIO

from halftone.core import errors

if TYPE_CHECKING:
    from pathlib import Path

FALLBACK: Final = "cp1252"
"""The encoding of a file that is neither UTF-8 nor UTF-16, if nobody names one."""

_CHUNK: Final = 1024 * 1024
# UTF-32 comes first, since its mark begins as that of UTF-16 does.
_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SAMPLE: Final = 4096
# Every other byte of a header in Latin letters is zero. Texts in other encodings have no zeros.
_LEAST_ZEROS: Final = 0.35
_OTHERS: Final = "cp1252 (Windows), cp850 (DOS), mac_roman (older Macs) or latin-1"
_WORD: Final = re.compile(rb"[A-Za-z\x80-\xff]*[\x80-\xff][A-Za-z\x80-\xff]*")
# A character of UTF-8 that is not ASCII. In texts in Windows-1252 such bytes seldom meet.
_SEQUENCE: Final = re.compile(
    rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}"
)
_LONGEST_WORD: Final = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """The encoding of a file.

    Attributes:
        name: Its name in Python.
        remark: A sentence for people if it was guessed, or "".
    """

    name: str
    remark: str = ""


def choose_encoding(path: Path, *, encoding: str | None) -> Encoding:
    """Return the encoding of a file, and check that all of the file is in it.

    Args:
        path: The file.
        encoding: Its encoding; None to find it out. A file that begins with the mark of UTF-16 is
            that even if UTF-8 is named.

    Raises:
        errors.InvalidArgument: The file is not in that encoding or in none that can be found out,
            or no such encoding exists.
        OSError: The file cannot be read.
    """
    if encoding in {None, "utf-8"}:
        encoding = _find_wide(path, by_zeros=encoding is None) or encoding
    if encoding is not None:
        _check(path, encoding=encoding)
        return Encoding(name=encoding)
    try:
        _check(path, encoding="utf-8")
    except errors.InvalidArgument as error:
        try:
            _check(path, encoding=FALLBACK)
        except errors.InvalidArgument:
            raise error from None
        if _is_mixed(path):
            raise
        word = _find_word(path)
        return Encoding(
            name=FALLBACK,
            remark=f"{path.name} is not UTF-8; read as Windows-1252, as in “{word}”. If that is "
            f"not what is meant, name its encoding: {_OTHERS}.",
        )
    return Encoding(name="utf-8")


def open_text(path: Path, *, encoding: str, newline: str | None = None) -> TextIO:
    """Open a text file whose encoding was chosen. A byte order mark at its beginning is skipped."""
    utf_8 = codecs.lookup(encoding).name == "utf-8"
    return path.open(encoding="utf-8-sig" if utf_8 else encoding, newline=newline)


def _find_wide(path: Path, *, by_zeros: bool) -> str | None:
    """Return the encoding of a file whose characters take two or four bytes each, or None."""
    with path.open("rb") as file:
        sample = file.read(_SAMPLE)
    for mark, name in _MARKS:
        if sample.startswith(mark):
            return name
    if by_zeros and sample:
        half = len(sample) / 2
        if sample[1::2].count(0) > _LEAST_ZEROS * half and sample[::2].count(0) == 0:
            return "utf-16-le"
        if sample[::2].count(0) > _LEAST_ZEROS * half and sample[1::2].count(0) == 0:
            return "utf-16-be"
    return None


def _find_word(path: Path) -> str:
    """Return the first word of a file that is not ASCII, as Windows-1252 has it."""
    with path.open("rb") as file:
        for line in file:
            match = _WORD.search(line)
            if match:
                return match[0][:_LONGEST_WORD].decode(FALLBACK, "replace")
    return ""


def _is_mixed(path: Path) -> bool:
    """Return whether a file is UTF-8 for the most part, with something else pasted in."""
    good = other = 0
    with path.open("rb") as file:
        for line in file:
            sequences = _SEQUENCE.findall(line)
            good += len(sequences)
            other += sum(byte > 0x7F for byte in line) - sum(map(len, sequences))  # noqa: PLR2004 - ASCII
    return good > other


def _check(path: Path, *, encoding: str) -> None:
    """Read all of a file once, so that a wrong encoding is known before the first row."""
    try:
        # This also refuses `hex`, which is a codec but no encoding of text.
        b"a".decode(encoding, "ignore")
        decoder = codecs.getincrementaldecoder(encoding)()
    except (LookupError, ValueError) as error:
        raise errors.InvalidArgument(
            f"{encoding!r} is not an encoding of text that Python knows.", field="encoding"
        ) from error
    line = 1
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError as error:
                line += chunk.count(b"\n", 0, error.start)
                raise _make_error(path, encoding=encoding, line=line) from error
            line += chunk.count(b"\n")
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise _make_error(path, encoding=encoding, line=line) from error


def _make_error(path: Path, *, encoding: str, line: int) -> errors.InvalidArgument:
    return errors.InvalidArgument(
        f"{path} is not {encoding}: line {line} holds a byte that cannot be. Name its "
        f"encoding, for example {_OTHERS}.",
        field="encoding",
        reason="WRONG_ENCODING",
    )
