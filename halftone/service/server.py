"""Runs a gRPC service: listens, answers, reports health, and drains on SIGTERM.

A service's `__main__` builds its parts and hands a `Service` to `serve`, which returns when the
process has to end. Errors that servicers raise are turned into `google.rpc.Status` here and nowhere
else.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import signal
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from grpc_status import rpc_status

from halftone.core import errors, telemetry
from halftone.core.bugs import conceal_bug
from halftone.core.settings import AccessSettings, TlsSettings
from halftone.core.wire import CHANNEL_OPTIONS
from halftone.service.access import ABOUT_SERVICES, Access, Caller, find_metrics_host
from halftone.service.audit import AuditLog, Record, is_audited
from halftone.service.certificates import read_server_certificate
from halftone.service.decoding import check_decoded, make_tolerant
from halftone.service.limits import RESERVED_RPCS, Admission, Limit
from halftone.service.quotas import Budget, Quotas

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from halftone.core.settings import ServerSettings

    Context = grpc.aio.ServicerContext[Any, Any]

_SETTLE_SECONDS: Final = 0.1
_FAREWELL_SECONDS: Final = 2.0
"""Seconds for the last answers to be sent and for streams of health and reflection to be cut."""

_log = telemetry.get_logger(__name__)


class Health:
    """The health that the process reports over `grpc.health.v1`, as a whole and per service."""

    def __init__(self, service_names: tuple[str, ...]) -> None:
        self.servicer = health.aio.HealthServicer()
        self._names = ("", *service_names)
        self._draining = False
        self.serving = False

    async def set_serving(self, *, serving: bool) -> None:
        """Report SERVING or NOT_SERVING. Has no effect once the service drains."""
        self.serving = serving and not self._draining
        status = health_pb2.HealthCheckResponse
        value = status.SERVING if self.serving else status.NOT_SERVING
        for name in self._names:
            await self.servicer.set(name, value)

    async def drain(self) -> None:
        """Report NOT_SERVING from now on."""
        self._draining = True
        await self.set_serving(serving=False)


@dataclass(frozen=True, kw_only=True)
class Service:
    """A service that `serve` can run.

    Attributes:
        name: The name in logs and metrics, for example `embedder`.
        full_names: The gRPC service names, for reflection and health.
        register: Adds the servicers to the server.
        start: Gets the service ready (for example loads and warms up a model) and then reports
            SERVING through the health it is given. It may go on running and is cancelled at the
            end.
        drain: Called when draining begins; it ends long streams.
        stop: Called after the last request was answered; closes what is open.
        settings: The addresses, and the most calls at a time.
        metrics: The metrics of the process.
        limits: Further bounds on how many calls of some methods run at a time.
        access: Who may call; by default as the environment says.
        tls: The certificate; by default as the environment says.
        on_listening: Called with the gRPC port and the metrics' port once both are open.
    """

    name: str
    full_names: tuple[str, ...]
    register: Callable[[grpc.aio.Server], None]
    start: Callable[[Health], Awaitable[None]]
    stop: Callable[[], Awaitable[None]]
    settings: ServerSettings
    metrics: telemetry.Metrics
    limits: tuple[Limit, ...] = ()
    access: AccessSettings = field(default_factory=AccessSettings)
    tls: TlsSettings = field(default_factory=TlsSettings)
    drain: Callable[[], None] = field(default=lambda: None)
    on_listening: Callable[[int, int], None] = field(default=lambda _port, _metrics_port: None)


async def serve(service: Service) -> None:
    """Run a service until SIGTERM or SIGINT, then drain it.

    Raises:
        errors.Unavailable: The port is in use.
        errors.FailedPrecondition: Strangers could reach the address, and there are no keys or no
            TLS (`OPEN_ADDRESS`); or the certificate cannot be used (`TLS`).
        Exception: Any exception of `start`. The process should end with an error.
    """
    settings = service.settings
    admission = Admission(
        calls=settings.max_concurrent_calls,
        streams=settings.max_concurrent_streams,
        limits=service.limits,
        metrics=service.metrics,
    )
    certificate = await asyncio.to_thread(read_server_certificate, service.tls)
    access = Access(service.access, host=settings.host, has_tls=certificate is not None)
    await access.check_start()
    interceptor = _Interceptor(
        metrics=service.metrics,
        admission=admission,
        access=access,
        quotas=Quotas(service.access.quotas_storage),
        audit=AuditLog(service.access.audit),
    )
    server = grpc.aio.server(
        interceptors=[interceptor],
        # A last resort whose error has no reason: the interceptor refuses calls earlier.
        maximum_concurrent_rpcs=admission.most + RESERVED_RPCS,
        options=[*CHANNEL_OPTIONS, ("grpc.so_reuseport", 0)],
    )
    health_state = Health(service.full_names)
    await health_state.set_serving(serving=False)
    service.register(server)
    health_pb2_grpc.add_HealthServicer_to_server(health_state.servicer, server)
    if service.access.reflection != "off":
        reflection.enable_server_reflection(
            (*service.full_names, health.SERVICE_NAME, reflection.SERVICE_NAME), server
        )
    credentials = None if certificate is None else certificate.make_credentials()
    port = _bind(server, host=settings.host, port=settings.port, credentials=credentials)
    metrics_host = find_metrics_host(settings, service.access)
    try:
        metrics_port, stop_metrics = service.metrics.serve(
            host=metrics_host, port=settings.metrics_port
        )
    except OSError as error:
        await server.stop(None)
        raise _port_in_use(metrics_host, settings.metrics_port) from error
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    await server.start()
    _log.info("listening", port=port, metrics_port=metrics_port)
    service.on_listening(port, metrics_port)
    starting = asyncio.ensure_future(service.start(health_state))
    waiting = asyncio.ensure_future(stopping.wait())
    try:
        await asyncio.wait({starting, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            await waiting
    finally:
        await health_state.drain()
        service.drain()
        _log.info("draining", seconds=settings.drain_seconds)
        # While accepted calls finish, new ones are refused with a retry delay. Once grpc itself
        # stops, it answers calls that it has not yet handed over with a bare CANCELLED.
        left = await interceptor.drain(seconds=settings.drain_seconds)
        await server.stop(min(left, _FAREWELL_SECONDS))
        for task in (starting, waiting):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task
        await service.stop()
        await asyncio.to_thread(stop_metrics)
        _log.info("stopped")


def _bind(
    server: grpc.aio.Server, *, host: str, port: int, credentials: grpc.ServerCredentials | None
) -> int:
    address = f"{host}:{port}"
    try:
        if credentials is None:
            bound = server.add_insecure_port(address)
        else:
            bound = server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise _port_in_use(host, port) from error
    if bound == 0:
        raise _port_in_use(host, port)
    return bound


def _port_in_use(host: str, port: int) -> errors.Unavailable:
    return errors.Unavailable(
        f"Cannot listen on {host}:{port}: another process has that port, or the address is not "
        "one of this machine's.",
        reason="PORT_IN_USE",
    )


class _Interceptor(grpc.aio.ServerInterceptor):
    """Asks for keys, binds request ids, limits calls, translates errors, measures and counts."""

    def __init__(
        self,
        *,
        metrics: telemetry.Metrics,
        admission: Admission,
        access: Access,
        quotas: Quotas,
        audit: AuditLog,
    ) -> None:
        self._metrics = metrics
        self._quotas = quotas
        self._audit = audit
        self._access = access
        self._admission = admission
        self._draining = False
        self._in_flight = 0
        self._none_in_flight = asyncio.Event()
        self._none_in_flight.set()

    async def drain(self, *, seconds: float) -> float:
        """Refuse new calls and wait until the calls in flight have ended, for at most `seconds`.

        Returns the seconds that are left.
        """
        ends = time.monotonic() + seconds
        self._draining = True
        with contextlib.suppress(TimeoutError):
            # Calls that were sent before the health changed are still on their way.
            async with asyncio.timeout(seconds):
                await asyncio.sleep(_SETTLE_SECONDS)
                await self._none_in_flight.wait()
        return max(0.0, ends - time.monotonic())

    async def intercept_service(
        self,
        continuation: Callable[[Any], Awaitable[Any]],
        details: Any,  # grpc's handlers are untyped
    ) -> Any:
        handler = await continuation(details)
        if handler is None:
            return None
        received, sent = handler.request_streaming, handler.response_streaming
        kind = f"{'stream' if received else 'unary'}_{'stream' if sent else 'unary'}"
        behavior = getattr(handler, kind)

        def measured(
            request: Any, context: Context
        ) -> contextlib.AbstractAsyncContextManager[Record]:
            return self._measure(details, context, request=request, is_stream=received or sent)

        async def answer(request: Any, context: Context) -> Any:
            async with measured(request, context):
                return await behavior(check_decoded(request, behavior=behavior), context)

        async def stream(request: Any, context: Context) -> AsyncIterator[Any]:
            async with measured(request, context) as record:
                decoded = check_decoded(request, behavior=behavior)
                async for message in behavior(decoded, context):
                    # A stream may outlive the key that it was opened with.
                    await self._access.admit(
                        details.method, _read_metadata(details), peer=context.peer()
                    )
                    record.take_answer(message)
                    yield message

        # A stream may also be a coroutine that writes to its context, as that of health is.
        answering = stream if inspect.isasyncgenfunction(behavior) else answer
        if self._access.is_open(details.method):
            # Health and reflection, where they are open to everybody: not counted, not logged.
            answering = _guard_foreign(behavior)
        return getattr(grpc, f"{kind}_rpc_method_handler")(
            answering,
            request_deserializer=make_tolerant(handler.request_deserializer),
            response_serializer=handler.response_serializer,
        )

    @contextlib.asynccontextmanager
    async def _measure(
        self, details: Any, context: Context, *, request: Any, is_stream: bool
    ) -> AsyncIterator[Record]:
        method, metadata = details.method, _read_metadata(details)
        request_id = telemetry.bind_request_id(str(metadata.get(telemetry.REQUEST_ID_KEY, "")))
        context.set_trailing_metadata(((telemetry.REQUEST_ID_KEY, request_id),))
        started = time.perf_counter()
        code, reason = "OK", None
        caller, record = Caller(), Record(method)
        self._metrics.rpcs_in_flight.inc()
        self._in_flight += 1
        self._none_in_flight.clear()
        try:
            if self._draining:
                raise errors.Unavailable(  # noqa: TRY301 - ends like any other error
                    "The service is shutting down.", reason="DRAINING", retry_after=1.0
                )
            caller = await self._access.admit(method, metadata, peer=context.peer())
            if method.startswith(ABOUT_SERVICES):
                # However busy a service is, it says how it is.
                yield record
                return
            record.take_request(request)
            budget = Budget(self._quotas, caller=caller.id, limits=self._access.find_quotas(caller))
            with self._admission.admit(method, streaming=is_stream, caller=caller.id):
                async with budget.spend_on(method.rpartition("/")[2], request):
                    yield record
        except (asyncio.CancelledError, GeneratorExit):
            code = "CANCELLED"
            raise
        except errors.HalftoneError as raised:
            error = conceal_bug(raised, method=method)
            code, reason = errors.code_of(error).name, error.reason
            await abort_with(context, error, request_id=request_id)
        except grpc.aio.AbortError:
            code = "ABORTED"
            raise
        except Exception as bug:  # noqa: BLE001 - the outermost frame of a call
            code = "INTERNAL"
            await abort_with(context, conceal_bug(bug, method=method), request_id=request_id)
        finally:
            self._metrics.rpcs_in_flight.dec()
            self._in_flight -= 1
            if not self._in_flight:
                self._none_in_flight.set()
            seconds = time.perf_counter() - started
            self._metrics.rpc_seconds.labels(method, code).observe(seconds)
            # Under overload, a log line for each refusal would cost more than the refusal.
            log = _log.debug if code == "RESOURCE_EXHAUSTED" else _log.info
            facts = {"reason": reason} if reason else {}
            log("call", method=method, code=code, seconds=round(seconds, 4), **facts)
            if self._audit.is_kept and is_audited(method):
                entry = record.make_entry(caller, code=code, reason=reason)
                # A call that is cancelled is written down all the same.
                await asyncio.shield(self._audit.write(entry))


def _guard_foreign(behavior: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method of another package's servicer that refuses what could not be decoded."""

    async def answer(request: Any, context: Context) -> Any:
        try:
            return await behavior(check_decoded(request, behavior=behavior), context)
        except errors.InvalidArgument as error:
            await abort_with(context, error)

    async def stream(request: Any, context: Context) -> AsyncIterator[Any]:
        try:
            async for message in behavior(check_decoded(request, behavior=behavior), context):
                yield message
        except errors.InvalidArgument as error:
            await abort_with(context, error)

    # A stream of answers may also be written by a coroutine.
    return stream if inspect.isasyncgenfunction(behavior) else answer


def _read_metadata(details: Any) -> dict[str, str | bytes]:
    return dict(details.invocation_metadata or ())


async def abort_with(
    context: Context, error: errors.HalftoneError, *, request_id: str = ""
) -> None:
    """End a call with the `google.rpc.Status` of an error.

    Args:
        context: The call.
        error: The error.
        request_id: The id of the request, which the caller is told.
    """
    status = rpc_status.to_status(errors.to_status(error, request_id=request_id))
    await context.abort(
        status.code,
        status.details,
        (*status.trailing_metadata, (telemetry.REQUEST_ID_KEY, request_id)),
    )
