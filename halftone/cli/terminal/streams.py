"""Makes the standard streams take every text, whatever their encoding."""

from __future__ import annotations

import codecs
import contextlib
import io
import sys
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

_HANDLER: Final = "halftone.escape"


class _Escaper:
    r"""An error handler of encoders that writes `\u0414` for a character that cannot be written.

    Attributes:
        used: Whether it was needed.
    """

    def __init__(self) -> None:
        self.used = False

    def __call__(self, error: UnicodeError) -> tuple[str | bytes, int]:
        self.used = True
        return codecs.backslashreplace_errors(error)


@contextlib.contextmanager
def escaping() -> Iterator[None]:
    """Let the standard streams escape what their encoding lacks, and say so at the end.

    A pipe may have a legacy encoding (`PYTHONIOENCODING=cp1252`, the C locale), and file names may
    hold bytes that are no text at all. Neither may end a command with a traceback.
    """
    escaper = _Escaper()
    codecs.register_error(_HANDLER, escaper)
    changed = [
        (stream, stream.errors)
        for stream in (sys.stdout, sys.stderr)
        if isinstance(stream, io.TextIOWrapper)
    ]
    for stream, _ in changed:
        stream.reconfigure(errors=_HANDLER)
    try:
        yield
    finally:
        for stream, before in changed:
            # A closed stream stays as it is. One that cannot be written says so again at its end.
            with contextlib.suppress(ValueError, OSError):
                stream.reconfigure(errors=before)
        if escaper.used and not is_unicode(sys.stdout):
            click.echo(
                f"The output's encoding, {sys.stdout.encoding}, lacks some characters, which were "
                "written as their codes; PYTHONIOENCODING=utf-8 writes them as they are.",
                err=True,
            )


def is_unicode(stream: TextIO) -> bool:
    """Return whether a stream's encoding has every character."""
    try:
        return codecs.lookup(stream.encoding or "utf-8").name.startswith("utf")
    except LookupError:
        return False
