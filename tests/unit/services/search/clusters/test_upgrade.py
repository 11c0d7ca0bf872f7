"""Files of the clusters that earlier releases made are upgraded when they are opened."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest

from halftone.services.search.clusters import groups, pairs, pictures
from halftone.services.search.clusters.chronology import DatedPrinting
from halftone.services.search.clusters.store import FILE, Database

# As the first release made it, word for word.
SCHEMA_1 = """
CREATE TABLE verdicts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    a TEXT NOT NULL, b TEXT NOT NULL,                -- names, the lesser first
    point_a BLOB NOT NULL, point_b BLOB NOT NULL,
    decision INTEGER NOT NULL,
    note TEXT NOT NULL, author TEXT NOT NULL,
    create_time INTEGER NOT NULL,                    -- microseconds
    end_time INTEGER,                                -- null while it holds
    overruled INTEGER NOT NULL DEFAULT 0             -- later ones contradict it
);
CREATE UNIQUE INDEX verdicts_that_hold ON verdicts (point_a, point_b) WHERE end_time IS NULL;
CREATE INDEX verdicts_by_a ON verdicts (point_a);
CREATE INDEX verdicts_by_b ON verdicts (point_b);

CREATE TABLE pictures (
    id INTEGER PRIMARY KEY,
    sha256 BLOB NOT NULL UNIQUE,
    searched INTEGER NOT NULL DEFAULT 0              -- by which job; 0 if never; below 0
                                                     -- by a job that did not come to group it
);
CREATE INDEX pictures_by_searched ON pictures (searched, id);
CREATE TABLE images (                                -- those that are in the archive
    point BLOB PRIMARY KEY,
    picture INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX images_by_picture ON images (picture, point);

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

CREATE TABLE clusters (
    id TEXT PRIMARY KEY,
    successor TEXT,                                  -- '' while it lives; then what it became
    size INTEGER NOT NULL, weakest REAL NOT NULL,
    create_time INTEGER NOT NULL, update_time INTEGER NOT NULL,
    first BLOB NOT NULL,                             -- the earliest printing's point
    journals TEXT NOT NULL, journal_count INTEGER NOT NULL,
    earliest INTEGER, latest INTEGER, span_years INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX clusters_by_size ON clusters (size DESC, id) WHERE successor = '';
CREATE INDEX clusters_by_span ON clusters (span_years DESC, id) WHERE successor = '';
CREATE INDEX clusters_by_journals ON clusters (journal_count DESC, id) WHERE successor = '';
CREATE TABLE members (
    point BLOB PRIMARY KEY,
    cluster TEXT NOT NULL,
    weakest REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX members_by_cluster ON members (cluster, point);

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
"""
# Made by a later one in files of the same schema.
ADDED = """
CREATE TABLE IF NOT EXISTS requests (                -- that were answered with a job under way
    id TEXT PRIMARY KEY,
    job INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS former (                  -- images of ids that ended or lost them
    point BLOB NOT NULL,
    cluster TEXT NOT NULL,
    PRIMARY KEY (point, cluster)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS former_by_cluster ON former (cluster, point);
"""
CONTENT = """
INSERT INTO pictures (id, sha256, searched) VALUES
    (1, x'01', 0), (2, x'02', 3), (3, x'03', -4), (4, x'04', 4);
INSERT INTO images VALUES (x'11', 1), (x'12', 2), (x'13', 3), (x'14', 4);
INSERT INTO clusters (id, successor, size, weakest, create_time, update_time, first, journals,
    journal_count, span_years) VALUES
    ('alive', '', 2, 0.95, 1, 5, x'12', '["J"]', 1, 0),
    ('ended', NULL, 0, 0.9, 1, 6, x'13', '[]', 0, 0),
    ('leads', 'alive', 0, 0.9, 2, 7, x'14', '[]', 0, 0);
INSERT INTO members VALUES (x'12', 'alive', 0.95), (x'14', 'alive', 0.95);
INSERT INTO pairs VALUES (2, 4, 0.95, 1, 2, x'', NULL, 1, 1, 0);
INSERT INTO verdicts (a, b, point_a, point_b, decision, note, author, create_time)
    VALUES ('a', 'b', x'12', x'14', 1, 'kept', 'Ada', 9);
PRAGMA user_version=1;
"""


def make(directory, *scripts):
    with contextlib.closing(sqlite3.connect(directory / FILE)) as connection:
        for script in scripts:
            connection.executescript(script)


def schema(connection):
    """The columns of each table and the statements of the indexes, without comments."""
    named = connection.execute("SELECT name, type FROM sqlite_master ORDER BY name").fetchall()
    columns = {
        name: connection.execute(f"PRAGMA table_info({name})").fetchall()
        for name, kind in named
        if kind == "table"
    }
    indexes = connection.execute(
        "SELECT name, sql FROM sqlite_master WHERE type = 'index' ORDER BY name"
    ).fetchall()
    return columns, [(name, sql and sql.replace("IF NOT EXISTS ", "")) for name, sql in indexes]


@pytest.mark.parametrize("scripts", [(SCHEMA_1,), (SCHEMA_1, ADDED)], ids=["first", "later"])
def test_a_file_of_schema_1_becomes_one_of_this_release(tmp_path, scripts):
    fresh = tmp_path / "fresh"
    made = Database(fresh)
    with made.read() as connection:
        expected = schema(connection)
        version = connection.execute("PRAGMA user_version").fetchone()
    made.close()
    make(tmp_path, *scripts, CONTENT)
    for _ in range(2):
        database = Database(tmp_path)
        with database.read() as connection:
            assert schema(connection) == expected
            assert connection.execute("PRAGMA user_version").fetchone() == version
            # What three values of one column said has a column each.
            rows = connection.execute("SELECT id, end_time, successor FROM clusters ORDER BY id")
            assert rows.fetchall() == [
                ("alive", None, None),
                ("ended", 6, None),
                ("leads", 7, "alive"),
            ]
            rows = connection.execute("SELECT id, searched, grouped FROM pictures ORDER BY id")
            assert rows.fetchall() == [(1, 0, 0), (2, 3, 1), (3, 4, 0), (4, 4, 1)]
            # Never searched for, or by a job that did not come to group it.
            waiting = pictures.next_to_search(connection, job=None, limit=9)
            assert waiting == [(b"\x11", b"\x01"), (b"\x13", b"\x03")]
            assert len(pictures.next_to_search(connection, job=4, limit=9)) == 2
            floor = pairs.floor(connection)
            assert len(pairs.read_between(connection, {2, 4}, since_job=floor)) == 1
            assert connection.execute("SELECT note FROM verdicts").fetchall() == [("kept",)]
        database.close()


def test_summaries_of_an_earlier_release_are_made_anew_by_the_next_grouping(tmp_path):
    make(tmp_path, SCHEMA_1, CONTENT)
    database = Database(tmp_path)
    described = []

    def describe(points):
        described.append(sorted(points))
        return {
            point: DatedPrinting(
                point=point, name=point.hex(), journal="J", earliest=None, latest=None
            )
            for point in points
        }

    try:
        for _ in range(2):
            with database.write() as connection:
                groups.regroup(connection, {b"\x12"}, describe=describe)
        with database.read() as connection:
            row = connection.execute("SELECT undated FROM clusters WHERE id = 'alive'").fetchone()
    finally:
        database.close()
    assert row == (2,)
    assert described == [[b"\x12", b"\x14"], []], "once is enough"


def test_an_upgrade_that_fails_leaves_the_file_as_it_was(tmp_path):
    make(tmp_path, SCHEMA_1, CONTENT, "CREATE TABLE pair_floor (taken)")
    with pytest.raises(Exception, match="pair_floor"):
        Database(tmp_path)
    with contextlib.closing(sqlite3.connect(tmp_path / FILE)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        assert connection.execute("SELECT searched FROM pictures WHERE id = 3").fetchone() == (-4,)
        connection.execute("DROP TABLE pair_floor")
    Database(tmp_path).close()
