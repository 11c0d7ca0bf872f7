"""A service that `halftone.service.server` runs in this process, and a channel to it."""

from __future__ import annotations

import asyncio
import os
import signal

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from halftone.core import errors, telemetry
from halftone.core.settings import AccessSettings, EmbedderSettings, TlsSettings
from halftone.service.server import Service, serve
from halftone.v1 import embedder_pb2, embedder_pb2_grpc, trainer_pb2, trainer_pb2_grpc

NAME = "halftone.v1.EmbedderService"


class Servicer(embedder_pb2_grpc.EmbedderServiceServicer):
    """Answers by the model version it is asked for."""

    def __init__(self):
        self.entered = asyncio.Event()
        self.release = asyncio.Event()
        self.waiting = 0

    async def EmbedImages(self, request, context):
        match request.model_version:
            case "missing":
                raise errors.NotFound("No such version.", resource_name="missing")
            case "bug":
                raise ZeroDivisionError("secret detail")
            case "store":
                raise errors.Internal("The store failed: secret detail")
            case "slow":
                self.waiting += 1
                self.entered.set()
                await self.release.wait()
        return embedder_pb2.EmbedImagesResponse()

    async def ListModels(self, request, context):
        return embedder_pb2.ListModelsResponse()


class Watches(trainer_pb2_grpc.TrainerServiceServicer):
    """Streams that send one message and stay open."""

    async def WatchTrainingJob(self, request, context):
        yield trainer_pb2.TrainingJob(name=request.name)
        await asyncio.Event().wait()


class Running:
    """A served service and a channel to it."""

    def __init__(self, *, start=None, limits=(), access=None, tls=None, **settings):
        self.servicer = Servicer()
        settings = {"port": 0, "metrics_port": 0, "drain_seconds": 100.0, **settings}
        self.stopped = False
        self.metrics = telemetry.Metrics(service="test")
        self._ports = asyncio.get_running_loop().create_future()

        async def default_start(health):
            await health.set_serving(serving=True)

        async def stop():
            self.stopped = True

        def register(server):
            embedder_pb2_grpc.add_EmbedderServiceServicer_to_server(self.servicer, server)
            trainer_pb2_grpc.add_TrainerServiceServicer_to_server(Watches(), server)

        self.task = asyncio.create_task(
            serve(
                Service(
                    name="test",
                    full_names=(NAME,),
                    register=register,
                    start=start or default_start,
                    stop=stop,
                    settings=EmbedderSettings(**settings),
                    limits=limits,
                    access=access or AccessSettings(),
                    tls=tls or TlsSettings(),
                    metrics=self.metrics,
                    on_listening=lambda *ports: self._ports.set_result(ports),
                )
            )
        )

    async def __aenter__(self):
        done, _ = await asyncio.wait({self.task, self._ports}, return_when=asyncio.FIRST_COMPLETED)
        if self.task in done:
            self.task.result()
        self.port, self.metrics_port = await self._ports
        self.address = f"127.0.0.1:{self.port}"
        self.channel = grpc.aio.insecure_channel(self.address)
        self.stub = embedder_pb2_grpc.EmbedderServiceStub(self.channel)
        self.watches = trainer_pb2_grpc.TrainerServiceStub(self.channel)
        self.health = health_pb2_grpc.HealthStub(self.channel)
        return self

    async def __aexit__(self, *_):
        self.servicer.release.set()
        if not self.task.done():
            os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait({self.task}, timeout=120)
        await self.channel.close()

    async def status(self):
        response = await self.health.Check(health_pb2.HealthCheckRequest(service=NAME))
        return health_pb2.HealthCheckResponse.ServingStatus.Name(response.status)


def ask(version):
    return embedder_pb2.EmbedImagesRequest(model_version=version)


async def wait_for(condition):
    async with asyncio.timeout(60):
        while not await condition():
            await asyncio.sleep(0.01)
