"""Builds, starts and closes the parts that clusters need."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from halftone.core import errors
from halftone.services.search.api.clusters_servicer import ClusterServicer
from halftone.services.search.clusters.compare import Comparer
from halftone.services.search.clusters.store import Database
from halftone.services.search.clusters.worker import ClusterWorker

if TYPE_CHECKING:
    from halftone.services.search.archive.parts import Parts
    from halftone.services.search.clusters.store import DatabaseElsewhere
    from halftone.services.search.comparison.calibrations import Calibrations


class Clusters:
    """The clusters of one archive: their worker and their servicer."""

    def __init__(
        self,
        database: Database | DatabaseElsewhere,
        *,
        parts: Parts,
        calibrations: Calibrations,
    ) -> None:
        """Build the worker and the servicer.

        Args:
            database: The clusters' file; `close` closes it. If another process has it open, no
                worker runs here.
            parts: The shared parts of the service.
            calibrations: The calibrations of the model versions.
        """
        holdings = parts.holdings
        self._database = database
        self._comparer = Comparer(parts.fingerprints, calibrations=calibrations)
        self._worker = ClusterWorker(parts, database=database, comparer=self._comparer)
        if isinstance(database, Database):
            holdings.writer.listen(self._worker.note)
        self.servicer = ClusterServicer(database=database, worker=self._worker, holdings=holdings)

    async def watch(self) -> None:
        """Keep clusters up to date until cancelled. Requires open collections."""
        if isinstance(self._database, Database):
            await self._worker.watch()

    async def close(self) -> None:
        """Wait for the transaction and the comparisons in progress, and close the database."""
        await asyncio.to_thread(self.servicer.close)
        await asyncio.to_thread(self._worker.close)
        await asyncio.to_thread(self._comparer.close)
        with contextlib.suppress(errors.HalftoneError):
            await asyncio.to_thread(self._database.close)
