"""The clusters' file: one SQLite database in the data directory, written by one process.

    clusters.sqlite3    verdicts, compared pairs, clusters and their members, jobs
    clusters.lock       held by the process that writes it

Writes go through one connection, one transaction at a time. Reads have connections of their own and
see the file as it was when they began (write-ahead log). Any thread may read or write; calls block.
A transaction is on disk when it ends (`synchronous=FULL`), because verdicts are archivists' work.

Pairs are kept by the hashes of the pictures' bytes, so they outlive records and clusters. What
depends on the model version (similarity and probability) is marked with that version. Images are
known by the ids of their points, which no model version changes.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from typing import TYPE_CHECKING, Any, Final

from halftone.core import errors, telemetry
from halftone.core.batches import batched
from halftone.core.locks import FileLock, LockHeldError, locked

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

SCHEMA: Final = 6
"""The version of the tables. An older file is upgraded when it is opened; a newer one is
refused."""

FILE: Final = "clusters.sqlite3"

_BUSY_SECONDS: Final = 30.0
_IDLE_READERS: Final = 4
CHUNK: Final = 500
"""The most values in one `IN` list."""

_log = telemetry.get_logger(__name__)

_TABLES: Final = """
CREATE TABLE verdicts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    a TEXT NOT NULL, b TEXT NOT NULL,                -- names, the lesser first
    point_a BLOB NOT NULL, point_b BLOB NOT NULL,
    decision INTEGER NOT NULL,
    note TEXT NOT NULL, author TEXT NOT NULL,
    create_time INTEGER NOT NULL,                    -- microseconds
    end_time INTEGER,                                -- null while it holds
    overruled INTEGER NOT NULL DEFAULT 0,            -- whether later ones contradict it
    sha_a BLOB, sha_b BLOB                           -- the pictures that were judged, by point;
                                                     -- null if an earlier release judged them
);
CREATE UNIQUE INDEX verdicts_that_hold ON verdicts (point_a, point_b) WHERE end_time IS NULL;
CREATE INDEX verdicts_by_a ON verdicts (point_a);
CREATE INDEX verdicts_by_b ON verdicts (point_b);

CREATE TABLE pictures (
    id INTEGER PRIMARY KEY,
    sha256 BLOB NOT NULL UNIQUE,
    searched INTEGER NOT NULL DEFAULT 0,             -- the last job that looked for candidates of
                                                     -- it; 0 before any has
    grouped INTEGER NOT NULL DEFAULT 0               -- whether it took part in a grouping since
);
CREATE INDEX pictures_by_searched ON pictures (searched, id);
CREATE INDEX pictures_not_grouped ON pictures (searched, id) WHERE grouped = 0;
CREATE TABLE images (                                -- those that are in the archive
    point BLOB PRIMARY KEY,
    picture INTEGER NOT NULL,
    page BLOB,                                       -- the point of the page that it stands on,
                                                     -- if its record names one
    place TEXT                                       -- x,y,width,height on it, if that is known
) WITHOUT ROWID;
CREATE INDEX images_by_picture ON images (picture, point);
CREATE INDEX images_by_page ON images (page) WHERE page IS NOT NULL;

CREATE TABLE versions (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE pairs (
    a INTEGER NOT NULL, b INTEGER NOT NULL,          -- pictures; a is the query, the lesser hash
    probability REAL NOT NULL,
    share REAL NOT NULL,                             -- of the picture of which less is shared
    relation INTEGER NOT NULL,
    evidence BLOB NOT NULL,                          -- the regression's features, float32
    verification BLOB,                               -- the message; null without an overlap
    model INTEGER NOT NULL, format INTEGER NOT NULL, -- versions
    job INTEGER NOT NULL,
    PRIMARY KEY (a, b)
) WITHOUT ROWID;
CREATE INDEX pairs_by_b ON pairs (b, a);
CREATE INDEX pairs_by_model ON pairs (model);
CREATE INDEX pairs_by_probability ON pairs (probability);
CREATE TABLE pair_floor (                            -- one row
    job INTEGER NOT NULL,                            -- pairs of earlier jobs do not count
    swept INTEGER NOT NULL                           -- pairs of jobs before this one are deleted
);
INSERT INTO pair_floor VALUES (0, 0);

CREATE TABLE clusters (
    id TEXT PRIMARY KEY,
    successor TEXT,                                  -- where the id of one that ended leads, if to
                                                     -- any
    size INTEGER NOT NULL, weakest REAL NOT NULL,
    create_time INTEGER NOT NULL, update_time INTEGER NOT NULL,
    first BLOB NOT NULL,                             -- the earliest printing's point
    journals TEXT NOT NULL, journal_count INTEGER NOT NULL,
    earliest INTEGER, latest INTEGER, span_years INTEGER NOT NULL,
    end_time INTEGER,                                -- null while it lives
    undated INTEGER                                  -- printings without a date; null if the
                                                     -- summary is of an earlier release
) WITHOUT ROWID;
CREATE INDEX clusters_by_size ON clusters (size DESC, id) WHERE end_time IS NULL;
CREATE INDEX clusters_by_span ON clusters (span_years DESC, id) WHERE end_time IS NULL;
CREATE INDEX clusters_by_journals ON clusters (journal_count DESC, id) WHERE end_time IS NULL;
CREATE TABLE members (
    point BLOB PRIMARY KEY,
    cluster TEXT NOT NULL,
    weakest REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX members_by_cluster ON members (cluster, point);
CREATE TABLE former (                                -- images of ids that ended or lost them
    point BLOB NOT NULL,
    cluster TEXT NOT NULL,
    PRIMARY KEY (point, cluster)
) WITHOUT ROWID;
CREATE INDEX former_by_cluster ON former (cluster, point);

CREATE TABLE jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    request_id TEXT UNIQUE,
    from_scratch INTEGER NOT NULL,
    state INTEGER NOT NULL,
    model_version TEXT NOT NULL,
    create_time INTEGER NOT NULL, end_time INTEGER,
    compared INTEGER NOT NULL DEFAULT 0, found INTEGER NOT NULL DEFAULT 0,
    searched INTEGER NOT NULL DEFAULT 0, images INTEGER NOT NULL DEFAULT 0,
    clusters INTEGER NOT NULL DEFAULT 0, clustered INTEGER NOT NULL DEFAULT 0,
    largest INTEGER NOT NULL DEFAULT 0,
    error TEXT NOT NULL DEFAULT ''
);
CREATE TABLE requests (                              -- that were answered with a job under way
    id TEXT PRIMARY KEY,
    job INTEGER NOT NULL
) WITHOUT ROWID;
"""

_UPGRADES: Final = {
    # In schema 1, `clusters.successor` was '' while a cluster lived and null when it led nowhere;
    # `pictures.searched` was negative while a picture was searched for and not yet grouped. The
    # first files of schema 1 lack `requests` and `former`.
    1: """
CREATE TABLE IF NOT EXISTS requests (id TEXT PRIMARY KEY, job INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS former (
    point BLOB NOT NULL, cluster TEXT NOT NULL, PRIMARY KEY (point, cluster)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS former_by_cluster ON former (cluster, point);

DROP INDEX clusters_by_size;
DROP INDEX clusters_by_span;
DROP INDEX clusters_by_journals;
ALTER TABLE clusters ADD COLUMN end_time INTEGER;
UPDATE clusters SET end_time = update_time WHERE successor IS NOT '';
UPDATE clusters SET successor = NULL WHERE successor = '';
CREATE INDEX clusters_by_size ON clusters (size DESC, id) WHERE end_time IS NULL;
CREATE INDEX clusters_by_span ON clusters (span_years DESC, id) WHERE end_time IS NULL;
CREATE INDEX clusters_by_journals ON clusters (journal_count DESC, id) WHERE end_time IS NULL;

ALTER TABLE pictures ADD COLUMN grouped INTEGER NOT NULL DEFAULT 0;
UPDATE pictures SET grouped = 1 WHERE searched > 0;
UPDATE pictures SET searched = -searched WHERE searched < 0;
CREATE INDEX pictures_not_grouped ON pictures (searched, id) WHERE grouped = 0;

CREATE TABLE pair_floor (job INTEGER NOT NULL, swept INTEGER NOT NULL);
INSERT INTO pair_floor VALUES (0, 0);
""",
    # In schema 2, `clusters.span_years` counted from the first possible day to the last one, and
    # undated printings were not counted. The next grouping makes such summaries anew.
    2: "ALTER TABLE clusters ADD COLUMN undated INTEGER;",
    # Schema 4 finds the pairs near the threshold of a link without reading all pairs.
    3: "CREATE INDEX pairs_by_probability ON pairs (probability);",
    # Schema 5 knows which page a picture stands on, and where.
    4: """
ALTER TABLE images ADD COLUMN page BLOB;
ALTER TABLE images ADD COLUMN place TEXT;
CREATE INDEX images_by_page ON images (page) WHERE page IS NOT NULL;
""",
    # Schema 6 knows which pictures were judged.
    5: "ALTER TABLE verdicts ADD COLUMN sha_a BLOB; ALTER TABLE verdicts ADD COLUMN sha_b BLOB;",
}
"""SQL that upgrades a file from each schema version to the next."""


class Database:
    """The clusters' file and the connections to it."""

    def __init__(self, directory: Path) -> None:
        """Open the file in a directory. Creates or upgrades it if needed.

        Raises:
            errors.DataDirectoryError: Another process has it open, or a newer release wrote it.
        """
        directory.mkdir(parents=True, exist_ok=True)
        self._path = directory / FILE
        self._lock = _take_lock(directory / "clusters.lock")
        self._writing = threading.RLock()
        self._readers: list[sqlite3.Connection] = []
        self._readers_lock = threading.Lock()
        self._closed = False
        try:
            with _translate_errors():
                self._writer = self._connect()
                try:
                    self._prepare()
                except BaseException:
                    self._writer.close()
                    raise
        except BaseException:
            self._lock.close()
            raise

    def _connect(self) -> sqlite3.Connection:
        # Any thread may use it, one at a time. Transactions are begun explicitly.
        connection = sqlite3.connect(
            self._path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        # Only macOS: as `halftone.core.system.sync` does it.
        connection.execute("PRAGMA fullfsync=ON")
        connection.execute("PRAGMA temp_store=MEMORY")
        return connection

    def _prepare(self) -> None:
        (number,) = self._writer.execute("PRAGMA user_version").fetchone()
        if number > SCHEMA:
            raise errors.DataDirectoryError(
                f"{self._path} was written by a newer release (schema {number}; this one reads "
                f"{SCHEMA}). Start that release, or restore a copy of the file from before it.",
                subject=str(self._path),
                metadata={"schema": str(number)},
            )
        if number == 0:
            self._run_script(_TABLES, schema=SCHEMA)
            return
        for schema in range(number, SCHEMA):
            _log.info("clusters_upgraded", schema=schema + 1)
            self._run_script(_UPGRADES[schema], schema=schema + 1)

    def _run_script(self, statements: str, *, schema: int) -> None:
        """Run statements and record the new schema version, all in one transaction."""
        try:
            self._writer.executescript(
                f"BEGIN IMMEDIATE; {statements} PRAGMA user_version={schema}; COMMIT;"
            )
        except BaseException:
            self._writer.rollback()
            raise

    @contextlib.contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Run a transaction: committed to disk when the block ends, undone if the block fails.

        Within another transaction of the same thread, the block is part of that transaction.

        Raises:
            errors.StorageFull: The disk is full. Nothing was stored.
            errors.Unavailable: The file cannot be used, or the service is shutting down.
        """
        with self._writing, _translate_errors():
            if self._closed:
                raise _closed_error()
            if self._writer.in_transaction:
                yield self._writer
                return
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
            except BaseException:
                self._writer.rollback()
                raise
            self._writer.commit()

    @contextlib.contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection for reading. All queries of the block see the same state of the file.

        It is the state at the first query; later writes are not seen.

        Raises:
            errors.Unavailable: The file cannot be used, or the service is shutting down.
        """
        with _translate_errors():
            with self._readers_lock:
                if self._closed:
                    raise _closed_error()
                connection = self._readers.pop() if self._readers else None
            if connection is None:
                connection = self._connect()
            try:
                connection.execute("BEGIN")
                yield connection
            finally:
                connection.rollback()
                with self._readers_lock:
                    keep = not self._closed and len(self._readers) < _IDLE_READERS
                    if keep:
                        self._readers.append(connection)
                if not keep:
                    connection.close()

    def close(self) -> None:
        """Wait for the running transaction and close the file."""
        with self._writing, self._readers_lock:
            if self._closed:
                return
            self._closed = True
            while self._readers:
                self._readers.pop().close()
            self._writer.close()
            self._lock.close()


CLUSTERS_ELSEWHERE: Final = "CLUSTERS_ELSEWHERE"


class DatabaseElsewhere:
    """Stands for a file that another process writes: every use raises the error."""

    def __init__(self, error: errors.DataDirectoryError) -> None:
        self._error = error

    def write(self) -> contextlib.AbstractContextManager[sqlite3.Connection]:
        """Raise the error that opening the file raised."""
        raise self._error

    read = write

    def close(self) -> None:
        """Do nothing: no file is open."""


def open_database(directory: Path) -> Database | DatabaseElsewhere:
    """Open the clusters' file in a directory.

    If another search process has the file open, returns a stand-in that refuses every use.

    Raises:
        errors.DataDirectoryError: A newer release wrote it.
    """
    try:
        return Database(directory)
    except errors.DataDirectoryError as error:
        if error.reason != CLUSTERS_ELSEWHERE:
            raise
        _log.warning("clusters_elsewhere", error=error.message)
        return DatabaseElsewhere(error)


def version_number(connection: sqlite3.Connection, name: str) -> int:
    """Return the number of a model version or a format in `pairs`. A new name gets a new number."""
    connection.execute("INSERT OR IGNORE INTO versions (name) VALUES (?)", (name,))
    (number,) = connection.execute("SELECT id FROM versions WHERE name = ?", (name,)).fetchone()
    return int(number)


def execute_in(
    connection: sqlite3.Connection,
    statement: str,
    values: Iterable[bytes] | Iterable[int] | Iterable[str],
    *parameters: Any,
) -> list[Any]:
    """Run a statement over a list of values of any length and return all its rows.

    SQLite limits the values in one statement, so it is run once for every 500 of them, in order.

    Args:
        connection: The connection to run it on.
        statement: SQL with `{values}` in place of the list, before all other parameters:
            `SELECT point FROM images WHERE picture IN ({values})`.
        values: The values; duplicates count once.
        parameters: The values of the other placeholders.
    """
    rows: list[Any] = []
    keys: list[Any] = sorted(set(values))
    for some in batched(keys, CHUNK):
        marks = ",".join("?" * len(some))
        rows += connection.execute(statement.format(values=marks), (*some, *parameters))
    return rows


def _take_lock(path: Path) -> FileLock:
    try:
        return locked(path)
    except LockHeldError as error:
        raise errors.DataDirectoryError(
            f"The clusters in {path.parent} are kept by another search process; ask that one.",
            subject=str(path.parent),
            reason=CLUSTERS_ELSEWHERE,
        ) from error
    except OSError as error:
        # Without clusters a search service can still search.
        raise errors.DataDirectoryError(
            f"The clusters in {path.parent} cannot be locked: {error.strerror}.",
            subject=str(path.parent),
            reason=CLUSTERS_ELSEWHERE,
        ) from error


def _closed_error() -> errors.Unavailable:
    return errors.Unavailable("The search service is shutting down.", retry_after=1.0)


@contextlib.contextmanager
def _translate_errors() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_FULL:
            raise errors.StorageFull("The disk is full; nothing was stored of clusters.") from error
        raise errors.Unavailable(f"The clusters' file cannot be used: {error}.") from error
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError):
            raise
        raise errors.DataLoss(f"The clusters' file is damaged: {error}.") from error
