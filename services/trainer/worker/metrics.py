"""The metrics of a worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from prometheus_client import Counter, Gauge

    from halftone.core.telemetry import Metrics


@dataclass(frozen=True, kw_only=True)
class WorkerMetrics:
    """The counters of one worker. The service has the numbers of all jobs."""

    jobs: Counter
    seconds: Counter
    leases_lost: Counter
    busy: Gauge

    @classmethod
    def of(cls, metrics: Metrics) -> Self:
        """Register the counters and return them."""
        return cls(
            jobs=metrics.counter("worker_jobs", "Jobs ended by this worker", labels=("state",)),
            seconds=metrics.counter(
                "worker_training_seconds", "Time that training processes ran, in seconds"
            ),
            leases_lost=metrics.counter(
                "worker_leases_lost", "Jobs that another worker took over from this one"
            ),
            busy=metrics.gauge("worker_busy", "1 while a job runs"),
        )
