"""Imports that are started from the page: files arrive, are sent to the archive, and are removed.

An import's files lie in a folder of its own until it is over; `import_files` says which records
they make.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import re
import secrets
import shutil
import threading
import time
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from halftone.client import ImportAck, ImportState
from halftone.core import errors
from halftone.core.bugs import conceal_bug
from halftone.services.web.answers import import_files
from halftone.services.web.answers.imports_kept import (
    Fault,
    Note,
    Rejected,
    read_notes,
    remove_note,
    write_note,
)
from halftone.services.web.answers.unpacking import Bounds

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from starlette.datastructures import UploadFile

    from halftone.archive.manifests import Row
    from halftone.client import AsyncClient, NewImage
    from halftone.core.settings import WebSettings

_ARCHIVE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_MOST_KEPT: Final = 50
_MOST_REJECTED: Final = 1000
_IDLE_SECONDS: Final = 3600.0
_NOTE_SECONDS: Final = 2.0


class State(StrEnum):
    """The state of an import."""

    COLLECTING = "collecting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    """The page was stopped meanwhile."""

    @property
    def is_over(self) -> bool:
        """Return whether it has ended."""
        return self not in {State.COLLECTING, State.RUNNING}


@dataclass(kw_only=True)
class Import:
    """An import and how far it is.

    Attributes:
        archive: The archive to import into.
        folder: Where its files lie.
        unpacked: How many files of the zip file at hand are unpacked, and of how many.
        total: The number of records to import, once it runs and they are known.
        counts: Acknowledged records by their state.
        rejected: The first thousand rejected records.
        problem: Why it failed; or what it waits for while it runs.
        touched: When something was last done with it, in seconds of the monotonic clock.
        began: When it was begun.
    """

    id: str
    archive: str
    folder: Path
    state: State = State.COLLECTING
    files: int = 0
    bytes: int = 0
    unpacked: tuple[int, int] = (0, 0)
    total: int = 0
    counts: dict[ImportState, int] = field(default_factory=lambda: dict.fromkeys(ImportState, 0))
    rejected: list[ImportAck] = field(default_factory=list)
    problem: errors.HalftoneError | None = None
    touched: float = field(default_factory=time.monotonic)
    began: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))

    @property
    def done(self) -> int:
        """Return the number of records that were acknowledged."""
        return sum(self.counts.values())

    @property
    def has_some(self) -> bool:
        """Return whether any record is in the archive now."""
        return self.done > self.counts[ImportState.REJECTED]

    def count(self, ack: ImportAck) -> None:
        """Count an acknowledgement."""
        self.problem = None
        self.counts[ack.state] += 1
        if ack.state is ImportState.REJECTED and len(self.rejected) < _MOST_REJECTED:
            self.rejected.append(ack)

    def make_note(self) -> Note:
        """Return what is kept of it over a restart."""
        return Note(
            id=self.id,
            archive=self.archive,
            state=self.state.value,
            files=self.files,
            bytes=self.bytes,
            total=self.total,
            counts=dict(self.counts),
            rejected=tuple(map(Rejected.of, self.rejected)),
            problem=Fault.of(self.problem),
            time=time.time(),
            began=self.began.timestamp(),
        )

    @classmethod
    def of(cls, note: Note, *, folder: Path) -> Import:
        """Return the import of a note. What was under way when the page ended was interrupted."""
        state = State(note.state) if note.state in set(State) else State.INTERRUPTED
        return cls(
            id=note.id,
            archive=note.archive,
            folder=folder,
            state=state if state.is_over else State.INTERRUPTED,
            files=note.files,
            bytes=note.bytes,
            total=note.total,
            counts={**dict.fromkeys(ImportState, 0), **note.counts},
            rejected=[each.make_ack() for each in note.rejected],
            problem=note.problem.make_error() if note.problem else None,
            began=dt.datetime.fromtimestamp(note.began or note.time, dt.UTC),
        )


class Imports:
    """The imports that this page has begun, the last ones of earlier processes included.

    Args:
        client: Sends the records.
        settings: The limits, and the directory of the files.
    """

    def __init__(self, client: AsyncClient, *, settings: WebSettings) -> None:
        self._client = client
        self._settings = settings
        self._directory = settings.data_directory / "imports"
        self._imports: dict[str, Import] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._endings: set[asyncio.Task[None]] = set()
        self._is_closing = False
        self._note_lock = threading.Lock()

    async def __aenter__(self) -> Self:
        notes = await asyncio.to_thread(self._clear)
        for note in notes:
            self._imports[note.id] = Import.of(note, folder=self._directory / note.id)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._is_closing = True
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        await asyncio.gather(*self._endings, return_exceptions=True)

    def _clear(self) -> list[Note]:
        """Remove the files that an earlier process left behind, and return its notes."""
        for path in self._directory.glob("*"):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
        return read_notes(self._directory)

    def list(self) -> list[Import]:
        """Return the imports, the newest first."""
        return [*reversed(self._imports.values())]

    def get(self, import_id: str) -> Import:
        """Return an import.

        Raises:
            errors.NotFound: There is no such import, or too many came after it.
        """
        if import_id not in self._imports:
            raise errors.NotFound(
                "This import is not known. The page remembers its last imports only; the records "
                "that it had imported stay.",
                resource_type="import",
                reason="IMPORT_UNKNOWN",
                resource_name=import_id,
            )
        return self._imports[import_id]

    async def begin(self, *, archive: str) -> Import:
        """Return a new import, to which files can be added.

        Raises:
            errors.InvalidArgument: That is no name of an archive.
        """
        if not _ARCHIVE.fullmatch(archive):
            raise errors.InvalidArgument(
                "An archive's name is made of letters from a to z, digits, dots, dashes and "
                "underscores, at most 63, and begins with a letter or a digit.",
                field="archive",
                reason="BAD_ARCHIVE_NAME",
            )
        await self._forget()
        import_id = secrets.token_hex(8)
        new = Import(id=import_id, archive=archive, folder=self._directory / import_id)
        self._imports[import_id] = new
        await self._keep(new)
        return new

    async def add(self, target: Import, uploaded: Iterable[UploadFile]) -> None:
        """Take files into an import that has not been started.

        Raises:
            errors.FailedPrecondition: It has been started.
            errors.InvalidArgument: A file's path cannot be used, or the files are too many or
                too large.
            errors.StorageFull: The disk is full.
        """
        for file in uploaded:
            if not file.filename:
                continue  # a form without a chosen file sends an empty one
            size = file.size or 0
            self._check_room(target, size=size)
            path = target.folder / import_files.check_path(file.filename)
            # Counted before it is written: others that arrive meanwhile have less room.
            target.files += 1
            target.bytes += size
            target.touched = time.monotonic()
            try:
                await asyncio.to_thread(self._write, path, file)
            except errors.HalftoneError:
                target.files -= 1
                target.bytes -= size
                raise

    def _write(self, path: Path, file: UploadFile) -> None:
        """Write a file down, in a thread: a slow disk must not keep others from reading a page."""
        self._directory.mkdir(parents=True, exist_ok=True)
        room = shutil.disk_usage(self._directory).free - self._settings.min_free_bytes
        if room < (file.size or 0):
            raise errors.StorageFull("The disk of this page is full, so it takes no files.")
        import_files.write(path, file)

    def start(self, target: Import) -> None:
        """Start an import; its progress is in its fields from now on.

        Raises:
            errors.FailedPrecondition: It has been started, or has no files.
        """
        self._check_collecting(target)
        if not target.files:
            raise errors.InvalidArgument("Choose files first.", field="files", reason="NO_FILES")
        target.state = State.RUNNING
        target.touched = time.monotonic()
        self._tasks[target.id] = asyncio.create_task(self._run(target))

    async def cancel(self, target: Import) -> None:
        """Stop an import. The records that it has imported stay."""
        task = self._tasks.get(target.id)
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        elif not target.state.is_over:
            target.state = State.CANCELLED
            await asyncio.to_thread(shutil.rmtree, target.folder, ignore_errors=True)
            await self._keep(target)

    async def _keep(self, target: Import) -> None:
        """Write down how far an import is. A full disk does not end it."""
        with contextlib.suppress(OSError, errors.StorageFull):
            await asyncio.to_thread(self._write_note, target)

    def _write_note(self, target: Import) -> None:
        # A thread that comes late writes the last state all the same, not the one when it was sent.
        with self._note_lock:
            write_note(target.make_note(), directory=self._directory)

    async def _keep_on(self, target: Import) -> None:
        while True:
            await self._keep(target)
            await asyncio.sleep(_NOTE_SECONDS)

    async def _run(self, target: Import) -> None:
        keeping = asyncio.create_task(self._keep_on(target))
        try:
            rows = await self._prepare(target)

            def wait(error: errors.HalftoneError, _seconds: float) -> None:
                target.problem = error

            await self._client.import_images(rows, on_progress=target.count, on_wait=wait)
            target.state = State.SUCCEEDED
        except asyncio.CancelledError:
            target.state = State.INTERRUPTED if self._is_closing else State.CANCELLED
            raise
        except Exception as error:  # noqa: BLE001 - it is shown on the import's page
            target.problem = conceal_bug(error, task="import")
            target.state = State.FAILED
        finally:
            target.touched = time.monotonic()
            keeping.cancel()
            # A cancelled task must not be left without its files removed.
            ending = asyncio.create_task(self._end(target))
            self._endings.add(ending)
            ending.add_done_callback(self._endings.discard)
            await asyncio.shield(ending)

    async def _prepare(self, target: Import) -> Sequence[Row | NewImage]:
        """Return the records of an import's files, from zip files, too."""
        stop = threading.Event()
        reading = asyncio.create_task(asyncio.to_thread(self._read, target, stop))
        try:
            return await asyncio.shield(reading)
        except asyncio.CancelledError:
            stop.set()
            # The files are removed next, under the thread's hands.
            await asyncio.gather(reading, return_exceptions=True)
            raise

    def _read(self, target: Import, stop: threading.Event) -> Sequence[Row | NewImage]:
        def count(done: int, total: int) -> None:
            target.unpacked = (done, total)

        for path in import_files.list_zips(target.folder):
            size = path.stat().st_size
            unpacked = import_files.unpack_zip(
                path, bounds=self._make_bounds(target, size), stop=stop, on_member=count
            )
            # The zip file is gone.
            target.files += unpacked.files - 1
            target.bytes += unpacked.bytes - size
            for name, error in unpacked.rejected:
                target.count(ImportAck(row=0, name=name, state=ImportState.REJECTED, error=error))
        rows = tuple(import_files.read_records(target.folder, archive=target.archive))
        target.total = target.done + len(rows)
        return rows

    def _make_bounds(self, target: Import, size: int) -> Bounds:
        """Return how much may come out of a zip file of that size."""
        settings = self._settings
        free = shutil.disk_usage(self._directory).free - settings.min_free_bytes
        return Bounds(
            members=settings.max_import_files - target.files + 1,
            bytes=min(settings.max_import_bytes - self._count_waiting() + size, free),
            member_bytes=settings.max_image_bytes,
        )

    def _count_waiting(self) -> int:
        """Return the bytes of files that wait to be imported."""
        return sum(each.bytes for each in self.list() if not each.state.is_over)

    async def _end(self, target: Import) -> None:
        self._tasks.pop(target.id, None)
        await asyncio.to_thread(shutil.rmtree, target.folder, ignore_errors=True)
        await self._keep(target)

    def _check_collecting(self, target: Import) -> None:
        if target.state is not State.COLLECTING:
            raise errors.FailedPrecondition(
                "This import has been started already.", subject=target.id, reason="IMPORT_STARTED"
            )

    def _check_room(self, target: Import, *, size: int) -> None:
        self._check_collecting(target)
        settings = self._settings
        if target.files >= settings.max_import_files:
            raise errors.InvalidArgument(
                f"An import from this page takes at most {settings.max_import_files:,} files; "
                "`halftone import` has no such limit.",
                field="files",
                reason="TOO_MANY_FILES",
            )
        if self._count_waiting() + size > settings.max_import_bytes:
            raise errors.InvalidArgument(
                f"At most {settings.max_import_bytes // 2**20:,} MiB wait to be imported at a "
                "time; `halftone import` has no such limit.",
                field="files",
                reason="TOO_MANY_BYTES",
            )

    async def _forget(self) -> None:
        """Remove imports that were never started, and forget the oldest of those that are over."""
        now = time.monotonic()
        for each in list(self._imports.values()):
            if each.state is State.COLLECTING and now - each.touched > _IDLE_SECONDS:
                await self.cancel(each)
        over = [each.id for each in self._imports.values() if each.state.is_over]
        for import_id in over[: max(0, len(over) - _MOST_KEPT)]:
            del self._imports[import_id]
            await asyncio.to_thread(remove_note, import_id, directory=self._directory)
