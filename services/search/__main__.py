"""Starts the search service: `python -m halftone.services.search`.

This is the composition root: it builds the shared `Parts`, the engine and the clusters, and hands
them to the servicers. Settings: `HALFTONE_SEARCH_…`, see `halftone.core.settings.SearchSettings`.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Final

import threadpoolctl

from halftone.core import errors, telemetry
from halftone.core.settings import AccessSettings, ModelSettings, SearchSettings
from halftone.imaging.pool.inline import Inline
from halftone.imaging.pool.pool import Pool
from halftone.imaging.pool.worker import Limits
from halftone.registry.versions import Registry
from halftone.service import server
from halftone.service.limits import Limit
from halftone.service.watchdog import run_watched
from halftone.services.search.api import clusters, clusters_servicer, models_servicer
from halftone.services.search.api.engine import Engine
from halftone.services.search.api.search_servicer import SearchServicer
from halftone.services.search.archive import fingerprinting
from halftone.services.search.archive.parts import Parts
from halftone.services.search.clusters import store as cluster_store
from halftone.services.search.clusters.views import HitVerdicts
from halftone.v1 import clusters_pb2_grpc, models_pb2_grpc, search_pb2, search_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable

    import grpc

    from halftone.services.search.store.port import Store

LISTS: Final = frozenset(
    {
        "CountFacets",
        "GetCluster",
        "ListClusterJobs",
        "ListClusters",
        "ListImages",
        "ListModelVersions",
        "ListPairsToJudge",
        "ListVerdicts",
    }
)
"""Methods that read up to a thousand records or rows for one answer. They have a lower limit."""
_THUMBNAIL_RETRY_SECONDS: Final = 1.0
_SWITCH_SECONDS: Final = 0.001
"""Retry delay for refused thumbnails and parts. A queue of cold ones takes seconds."""
_SERVICE = search_pb2.DESCRIPTOR.services_by_name["SearchService"].full_name


def _store(settings: SearchSettings) -> Store:
    # Imported here because an installation may have only one of the two adapters' packages.
    if settings.store == "server":
        from halftone.services.search.store.server import Patience, ServerStore  # noqa: PLC0415

        return ServerStore.connect(
            settings.qdrant_url,
            api_key=settings.qdrant_api_key,
            prefix=settings.collection,
            patience=Patience(read=settings.qdrant_read_seconds, work=settings.qdrant_work_seconds),
        )
    from halftone.services.search.store.edge.store import EdgeStore  # noqa: PLC0415

    return EdgeStore(settings.data_directory, min_free_bytes=settings.min_free_bytes)


async def run(
    settings: SearchSettings,
    *,
    models_settings: ModelSettings,
    access: AccessSettings | None = None,
    inline: bool = False,
    on_listening: Callable[[int, int], None] = lambda _port, _metrics_port: None,
) -> None:
    """Run the service until SIGTERM.

    Args:
        settings: The service's settings.
        models_settings: The settings that name the registry's directory.
        access: The settings that say who may call; None: as the environment says.
        inline: Whether to decode pictures in this process, for tests.
        on_listening: Called with the gRPC port and the metrics' port once both are open.
    """
    access = access or AccessSettings()
    metrics = telemetry.Metrics(service="search")
    registry = Registry(models_settings.directory)
    store = await asyncio.to_thread(_store, settings)
    database = await asyncio.to_thread(cluster_store.open_database, settings.data_directory)
    pool = Pool(
        limits=Limits(memory_bytes=settings.decode_memory_bytes, seconds=settings.decode_seconds),
        workers=settings.decode_processes,
        modules=fingerprinting.MODULES,
    )
    parts = Parts.of(
        settings,
        store=store,
        registry=registry,
        metrics=metrics,
        runner=Inline() if inline else pool,
        service_key=access.service_key,
    )
    engine = Engine(parts, verdicts=HitVerdicts(database, metrics=metrics))
    grouping = clusters.Clusters(database, parts=parts, calibrations=engine.calibrations)

    def register(grpc_server: grpc.aio.Server) -> None:
        search_pb2_grpc.add_SearchServiceServicer_to_server(SearchServicer(engine), grpc_server)  # type: ignore[no-untyped-call]  # generated
        models_pb2_grpc.add_ModelServiceServicer_to_server(  # type: ignore[no-untyped-call]  # generated
            models_servicer.ModelServicer(promotions=engine.promotions, registry=registry),
            grpc_server,
        )
        clusters_pb2_grpc.add_ClusterServiceServicer_to_server(grouping.servicer, grpc_server)  # type: ignore[no-untyped-call]  # generated

    def drain() -> None:
        engine.importer.drain()
        engine.promotions.drain()

    async def start(health: server.Health) -> None:
        starting = [engine.start()]
        if not inline:
            starting.append(asyncio.to_thread(pool.start))
        await asyncio.gather(*starting)
        await health.set_serving(serving=True)
        async with asyncio.TaskGroup() as group:
            group.create_task(engine.watch(lambda answers: health.set_serving(serving=answers)))
            group.create_task(engine.promotions.watch())
            group.create_task(grouping.watch())

    async def stop() -> None:
        await grouping.close()
        await engine.close()
        await asyncio.to_thread(pool.close)

    await server.serve(
        server.Service(
            name="search",
            full_names=(_SERVICE, models_servicer.FULL_NAME, clusters_servicer.FULL_NAME),
            register=register,
            start=start,
            stop=stop,
            limits=(
                Limit(name="lists", most=settings.max_concurrent_lists, methods=LISTS),
                Limit(
                    name="thumbnails",
                    most=settings.max_concurrent_thumbnails,
                    methods=frozenset({"GetThumbnail"}),
                    retry_seconds=_THUMBNAIL_RETRY_SECONDS,
                ),
                Limit(
                    name="regions",
                    most=settings.max_concurrent_regions,
                    methods=frozenset({"GetImageRegion"}),
                    retry_seconds=_THUMBNAIL_RETRY_SECONDS,
                ),
            ),
            access=access,
            drain=drain,
            on_listening=on_listening,
            settings=settings,
            metrics=metrics,
        )
    )


def main() -> None:
    """Run the command."""
    settings = SearchSettings()
    telemetry.configure_logging(
        service="search", level=settings.log_level, style=settings.log_format
    )
    # Threads that compute hold Python's lock for 5 ms at a time by default, and the event loop
    # waits for it several times a call: a refusal then takes tens of milliseconds.
    sys.setswitchinterval(_SWITCH_SECONDS)
    try:
        # Pictures are compared in one thread per core. If BLAS started threads of its own as well,
        # a product of two tables of 600 rows would take four times as long on a busy machine.
        with threadpoolctl.threadpool_limits(1, user_api="blas"):
            asyncio.run(
                run_watched(
                    run(settings, models_settings=ModelSettings()), seconds=settings.hang_seconds
                )
            )
    except errors.HalftoneError as error:
        telemetry.get_logger(__name__).error("cannot_run", reason=error.reason, error=error.message)
        sys.exit(1)


if __name__ == "__main__":
    main()
