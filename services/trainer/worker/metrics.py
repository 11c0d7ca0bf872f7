"""The metrics of a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from halftone.core.telemetry import Metrics


class WorkerMetrics:
    """The counters of one worker. The service has the numbers of all jobs."""

    def __init__(self, metrics: Metrics) -> None:
        """Register the counters in `metrics`."""
        self.jobs = metrics.counter("worker_jobs", "Jobs ended by this worker", labels=("state",))
        self.seconds = metrics.counter(
            "worker_training_seconds", "Time that training processes ran, in seconds"
        )
        self.leases_lost = metrics.counter(
            "worker_leases_lost", "Jobs that another worker took over from this one"
        )
        self.busy = metrics.gauge("worker_busy", "1 while a job runs")
