"""The state of a watch on a promotion or a training job. No I/O happens here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

from halftone.client.retry import Attempts
from halftone.core import errors

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf import message

    from halftone.client.calls import Call
    from halftone.client.retry import RetryPolicy

STREAM_SECONDS: Final = 600.0
"""Seconds after which a stream is opened anew; one whose peer vanished silently would never end."""


class _State(Protocol):
    @property
    def is_over(self) -> bool: ...


class Watchable(Protocol):
    """Something that changes until it ends: a promotion or a training job."""

    @property
    def id(self) -> str: ...  # noqa: D102
    @property
    def revision(self) -> int: ...  # noqa: D102
    @property
    def state(self) -> _State: ...  # noqa: D102


W = TypeVar("W", bound=Watchable)


@dataclass(kw_only=True)
class Watch(Generic[W]):
    """The state of one watch: what was passed on already, and how often the stream may be lost.

    Attributes:
        is_over: Whether the promotion or job has ended.
    """

    call: Call[W]
    policy: RetryPolicy
    on_retry: Callable[[], None]
    is_over: bool = False
    _told: tuple[str, int] = ("", 0)
    _attempts: Attempts = field(init=False)

    def __post_init__(self) -> None:
        self._attempts = self._new_attempts()

    def take(self, message: message.Message) -> W | None:
        """Return what a message says, or None if that was passed on before."""
        item = self.call.parse(message)
        self.is_over = item.state.is_over
        told_id, told_revision = self._told
        if item.id == told_id and item.revision <= told_revision:
            return None
        self._told = item.id, item.revision
        # Only news resets the count of lost connections; otherwise a service that keeps dying would
        # be asked for ever.
        self._attempts = self._new_attempts()
        return item

    def pause_after(self, error: errors.HalftoneError) -> float:
        """Return the seconds to wait before the stream is opened again.

        Raises:
            errors.HalftoneError: `error`, if the stream is not to be opened again.
        """
        if isinstance(error, errors.DeadlineExceeded):
            return 0.0
        return self._attempts.pause_after(error)

    def _new_attempts(self) -> Attempts:
        return Attempts(policy=self.policy, timeout=STREAM_SECONDS, on_retry=self.on_retry)
