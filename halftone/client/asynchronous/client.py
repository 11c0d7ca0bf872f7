"""Puts the client together from the methods of the other modules."""

from __future__ import annotations

from halftone.client.asynchronous.clusters import ClusterMethods
from halftone.client.asynchronous.images import ImageMethods
from halftone.client.asynchronous.model_versions import ModelMethods
from halftone.client.asynchronous.training_jobs import TrainingMethods


class AsyncClient(ImageMethods, ModelMethods, TrainingMethods, ClusterMethods):
    """Talks to a search service and, for some calls, to its embedder and trainer.

    An asynchronous context manager, for one event loop; it reads pictures in threads.
    No connection is made before the first call.
    Every call has a deadline. If the service says UNAVAILABLE, or RESOURCE_EXHAUSTED with the time
    to come back, the call is tried again, with jitter and never past the deadline.

    Args:
        search: `host:port` of the search service. Default: `HALFTONE_SEARCH`, or this machine.
        embedder: `host:port` of the embedder. Default: `HALFTONE_EMBEDDER`, or this machine.
        trainer: `host:port` of the training service. Default: `HALFTONE_TRAINER`, or this machine.
        key: The key that is sent with each call. Default: `HALFTONE_KEY`, or none.
        timeout: Deadline of a call in seconds, its retries included. The `timeout` of a method
            takes its place for one call.
        retries: The policy for trying again.

    All methods raise subclasses of `halftone.errors.HalftoneError`.
    """
