"""Lists rows of an import in CSV files: those that were rejected, and those with a note."""

from __future__ import annotations

import contextlib
import csv
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Final

from halftone.core import errors, files
from halftone.core.formulas import guard

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import Self

_MARK: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, kw_only=True)
class Purpose:
    """What rows are listed for.

    Attributes:
        header: The names of the list's columns.
        one: The only row that is listed, in words.
        several: The rows that are listed, with `{count}` in it.
        option: The option by which another file is named.
        what: What each row is listed with.
    """

    header: tuple[str, ...]
    one: str
    several: str
    option: str
    what: str


REJECTED: Final = Purpose(
    header=("row", "image_id", "reason"),
    one="The rejected row",
    several="The {count} rejected rows",
    option="--rejected",
    what="with the reason",
)
NOTED: Final = Purpose(
    header=("row", "image_id", "note"),
    one="The row that was kept with a note",
    several="The {count} rows that were kept with a note",
    option="--notes",
    what="with it",
)


class RowList:
    """A list of rows. Its file is created with the first row.

    If the file cannot be written, the rows are counted all the same: an import must not end
    because of its report.

    Args:
        path: The file. The list of an earlier run is removed, because it would be mistaken for this
            run's; any other file is not ours and stays as it is, unless it is empty and there are
            rows to be listed.
        purpose: What the rows are listed for.
        numbering: A sentence about what the numbers of rows count, or "".
        refuse: Whether a file that is not ours is refused at the start. Otherwise the rows, if
            there are any, are not listed, and `describe` says so.

    Attributes:
        count: The number of rows.

    Raises:
        errors.InvalidArgument: The file is no such list, and `refuse` is set. Raised when the
            context is entered.
    """

    def __init__(
        self, path: Path, *, purpose: Purpose, numbering: str, refuse: bool = True
    ) -> None:
        self.count = 0
        self._path = path
        self._purpose = purpose
        self._numbering = numbering
        self._refuse = refuse
        self._file: IO[str] | None = None
        self._problem = ""

    def __enter__(self) -> Self:
        try:
            begins, ours = self._look()
            if ours:
                self._path.unlink()
            elif begins and self._refuse:
                raise errors.InvalidArgument(
                    f"{self._path} exists and is no list of rows; name another file with "
                    f"{self._purpose.option}.",
                    field=self._purpose.option.removeprefix("--"),
                )
        except OSError as error:
            self._fail(error)
        return self

    def _look(self) -> tuple[bytes, bool]:
        """Return how the file begins, empty if it is not there, and whether it is such a list."""
        if not self._path.is_file():
            return b"", False
        header = ",".join(self._purpose.header).encode()
        with self._path.open("rb") as file:
            begins = file.read(len(_MARK) + len(header)).removeprefix(_MARK)
        return begins, begins.startswith(header)

    def add(self, row: int, *, image_id: str, text: str) -> None:
        """Append a row, unless the file could not be written before."""
        self.count += 1
        if self._problem:
            return
        try:
            if self._file is None:
                begins, ours = self._look()
                if begins and not ours:
                    self._problem = "the file exists and is no list of rows"
                    return
                # By its mark a spreadsheet knows that a file is UTF-8.
                self._file = files.with_folders(self._path).open(
                    "w", newline="", encoding="utf-8-sig", errors="backslashreplace"
                )
                csv.writer(self._file).writerow(self._purpose.header)
            csv.writer(self._file).writerow((row, guard(image_id), guard(text)))
            self._file.flush()
        except OSError as error:
            self._fail(error)

    def describe(self) -> list[str]:
        """Return a sentence about where the rows are listed, and which rows those are."""
        if not self.count and not self._problem:
            return []
        path = self._path.absolute()
        if not self.count:
            text = f"{path} lists rows of an earlier import, and cannot be removed"
            return [f"{text}: {self._problem}."]
        one = self.count == 1
        rows = self._purpose.one if one else self._purpose.several.format(count=f"{self.count:,}")
        if self._problem:
            text = (
                f"{rows} could not be listed in {path}: {self._problem}. The same command with "
                f"{self._purpose.option} FILE lists {'it' if one else 'them'} elsewhere."
            )
        else:
            text = f"{rows} {'is' if one else 'are'} listed {self._purpose.what} in {path}."
        return [f"{text} {self._numbering}".rstrip()]

    def _fail(self, error: OSError) -> None:
        self._problem = error.strerror or str(error)
        self._close()

    def _close(self) -> None:
        # What is still buffered may fail once more.
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close()
