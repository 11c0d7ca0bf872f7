"""What the clusters are made of, and how they start and end."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from halftone import errors, telemetry
from services.search.cluster_compare import FeatureComparer
from services.search.cluster_job import ClusterWorker
from services.search.cluster_store import CLUSTERS_ELSEWHERE, Database, DatabaseElsewhere
from services.search.clusters_servicer import ClusterServicer

if TYPE_CHECKING:
    from halftone.settings import SearchSettings
    from services.search.cluster_compare import Comparer
    from services.search.engine import Engine
    from services.search.holdings import Holdings

_log = telemetry.get_logger(__name__)


class Clusters:
    """The clusters of one archive."""

    def __init__(
        self,
        database: Database | DatabaseElsewhere,
        *,
        worker: ClusterWorker,
        comparer: Comparer,
        holdings: Holdings,
    ) -> None:
        self._database = database
        self._worker = worker
        self._comparer = comparer
        self.servicer = ClusterServicer(database=database, worker=worker, holdings=holdings)

    @classmethod
    def open(
        cls,
        *,
        engine: Engine,
        holdings: Holdings,
        settings: SearchSettings,
        metrics: telemetry.Metrics,
    ) -> Clusters:
        """Opens the file in the data directory. Blocks.

        Where another search process has it, searches are still answered; only clusters are not.

        Raises:
            errors.DataDirectoryError: A newer release wrote the file.
        """
        database: Database | DatabaseElsewhere
        try:
            database = Database(settings.data_directory)
        except errors.DataDirectoryError as error:
            if error.reason != CLUSTERS_ELSEWHERE:
                raise
            _log.warning("clusters_elsewhere", error=error.message)
            database = DatabaseElsewhere(error)
        comparer = FeatureComparer(engine.fingerprints, calibrations=engine.calibrations)
        worker = ClusterWorker(
            database=database,
            holdings=holdings,
            comparer=comparer,
            traffic=engine.traffic,
            settings=settings,
            metrics=metrics,
        )
        if isinstance(database, Database):
            holdings.listen(worker.note)
        return cls(database, worker=worker, comparer=comparer, holdings=holdings)

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
