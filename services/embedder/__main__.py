"""Starts the embedder: `python -m halftone.services.embedder`. Settings: `HALFTONE_EMBEDDER_…`."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Final

from halftone.core import errors, telemetry
from halftone.core.settings import EmbedderSettings, ModelSettings
from halftone.imaging.pool.inline import Inline
from halftone.imaging.pool.pool import Pool
from halftone.imaging.pool.worker import Limits as DecodingLimits
from halftone.registry.versions import Registry
from halftone.service import server
from halftone.service.watchdog import run_watched
from halftone.services.embedder import servicer
from halftone.services.embedder.batching.batcher import Batcher
from halftone.services.embedder.batching.door import Limits
from halftone.services.embedder.encoders import decoding
from halftone.services.embedder.encoders.choice import choose_backend
from halftone.services.embedder.encoders.decoding import Decoder
from halftone.services.embedder.loading import Loader
from halftone.services.embedder.metrics import EmbedderMetrics
from halftone.services.embedder.models import Models
from halftone.v1 import embedder_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable

    import grpc

    from halftone.services.embedder.encoders.encoder import Backend

_NICE: Final = 5
"""The event loop comes first, then what decodes, then the threads that compute."""

_log = telemetry.get_logger(__name__)


async def run(
    settings: EmbedderSettings,
    *,
    models_settings: ModelSettings,
    make_backend: Callable[..., Backend] = choose_backend,
    inline: bool = False,
    on_listening: Callable[[int, int], None] = lambda _port, _metrics_port: None,
) -> None:
    """Run the service until SIGTERM.

    Args:
        settings: The settings of the embedder.
        models_settings: The settings that name the registry's directory.
        make_backend: Returns the backend that runs the models.
        inline: Whether to decode images in this process, for tests.
        on_listening: Called with the gRPC port and the metrics' port once both are open.

    Raises:
        errors.HalftoneError: The service cannot start, for example because the port is in use.
        Exception: The error with which the device failed for good.
    """
    metrics = telemetry.Metrics(service="embedder")
    measures = EmbedderMetrics(metrics)
    pool = Pool(
        limits=DecodingLimits(
            memory_bytes=settings.decode_memory_bytes, seconds=settings.decode_seconds, nice=_NICE
        ),
        workers=settings.decode_processes,
        modules=decoding.MODULES,
    )
    decoder = Decoder(
        max_pixels=settings.max_pixels,
        max_bytes=settings.max_image_bytes,
        runner=Inline() if inline else pool,
    )
    backend = make_backend(settings, decoder=decoder)
    batcher = Batcher(
        limits=Limits(
            max_batch=backend.max_batch,
            max_queue_items=settings.max_queue_items,
            max_queue_bytes=settings.max_queue_bytes,
        ),
        decode_threads=pool.workers,
        metrics=measures,
        workers=backend.workers,
        stages_ahead=backend.stages_ahead,
    )
    load = Loader(backend=backend, batcher=batcher)
    models = Models(
        registry=Registry(models_settings.directory),
        load=load,
        metrics=measures,
        most=settings.max_models,
    )

    def register(grpc_server: grpc.aio.Server) -> None:
        embedder_pb2_grpc.add_EmbedderServiceServicer_to_server(  # type: ignore[no-untyped-call]  # generated
            servicer.EmbedderServicer(batcher=batcher, models=models), grpc_server
        )

    async def start(health: server.Health) -> None:
        if not inline:
            await asyncio.to_thread(pool.start)
        batcher.start()
        # Without its device this process will never serve a version.
        await asyncio.to_thread(load.prepare_device)
        ended = asyncio.wrap_future(batcher.ended)
        told, problem = False, ""
        while not ended.done():
            await asyncio.to_thread(models.refresh)
            before, problem = problem, "" if models.ready else models.describe_problem()
            # `halftone up` ends at this event. A problem that is gone at the second look, such as a
            # disk that did not answer once, is none.
            if problem and problem == before and not told:
                told = True
                _log.error("no_model_version", error=problem)
            await health.set_serving(serving=models.ready and not ended.done())
            await asyncio.wait({ended}, timeout=settings.reload_seconds)
        await health.set_serving(serving=False)
        # The process ends with the device's error, so that its supervisor starts a new one.
        ended.result()

    async def stop() -> None:
        await asyncio.to_thread(pool.close)
        await asyncio.to_thread(batcher.close)

    await server.serve(
        server.Service(
            name="embedder",
            full_names=(servicer.FULL_NAME,),
            register=register,
            start=start,
            stop=stop,
            settings=settings,
            metrics=metrics,
            on_listening=on_listening,
        )
    )


def main() -> None:
    """Run the command."""
    settings = EmbedderSettings()
    telemetry.configure_logging(
        service="embedder", level=settings.log_level, style=settings.log_format
    )
    # The event loop waits this long for a decoding thread that holds the interpreter. The default
    # of 5 ms would be most of the time that it takes to refuse a request.
    sys.setswitchinterval(0.001)
    try:
        asyncio.run(
            run_watched(
                run(settings, models_settings=ModelSettings()), seconds=settings.hang_seconds
            )
        )
    except errors.HalftoneError as error:
        _log.error("cannot_run", reason=error.reason, error=error.message)
        sys.exit(1)
    except Exception:  # noqa: BLE001  # the outermost frame
        _log.exception("failed")
        sys.exit(1)


if __name__ == "__main__":
    main()
