"""Counts what callers use, and refuses what is beyond the quotas of their keys.

Counts are kept in this process, or in Redis where several processes answer for one archive. If
Redis does not answer, calls go on uncounted: a quota shares, and does not protect.
"""

from __future__ import annotations

import collections
import contextlib
import contextvars
import time
from typing import TYPE_CHECKING, Final

from halftone.core import errors, telemetry
from halftone.core.quotas import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from limits import RateLimitItemPerSecond
    from limits.aio.storage import Storage
    from limits.aio.strategies import FixedWindowRateLimiter

    from halftone.core.quotas import Quota

QUOTA: Final = "QUOTA"
"""The reason of the error if a quota is used up."""

_PIXELS: Final = 1_000_000
_STORAGE_SECONDS: Final = 1.0
_BUSY_SECONDS: Final = 1.0
"""After so long a caller with too many calls at a time is told to come back."""
_COSTS: Final[dict[str, Callable[[Any], int]]] = {
    "SearchImages": lambda _request: 1,
    "CompareImages": lambda _request: 1,
    "BatchSearchImages": lambda request: len(request.requests),
    "EmbedImages": lambda request: len(request.images),
}
"""How many searches a call counts as."""
_DECODING: Final = frozenset({*_COSTS, "ImportImages"})

_log = telemetry.get_logger(__name__)


class Quotas:
    """The counts of all callers. For the event loop only."""

    def __init__(self, storage: str = "") -> None:
        """Create empty counts.

        Args:
            storage: URL of the Redis server that keeps them; empty keeps them in this process.

        Raises:
            errors.FailedPrecondition: The package for Redis is not installed, or it is no such URL.
        """
        # In memory only once something is counted: an embedder on a machine of its own needs no
        # package for quotas that nobody has.
        self._opened = _open_limiter(storage) if storage else None
        self._at_once: collections.Counter[str] = collections.Counter()

    @property
    def _limiter(self) -> FixedWindowRateLimiter:
        if self._opened is None:
            self._opened = _open_limiter("")
        return self._opened

    @contextlib.contextmanager
    def hold(self, caller: str, quotas: tuple[Quota, ...]) -> Iterator[None]:
        """Count a call while the block runs.

        Raises:
            errors.ResourceExhausted: The caller has too many calls at a time (`QUOTA`).
        """
        for quota in quotas:
            if quota.kind is Kind.CONCURRENCY and self._at_once[caller] >= quota.amount:
                raise _make_refusal(quota, retry_after=_BUSY_SECONDS)
        self._at_once[caller] += 1
        try:
            yield
        finally:
            self._at_once[caller] -= 1
            if not self._at_once[caller]:
                del self._at_once[caller]

    async def spend(self, caller: str, quotas: tuple[Quota, ...], kind: Kind, amount: int) -> None:
        """Count what a caller is about to use.

        Raises:
            errors.ResourceExhausted: It is more than is left (`QUOTA`).
        """
        for quota in _choose(quotas, kind):
            with _tolerating():
                if not await self._limiter.hit(_make_item(quota), caller, cost=amount):
                    raise await self._refuse(quota, caller)

    async def check(self, caller: str, quotas: tuple[Quota, ...], kind: Kind) -> None:
        """Check that something is left of what is counted afterwards.

        Raises:
            errors.ResourceExhausted: Nothing is (`QUOTA`).
        """
        for quota in _choose(quotas, kind):
            with _tolerating():
                if not await self._limiter.test(_make_item(quota), caller):
                    raise await self._refuse(quota, caller)

    async def note(self, caller: str, quotas: tuple[Quota, ...], kind: Kind, amount: int) -> None:
        """Count what a caller has used, which may be more than was left."""
        for quota in _choose(quotas, kind):
            with _tolerating():
                await self._limiter.hit(_make_item(quota), caller, cost=amount)

    async def _refuse(self, quota: Quota, caller: str) -> errors.ResourceExhausted:
        window = await self._limiter.get_window_stats(_make_item(quota), caller)
        return _make_refusal(quota, retry_after=max(0.1, window.reset_time - time.time()))


class Budget:
    """What the caller of one call may use.

    Args:
        quotas: The counts.
        caller: What tells the caller apart.
        limits: The caller's quotas.
    """

    def __init__(self, quotas: Quotas, *, caller: str, limits: tuple[Quota, ...]) -> None:
        self._quotas, self._caller, self._limits = quotas, caller, limits

    @contextlib.asynccontextmanager
    async def spend_on(self, method: str, request: Any) -> Any:
        """Count a call while the block runs, and what it asks for.

        Args:
            method: The method's name, without its service.
            request: Its message, or anything else if it cannot be decoded or is a stream.

        Raises:
            errors.ResourceExhausted: A quota is used up (`QUOTA`).
        """
        token = _budget.set(self)
        try:
            with self._quotas.hold(self._caller, self._limits):
                if method in _DECODING:
                    await self._quotas.check(self._caller, self._limits, Kind.MEGAPIXELS)
                if method in _COSTS and hasattr(request, "DESCRIPTOR"):
                    await self.spend(Kind.SEARCHES, max(1, _COSTS[method](request)))
                yield
        finally:
            # A stream that is closed early ends in another context.
            with contextlib.suppress(ValueError):
                _budget.reset(token)

    async def spend(self, kind: Kind, amount: int) -> None:
        """Count what the call is about to use.

        Raises:
            errors.ResourceExhausted: It is more than is left (`QUOTA`).
        """
        await self._quotas.spend(self._caller, self._limits, kind, amount)

    async def note_pixels(self, count: int) -> None:
        """Count the pixels of pictures that were decoded."""
        await self._quotas.note(self._caller, self._limits, Kind.MEGAPIXELS, count)


_budget: contextvars.ContextVar[Budget | None] = contextvars.ContextVar("budget", default=None)


async def spend(kind: Kind, amount: int) -> None:
    """Count what the call that is being answered is about to use; nothing outside of one.

    Raises:
        errors.ResourceExhausted: It is more than is left to its caller (`QUOTA`).
    """
    budget = _budget.get()
    if budget is not None:
        await budget.spend(kind, amount)


async def note_pixels(count: int) -> None:
    """Count the pixels that were decoded for the call that is being answered."""
    budget = _budget.get()
    if budget is not None and count:
        await budget.note_pixels(count)


def _open_limiter(url: str) -> FixedWindowRateLimiter:
    from limits.aio.storage import MemoryStorage  # noqa: PLC0415 - needed where quotas are
    from limits.aio.strategies import FixedWindowRateLimiter  # noqa: PLC0415

    return FixedWindowRateLimiter(_open_redis(url) if url else MemoryStorage())


def _open_redis(url: str) -> Storage:
    from limits.aio.storage import Storage  # noqa: PLC0415
    from limits.storage import storage_from_string  # noqa: PLC0415

    try:
        storage = storage_from_string(
            f"async+{url}",
            implementation="redispy",
            socket_timeout=_STORAGE_SECONDS,
            socket_connect_timeout=_STORAGE_SECONDS,
        )
    except Exception as error:
        # What `limits` raises depends on the package that is missing; URLs may hold passwords.
        raise errors.FailedPrecondition(
            "HALFTONE_QUOTAS_STORAGE is no URL of a Redis server, or the package redis is not "
            "installed.",
            subject="HALFTONE_QUOTAS_STORAGE",
        ) from error
    if not isinstance(storage, Storage):
        raise errors.FailedPrecondition(
            "HALFTONE_QUOTAS_STORAGE is no URL of a Redis server.",
            subject="HALFTONE_QUOTAS_STORAGE",
        )
    return storage


@contextlib.contextmanager
def _tolerating() -> Iterator[None]:
    """Go on without a count if the storage does not answer."""
    try:
        yield
    except errors.HalftoneError:
        raise
    except Exception as error:  # noqa: BLE001 - of whichever package speaks to the storage
        _log.warning("quota_not_counted", error=type(error).__name__)


def _choose(quotas: tuple[Quota, ...], kind: Kind) -> list[Quota]:
    return [quota for quota in quotas if quota.kind is kind]


def _make_item(quota: Quota) -> RateLimitItemPerSecond:
    from limits import RateLimitItemPerSecond  # noqa: PLC0415

    amount = quota.amount * (_PIXELS if quota.kind is Kind.MEGAPIXELS else 1)
    return RateLimitItemPerSecond(amount, quota.seconds, namespace=f"halftone/{quota.kind}")


def _make_refusal(quota: Quota, *, retry_after: float) -> errors.ResourceExhausted:
    what = f"{quota.amount:,} {quota.kind} a {quota.per}" if quota.per else ""
    return errors.ResourceExhausted(
        f"The quota is used up: {what or f'{quota.amount:,} calls at a time'}. There is more in "
        f"{retry_after:,.0f} s.",
        reason=QUOTA,
        retry_after=retry_after,
        metadata={"quota": str(quota)},
    )
