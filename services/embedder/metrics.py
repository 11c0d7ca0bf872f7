"""The metrics of the embedder."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from halftone.core import telemetry

_BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class EmbedderMetrics:
    """Registers the embedder's metrics, `halftone_embedder_…`, in its process's registry."""

    def __init__(self, metrics: telemetry.Metrics) -> None:
        self.queue_seconds = metrics.histogram(
            "queue_seconds", "From the acceptance of an item to its batch"
        )
        self.decode_seconds = metrics.histogram(
            "decode_seconds", "Decoding and preprocessing of one image"
        )
        self.inference_seconds = metrics.histogram(
            "inference_seconds", "One batch on the device", labels=("model_version",)
        )
        self.batch_items = metrics.histogram(
            "batch_items", "Items in one batch", buckets=_BATCH_BUCKETS
        )
        self.images = metrics.counter("images", "Images answered, by outcome", labels=("outcome",))
        self.rejected = metrics.counter(
            "rejected", "Requests refused at the door, by reason", labels=("reason",)
        )
        self.expired = metrics.counter("expired", "Requests whose deadline passed in the queue")
        self.cancelled = metrics.counter("cancelled", "Requests that their caller gave up")
        self.device_errors = metrics.counter("device_errors", "Batches that the device failed")
        self.model_loads = metrics.counter(
            "model_loads", "Model versions loaded, by outcome", labels=("outcome",)
        )
        self.queue_items = metrics.gauge("queue_items", "Items accepted and not yet answered")
        self.queue_bytes = metrics.gauge("queue_bytes", "Bytes accepted and not yet answered")
