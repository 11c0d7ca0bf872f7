"""Asks the search service to promote a version, and waits for the outcome."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import grpc

from halftone.core import errors, telemetry
from halftone.core.settings import TlsSettings
from halftone.core.tls import open_channel
from halftone.core.wire import CHANNEL_OPTIONS, make_authorization
from halftone.v1 import models_pb2, models_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable

_log = telemetry.get_logger(__name__)

_CALL_SECONDS: Final = 15.0
_PAUSE_SECONDS: Final = 1.0
_FINAL: Final = frozenset(
    models_pb2.Promotion.State.Value(name)
    for name in ("SUCCEEDED", "FAILED", "CANCELLED", "REFUSED")
)


@dataclass(frozen=True, kw_only=True)
class Promoter:
    """Promotes versions over gRPC.

    Attributes:
        search: `host:port` of the search service.
        patience: Seconds that a promotion may take, including the wait for other promotions to end.
        pause: Seconds between two checks of the promotion.
        key: The secret that is sent with each call; empty sends none.
        tls: Whom to trust, and the certificate to show; by default as the environment says.
    """

    search: str
    patience: float
    pause: float = _PAUSE_SECONDS
    key: str = field(default="", repr=False)
    tls: TlsSettings = field(default_factory=TlsSettings)

    def __call__(self, version: str, is_stopped: Callable[[], bool]) -> str:
        """Promote a version and wait for the end. Returns a sentence about the outcome.

        Never raises: a version that is not promoted stays published.

        Args:
            version: The version, `name/number`.
            is_stopped: Called about every second. If it returns True this stops waiting; the
                promotion continues unless `cancel` is called.
        """
        until = time.monotonic() + self.patience
        metadata = make_authorization(self.key)
        with open_channel(self.search, tls=self.tls, options=CHANNEL_OPTIONS) as channel:
            stub = _stub(channel)
            started = False
            while time.monotonic() < until and not is_stopped():
                try:
                    if started:
                        promotion = stub.GetPromotion(
                            models_pb2.GetPromotionRequest(),
                            timeout=_CALL_SECONDS,
                            metadata=metadata,
                        )
                    else:
                        promotion = stub.PromoteModelVersion(
                            models_pb2.PromoteModelVersionRequest(name=version),
                            timeout=_CALL_SECONDS,
                            metadata=metadata,
                        )
                        started = True
                    if promotion.model_version != version:
                        return f"{version} is published, and not promoted: another one is."
                    if promotion.state in _FINAL:
                        return _sentence(promotion)
                except grpc.RpcError as failure:
                    error = errors.from_rpc_error(failure)
                    if error.reason == "VERSION_ACTIVE":
                        return f"{version} is active."
                    if not _may_pass(error):
                        return f"{version} is published, and not promoted: {error.message}"
                    _log.info("promotion_waits", version=version, why=error.message)
                time.sleep(self.pause)
        return f"{version} is published, and not promoted: nobody waited for the end of it."

    def cancel(self, version: str) -> None:
        """Cancel the promotion of a version, if it is running. Other promotions go on.

        Errors are only logged.
        """
        metadata = make_authorization(self.key)
        with open_channel(self.search, tls=self.tls, options=CHANNEL_OPTIONS) as channel:
            stub = _stub(channel)
            try:
                promotion = stub.GetPromotion(
                    models_pb2.GetPromotionRequest(), timeout=_CALL_SECONDS, metadata=metadata
                )
                if promotion.model_version == version and promotion.state not in _FINAL:
                    stub.CancelPromotion(
                        models_pb2.CancelPromotionRequest(),
                        timeout=_CALL_SECONDS,
                        metadata=metadata,
                    )
            except grpc.RpcError as failure:
                _log.warning(
                    "promotion_not_cancelled", error=errors.from_rpc_error(failure).message
                )


def _stub(channel: grpc.Channel) -> Any:
    # The stubs' types declare no methods.
    return models_pb2_grpc.ModelServiceStub(channel)  # type: ignore[no-untyped-call]  # generated


def _may_pass(error: errors.HalftoneError) -> bool:
    """Return whether to try again: the service is away, or busy with another promotion."""
    if isinstance(error, errors.Unavailable | errors.DeadlineExceeded | errors.Cancelled):
        return True
    return error.reason == "PROMOTION_RUNNING"


def _sentence(promotion: models_pb2.Promotion) -> str:
    version, state = promotion.model_version, promotion.state
    if state == models_pb2.Promotion.SUCCEEDED:
        return f"{version} is promoted and answers searches now."
    if state == models_pb2.Promotion.REFUSED:
        why = promotion.comparison.refusal or "it is worse than the active version"
        return f"{version} is published, and not promoted: {why}"
    if state == models_pb2.Promotion.CANCELLED:
        return f"{version} is published, and not promoted: the promotion was cancelled."
    return f"{version} is published, and not promoted: {promotion.error.message}"
