"""The parts that the rooms of the search service share, created once at start and handed down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from halftone.services.search.archive.blobs import Blobs
from halftone.services.search.archive.embedder_client import Embedder
from halftone.services.search.archive.fingerprints import Fingerprints
from halftone.services.search.archive.holdings import Holdings
from halftone.services.search.archive.pace import Traffic

if TYPE_CHECKING:
    from halftone.core import telemetry
    from halftone.core.settings import SearchSettings
    from halftone.imaging.pool.inline import Runner
    from halftone.registry.versions import Registry
    from halftone.services.search.store.port import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The shared parts of one search process.

    Attributes:
        settings: The settings of the service.
        metrics: The metrics of the process.
        store: The collections, and the pointer to the active one.
        registry: The model versions and their pointer.
        holdings: The open collections, the picture bytes, and the threads that use them.
        embedder: The client of the embedder.
        fingerprints: Makes and keeps hashes, words and local features.
        traffic: The searches in flight. Background work gives way to them.
        runner: Decodes pictures and computes fingerprints.
    """

    settings: SearchSettings
    metrics: telemetry.Metrics
    store: Store
    registry: Registry
    holdings: Holdings
    embedder: Embedder
    fingerprints: Fingerprints
    traffic: Traffic
    runner: Runner

    @classmethod
    def of(
        cls,
        settings: SearchSettings,
        *,
        store: Store,
        registry: Registry,
        metrics: telemetry.Metrics,
        runner: Runner,
        service_key: str = "",
    ) -> Parts:
        """Create the parts. This connects to nothing and starts no thread.

        Args:
            settings: The settings of the service.
            store: The collections, and the pointer to the active one.
            registry: The model versions and their pointer.
            metrics: The metrics of the process.
            runner: Decodes pictures and computes fingerprints.
            service_key: The secret with which the embedder is called; empty sends none.
        """
        holdings = Holdings.of(Blobs(settings.blobs), metrics=metrics)
        return cls(
            settings=settings,
            metrics=metrics,
            store=store,
            registry=registry,
            holdings=holdings,
            embedder=Embedder(
                settings.embedder,
                timeout=settings.embedder_timeout_seconds,
                metrics=metrics,
                key=service_key,
                liveness=settings.embedder_liveness_seconds,
            ),
            fingerprints=Fingerprints(
                blobs=holdings.blobs,
                runner=runner,
                max_pixels=settings.max_pixels,
                memory_bytes=settings.features_memory_bytes,
                metrics=metrics,
            ),
            traffic=Traffic(),
            runner=runner,
        )
