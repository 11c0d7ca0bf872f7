"""Groups the whole archive again next to the present clusters, and switches at the end.

The new clusters are planned part by part from short reads, and their changes are collected in
temporary tables. Nobody has to wait for that: between two pieces of work verdicts are written and
the job can be cancelled. Triggers log the images that such writes affect, and their parts are
planned again. One short transaction then stores all changes and ends the job. So readers see either
the old clusters or the new ones. After a cancellation, an error or the end of the process they see
the old ones, and the next attempt starts from the beginning.

The result is the same as if everything had been done in one transaction after the last of those
writes.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from typing import TYPE_CHECKING, Final, TypeVar

from halftone.core import errors
from halftone.services.search.clusters import groups
from halftone.services.search.clusters.linkage import Forest
from halftone.services.search.clusters.staging import Staging

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Collection, Iterable, Iterator

    from halftone.services.search.clusters.groups import Describe, Plan
    from halftone.services.search.clusters.store import Database, DatabaseElsewhere

T = TypeVar("T")

_PIECE_SECONDS: Final = 0.03
"""The approximate time of a piece of work. A verdict that comes meanwhile shares the interpreter
with it."""
_SEEDS: Final = 20
_MOST_SEEDS: Final = 500
_ROUNDS: Final = 20
"""How often affected parts are planned again before it is done within the last transaction."""

_LOG: Final = "touched"
_TRIGGERS: Final = {
    "verdicts": "INSERT INTO touched SELECT {row}.point_a UNION SELECT {row}.point_b",
    "images": "INSERT INTO touched SELECT {row}.point",
    "members": "INSERT INTO touched SELECT {row}.point",
    "former": "INSERT INTO touched SELECT {row}.point",
    "clusters": "INSERT INTO touched SELECT point FROM former WHERE cluster = {row}.id"
    " UNION SELECT point FROM members WHERE cluster = {row}.id",
    "pairs": "INSERT INTO touched SELECT point FROM images WHERE picture IN ({row}.a, {row}.b)",
}
"""The images that a write affects, by table. Covers everything that `groups.plan` reads, except for
what cannot change."""


class WholeRegrouping:
    """Groups the whole archive again. Used once, by one thread."""

    def __init__(
        self,
        database: Database | DatabaseElsewhere,
        *,
        describe: Describe,
        is_wanted: Callable[[sqlite3.Connection], bool],
        since_job: int | None = None,
    ) -> None:
        """Prepare a regrouping. Nothing is read yet.

        Args:
            database: The clusters' file.
            describe: Returns the dated printing of each image, for the summaries.
            is_wanted: Returns whether to continue; called before each piece of work.
            since_job: As in `groups.find_surroundings`.
        """
        self._database = database
        self._describe = describe
        self._is_wanted = is_wanted
        self._since_job = since_job
        self._staging = Staging(name="whole")
        self._part_of: dict[bytes, bytes] = {}
        self._parts: dict[bytes, list[bytes]] = {}
        self._ids: dict[bytes, list[str]] = {}
        self._taken: set[str] = set()
        self._to_repeat: set[bytes] = set()

    def run(self, finish: Callable[[sqlite3.Connection], T]) -> T | None:
        """Group the whole archive. Blocks.

        Args:
            finish: Called within the transaction that stores the new clusters, after they are
                stored.

        Returns:
            The result of `finish`; None if the regrouping was no longer wanted, in which case
            nothing has changed.
        """
        try:
            with self._database.write() as connection:
                self._staging.begin(connection)
                self._staging.index_parts(connection)
                _watch(connection)
            with self._database.read() as connection:
                seeds = list(groups.all_seeds(connection, since_job=self._since_job))
            for some in self._pieces(seeds):
                if not self._plan(some):
                    return None
            return self._switch(finish)
        finally:
            # If the connection is closed by now, the tables are gone with it.
            with contextlib.suppress(errors.HalftoneError), self._database.write() as connection:
                _unwatch(connection)
                self._staging.begin(connection)

    def _pieces(self, seeds: Iterable[bytes]) -> Iterator[list[bytes]]:
        """Yield seeds that are in no planned part yet, as many as take `_PIECE_SECONDS`."""
        count = _SEEDS
        remaining = iter(seeds)
        while True:
            fresh = (seed for seed in remaining if seed not in self._part_of)
            if not (some := list(itertools.islice(fresh, count))):
                return
            started = time.monotonic()
            yield some
            seconds = time.monotonic() - started
            if seconds > _PIECE_SECONDS:
                count = max(1, count // 2)
            elif seconds < _PIECE_SECONDS / 2:
                count = min(_MOST_SEEDS, count * 2)
            # Let other threads run.
            time.sleep(0.001)

    def _plan(self, seeds: Collection[bytes]) -> bool:
        """Plan the parts of the images `seeds`, and again the parts that writes have affected.

        Returns False if the regrouping is no longer wanted.
        """
        with self._database.write() as connection:
            if not self._is_wanted(connection):
                return False
            # Everything logged by now is committed, so the following read sees it.
            touched = self._take_outdated(connection)
        with self._database.read() as connection:
            planned = self._plan_parts(connection, {*seeds, *touched})
        with self._database.write() as connection:
            self._put(connection, planned)
        return True

    def _plan_parts(self, connection: sqlite3.Connection, seeds: Collection[bytes]) -> Plan:
        points = groups.find_surroundings(connection, seeds, since_job=self._since_job, ids=True)
        return groups.plan(
            connection,
            points,
            describe=self._describe,
            since_job=self._since_job,
            taken=self._taken,
        )

    def _switch(self, finish: Callable[[sqlite3.Connection], T]) -> T | None:
        """Store the plans once none of them is outdated, and return the result of `finish`.

        Return None, with nothing stored, if the regrouping is no longer wanted.
        """
        for attempt in itertools.count():
            with self._database.write() as connection:
                if not self._is_wanted(connection):
                    return None
                touched = self._take_outdated(connection)
                while touched and attempt >= _ROUNDS:
                    self._put(connection, self._plan_parts(connection, touched))
                    touched = self._take_outdated(connection)
                if not touched:
                    _unwatch(connection)
                    self._staging.store(connection, now=time.time_ns() // 1000)
                    return finish(connection)
            with self._database.read() as connection:
                planned = self._plan_parts(connection, touched)
            with self._database.write() as connection:
                self._put(connection, planned)
        raise AssertionError  # pragma: no cover - the loop has no end

    # The parts that are planned.

    def _put(self, connection: sqlite3.Connection, planned: Plan) -> None:
        """Keep the changes of a plan, by the independent parts of the archive.

        It may overlap with a part that was planned before the latest writes. That plan is forgotten
        as a whole, so its other images have to be planned again.
        """
        forest: Forest[bytes] = Forest()
        for first, *others in planned.bonds:
            for other in others:
                one, two = forest.find(first), forest.find(other)
                if one != two:
                    forest.join(one, two)
        part_of = {point: forest.find(point) for point in planned.points}
        self._to_repeat |= self._forget(connection, planned.points) - planned.points
        for point, part in part_of.items():
            self._part_of[point] = part
            self._parts.setdefault(part, []).append(point)
        for row in planned.changes.clusters:
            self._ids.setdefault(part_of[row[0]], []).append(row[1])
            self._taken.add(row[1])
        self._staging.put(connection, planned.changes, parts=part_of)

    def _forget(self, connection: sqlite3.Connection, points: Collection[bytes]) -> set[bytes]:
        """Forget the plans of the parts that have these images. Returns all images of the parts."""
        parts = {self._part_of[point] for point in points if point in self._part_of}
        forgotten: set[bytes] = set()
        for part in parts:
            forgotten.update(self._parts.pop(part))
            self._taken.difference_update(self._ids.pop(part, ()))
        for point in forgotten:
            del self._part_of[point]
        if parts:
            self._staging.forget(connection, parts)
        return forgotten

    def _take_outdated(self, connection: sqlite3.Connection) -> set[bytes]:
        """Forget the plans of images that writes affected. Returns all images to plan again."""
        touched = {point for (point,) in connection.execute(f"SELECT point FROM temp.{_LOG}")}  # noqa: S608 - a constant
        if touched:
            connection.execute(f"DELETE FROM temp.{_LOG}")  # noqa: S608 - a constant
        outdated = self._to_repeat | touched | self._forget(connection, touched)
        self._to_repeat = set()
        return outdated


def _watch(connection: sqlite3.Connection) -> None:
    """Install triggers that log the images which writes of this connection affect."""
    _unwatch(connection)
    connection.execute(f"CREATE TEMP TABLE {_LOG} (point BLOB)")
    for table, action in _TRIGGERS.items():
        for event, rows in (("INSERT", "new"), ("UPDATE", "new"), ("DELETE", "old")):
            connection.execute(
                f"CREATE TEMP TRIGGER {table}_{event} AFTER {event} ON main.{table}"
                f" BEGIN {action.format(row=rows)}; END"
            )


def _unwatch(connection: sqlite3.Connection) -> None:
    for table in _TRIGGERS:
        for event in ("INSERT", "UPDATE", "DELETE"):
            connection.execute(f"DROP TRIGGER IF EXISTS temp.{table}_{event}")
    connection.execute(f"DROP TABLE IF EXISTS temp.{_LOG}")
