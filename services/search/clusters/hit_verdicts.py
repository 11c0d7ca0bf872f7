"""What archivists said of the image that is searched by and of its hits: one look-up for a page."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from halftone.core import errors, telemetry
from halftone.services.search.clusters import verdicts, views

if TYPE_CHECKING:
    from collections.abc import Iterable

    from halftone.services.search.clusters.store import Database, DatabaseElsewhere
    from halftone.v1 import verdicts_pb2

_log = telemetry.get_logger(__name__)


class HitVerdicts:
    """Reads the verdicts on pairs. A search is answered without them, and says so, if it cannot."""

    def __init__(
        self, database: Database | DatabaseElsewhere, *, metrics: telemetry.Metrics
    ) -> None:
        self._database = database
        self._readable = True
        self._unavailable = metrics.counter(
            "verdicts_unavailable_total", "Searches answered without the verdicts on their hits"
        )

    def of(
        self, image: uuid.UUID, hits: Iterable[uuid.UUID]
    ) -> dict[uuid.UUID, verdicts_pb2.Verdict] | None:
        """The verdicts that hold, by hit; None where they cannot be read. Blocks."""
        try:
            with self._database.read() as connection:
                found = verdicts.between(connection, image.bytes, [each.bytes for each in hits])
        except errors.HalftoneError as error:
            self._unavailable.inc()
            if self._readable:
                _log.warning("verdicts_unavailable", error=error.message)
            self._readable = False
            return None
        self._readable = True
        return {
            uuid.UUID(bytes=other): views.to_verdict(verdict) for other, verdict in found.items()
        }
