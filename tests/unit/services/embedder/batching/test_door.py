"""The door of the embedder's queue: what is left of it is shared."""

from __future__ import annotations

import pytest

from halftone.core import errors, telemetry
from halftone.services.embedder.batching.door import Door, Limits
from halftone.services.embedder.metrics import EmbedderMetrics


def test_a_single_caller_leaves_room_for_the_next_one():
    door = Door(
        limits=Limits(max_batch=8, max_queue_items=16, max_queue_bytes=1 << 20),
        metrics=EmbedderMetrics(telemetry.Metrics(service="test")),
    )
    for _ in range(12):
        door.enter(items=1, size=1, time_left=None, caller="greedy")
    with pytest.raises(errors.ResourceExhausted) as raised:
        door.enter(items=1, size=1, time_left=None, caller="greedy")
    assert raised.value.reason == "QUEUE_FULL"
    door.enter(items=1, size=1, time_left=None, caller="polite")
    door.leave(items=1, size=1, caller="greedy")
    door.leave(items=1, size=1, caller="greedy")
    door.enter(items=1, size=1, time_left=None, caller="greedy")
