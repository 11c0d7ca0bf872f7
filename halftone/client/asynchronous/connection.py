"""The connection to the services: makes calls, follows pages, watches streams, tries again."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, TypeVar

from halftone.client import tasks
from halftone.client.retry import Attempts, RetryPolicy
from halftone.client.watching import STREAM_SECONDS, Watch, Watchable
from halftone.core import addresses, errors
from halftone.core.addresses import check_address
from halftone.core.keys import check_key
from halftone.core.settings import read_client_settings, read_tls_settings
from halftone.core.wire import CHANNEL_OPTIONS, REQUEST_ID_KEY, make_authorization, make_caller

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from halftone.client.calls import Call, Service

T = TypeVar("T")
W = TypeVar("W", bound=Watchable)

# gRPC waits up to two minutes between its own attempts to connect; the retry policy is in charge.
# What gRPC calls the least backoff is how long it waits for a connection that it has begun: with
# less, a service on a slow network or a busy machine could never be reached.
_CHANNEL_OPTIONS = (
    *CHANNEL_OPTIONS,
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 5000),
    ("grpc.max_reconnect_backoff_ms", 2000),
)


class Connection:
    """The part of the client that all methods share: addresses, channels, deadlines and retries.

    Args:
        search: The search service's address, `host:port`. None: HALFTONE_SEARCH, or the default.
        embedder: The embedder's; likewise.
        trainer: The training service's; likewise.
        key: The key that is sent with each call. None: HALFTONE_KEY, or none.
        ca: The file with the certificates of the authorities that are trusted, or `system`; calls
            use TLS then. None: HALFTONE_TLS_CA, or no TLS.
        certificate: The file with the certificate that is shown to services that ask for one.
            None: HALFTONE_TLS_CERTIFICATE, or none.
        certificate_key: The file with its private key. None: HALFTONE_TLS_KEY, or none.
        timeout: Deadline of a call in seconds, for all its tries together.
        retries: When a call is tried again; None: the defaults of `RetryPolicy`.

    Raises:
        errors.InvalidArgument: An address is not `host:port`, the key has characters that no key
            has, or a variable of the environment is wrong.
    """

    def __init__(
        self,
        search: str | None = None,
        *,
        embedder: str | None = None,
        trainer: str | None = None,
        key: str | None = None,
        ca: str | Path | None = None,
        certificate: str | Path | None = None,
        certificate_key: str | Path | None = None,
        timeout: float = 60.0,
        retries: RetryPolicy | None = None,
    ) -> None:
        asked: dict[addresses.Service, str | None] = {
            "search": search,
            "embedder": embedder,
            "trainer": trainer,
        }
        given: dict[str, str] = {
            service: check_address(address, service=service)
            for service, address in asked.items()
            if address
        }
        if key is not None:
            given["key"] = key
        settings = read_client_settings(**given)
        files = {"ca": ca, "certificate": certificate, "key": certificate_key}
        self._tls = read_tls_settings(
            **{name: file for name, file in files.items() if file is not None}
        )
        self._authorization = make_authorization(check_key(settings.key))
        self._addresses: dict[Service, str] = {
            "search": settings.search,
            "models": settings.search,
            "clusters": settings.search,
            "embedder": settings.embedder,
            "trainer": settings.trainer,
        }
        self._timeout = timeout
        self._policy = retries or RetryPolicy()
        self._lock = tasks.Lock()
        self._channels: dict[str, tasks.Channel] = {}
        self._closed = False
        self._retry_count = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections; calls under way end with `errors.Cancelled`."""
        with self._lock:
            self._closed = True
            channels = tuple(self._channels.values())
            self._channels.clear()
        for channel in channels:
            await channel.close()

    @property
    def retry_count(self) -> int:
        """Return the number of times this client has tried a call again."""
        return self._retry_count

    async def _run(self, call: Call[T], timeout: float | None) -> T:
        """Make a call, try it again as the policy allows, and return its result."""
        method = self._channel(call.service).unary_unary(
            call.path,
            request_serializer=type(call.request).SerializeToString,
            response_deserializer=call.response_class.FromString,
        )
        # All tries have one id, so that the logs show them as one request.
        request_id = uuid.uuid4().hex
        attempts = Attempts(
            policy=self._policy.when(repeatable=call.repeatable),
            timeout=timeout or self._timeout,
            on_retry=self._count_retry,
        )
        while True:
            try:
                with tasks.translate_errors(self._addresses[call.service]):
                    response = await method(
                        call.request,
                        timeout=attempts.remaining(),
                        metadata=self._make_metadata(request_id),
                    )
            except errors.HalftoneError as error:
                error.request_id = error.request_id or request_id
                await tasks.sleep(attempts.pause_after(error))
            else:
                return call.parse(response)

    async def _iterate(
        self, page_call: Callable[[str], Call[tuple[tuple[T, ...], str]]], timeout: float | None
    ) -> AsyncIterator[T]:
        """Iterate over the items of all pages.

        Args:
            page_call: Takes a page token and returns the call that gives a page's items and the
                next page's token.
            timeout: Deadline in seconds, for each page.
        """
        token = ""
        while True:
            items, token = await self._run(page_call(token), timeout)
            for item in items:
                yield item
            if not token:
                return

    async def _watch(self, call: Call[W]) -> AsyncIterator[W]:
        """Yield every new state that a stream of responses brings, up to a final one.

        A lost stream is opened again, as often as the policy allows for a call.
        """
        watch = Watch(call=call, policy=self._policy, on_retry=self._count_retry)
        open_stream = self._channel(call.service).unary_stream(
            call.path,
            request_serializer=type(call.request).SerializeToString,
            response_deserializer=call.response_class.FromString,
        )
        metadata = self._make_metadata(uuid.uuid4().hex)
        while not watch.is_over:
            stream = open_stream(call.request, timeout=STREAM_SECONDS, metadata=metadata)
            try:
                with tasks.translate_errors(self._addresses[call.service]):
                    async for message in stream:
                        news = watch.take(message)
                        if news is not None:
                            yield news
            except errors.HalftoneError as error:
                await tasks.sleep(watch.pause_after(error))
            finally:
                stream.cancel()

    def _make_metadata(self, request_id: str) -> tuple[tuple[str, str], ...]:
        return ((REQUEST_ID_KEY, request_id), *self._authorization, *make_caller())

    def _channel(self, service: Service) -> tasks.Channel:
        with self._lock:
            if self._closed:
                raise errors.FailedPrecondition("The client is closed.", subject="client")
            if service not in self._channels:
                address = self._addresses[service]
                self._channels[service] = tasks.open_channel(
                    address, tls=self._tls, options=_CHANNEL_OPTIONS
                )
            return self._channels[service]

    def _count_retry(self) -> None:
        with self._lock:
            self._retry_count += 1
