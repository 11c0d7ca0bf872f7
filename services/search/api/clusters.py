"""What the clusters are made of, and how they start and end."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from halftone.core import errors
from halftone.services.search.api.clusters_servicer import ClusterServicer
from halftone.services.search.clusters.compare import FeatureComparer
from halftone.services.search.clusters.store import Database
from halftone.services.search.clusters.worker import ClusterWorker

if TYPE_CHECKING:
    from halftone.core import telemetry
    from halftone.core.settings import SearchSettings
    from halftone.services.search.api.engine import Engine
    from halftone.services.search.archive.holdings import Holdings
    from halftone.services.search.clusters.store import DatabaseElsewhere


class Clusters:
    """The clusters of one archive."""

    def __init__(
        self,
        database: Database | DatabaseElsewhere,
        *,
        engine: Engine,
        holdings: Holdings,
        settings: SearchSettings,
        metrics: telemetry.Metrics,
    ) -> None:
        """Takes the file over, which `close` closes."""
        self._database = database
        self._comparer = FeatureComparer(engine.fingerprints, calibrations=engine.calibrations)
        self._worker = ClusterWorker(
            database=database,
            holdings=holdings,
            comparer=self._comparer,
            traffic=engine.traffic,
            settings=settings,
            metrics=metrics,
        )
        if isinstance(database, Database):
            holdings.writer.listen(self._worker.note)
        self.servicer = ClusterServicer(database=database, worker=self._worker, holdings=holdings)

    async def watch(self) -> None:
        """Works in the background until it is cancelled; the collections must be open."""
        if isinstance(self._database, Database):
            await self._worker.watch()

    async def close(self) -> None:
        """Waits for the transaction and the pairs under way."""
        await asyncio.to_thread(self.servicer.close)
        await asyncio.to_thread(self._worker.close)
        await asyncio.to_thread(self._comparer.close)
        with contextlib.suppress(errors.HalftoneError):
            await asyncio.to_thread(self._database.close)
