"""Bounds how many calls a service answers at a time, and refuses more.

Calls with one request and one answer share one budget; streams (imports, watches) share another,
so that watches which stay open for hours leave the others room. A `Limit` narrows some methods
further, for example those that read long lists.

A call beyond a limit, or beyond its caller's share of one, is refused at once with
RESOURCE_EXHAUSTED and the time after which to try again; there is no queue. Health and reflection
are not counted, so full limits do not keep them from answering; the server accepts `RESERVED_RPCS`
calls of them on top.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from halftone.core import errors
from halftone.service.turns import Shares

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from halftone.core import telemetry

TOO_MANY_CALLS: Final = "TOO_MANY_CALLS"
RESERVED_RPCS: Final = 64
"""Calls of health and reflection that the server accepts on top of all others."""

_RETRY_SECONDS: Final = 0.2
_STREAM_RETRY_SECONDS: Final = 2.0
"""Retry delay for refused streams. It is longer than for calls because streams end later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A bound on how many calls of some methods run at a time, counted together.

    Attributes:
        name: The name in the metric `rpcs_refused_total` and in errors, for example `lists`.
        most: The most calls that are answered at a time.
        methods: Method names without their service, for example `ListImages`.
        retry_seconds: What a refused caller is told to wait.
    """

    name: str
    most: int
    methods: frozenset[str] = frozenset()
    retry_seconds: float = _RETRY_SECONDS


class Admission:
    """Admits calls up to the limits and refuses more. For the event loop only."""

    def __init__(
        self, *, calls: int, streams: int, limits: Sequence[Limit], metrics: telemetry.Metrics
    ) -> None:
        """Start with no call in flight.

        Args:
            calls: The most calls with one request and one answer at a time.
            streams: The most streams at a time, in either direction.
            limits: Further bounds on some methods.
            metrics: The metrics in which `rpcs_refused_total` is registered.
        """
        self.most = calls + streams
        self._calls = Limit(name="calls", most=calls)
        self._streams = Limit(name="streams", most=streams, retry_seconds=_STREAM_RETRY_SECONDS)
        self._limits = limits
        self._shares = {
            limit: Shares(limit.most) for limit in (self._calls, self._streams, *limits)
        }
        self._refused = metrics.counter(
            "rpcs_refused_total", "Calls refused as too many at a time", labels=("method", "limit")
        )

    @contextlib.contextmanager
    def admit(self, method: str, *, streaming: bool, caller: str = "") -> Iterator[None]:
        """Count a call while the `with` block runs.

        Args:
            method: The method as gRPC names it, `/package.Service/Method`.
            streaming: Whether the request or the answer is a stream.
            caller: What tells the caller apart from others.

        Raises:
            errors.ResourceExhausted: A limit for the method is reached, or what is left of it is
                for others.
        """
        name = method.rpartition("/")[2]
        limits = [limit for limit in self._limits if name in limit.methods]
        limits.append(self._streams if streaming else self._calls)
        for limit in limits:
            if not self._shares[limit].has_room(caller):
                self._refused.labels(method, limit.name).inc()
                raise errors.ResourceExhausted(
                    f"Too many calls at a time ({limit.name}: {limit.most}).",
                    reason=TOO_MANY_CALLS,
                    retry_after=limit.retry_seconds,
                    metadata={"limit": limit.name},
                )
        for limit in limits:
            self._shares[limit].take(caller)
        try:
            yield
        finally:
            for limit in limits:
                self._shares[limit].give_back(caller)
