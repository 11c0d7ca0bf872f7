"""A promotion's calls: repeated while the store is away, as long as the settings say."""

from __future__ import annotations

import pytest

from halftone.core import errors, telemetry
from halftone.imaging.pool.inline import Inline
from halftone.registry.versions import Registry
from halftone.services.search.archive.parts import Parts
from halftone.services.search.promotion.background import Background


async def test_a_call_is_repeated_until_it_answers(settings, memory_path, monkeypatch):
    monkeypatch.setattr("halftone.services.search.archive.patience._PAUSE", 0.001)
    answers = []

    def call(*_, **__):
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def make(seconds):
        patient = settings.model_copy(update={"promotion_patience_seconds": seconds})
        parts = Parts.of(
            patient,
            store=None,
            registry=Registry(memory_path),
            metrics=telemetry.Metrics(service="search"),
            runner=Inline(),
        )
        return parts, Background(parts, check=lambda: None)

    for method in ("read", "write"):
        parts, work = make(30.0)
        answers[:] = [errors.Unavailable("gone"), errors.DeadlineExceeded("late"), 7]
        assert await getattr(work, method)("test", call) == 7
        answers[:] = [errors.NotFound("no such record")]
        with pytest.raises(errors.NotFound):
            await getattr(work, method)("test", call)
        parts.holdings.threads.close()
        await parts.embedder.close()
    parts, work = make(-1.0)
    answers[:] = [errors.Unavailable("gone")]
    with pytest.raises(errors.Unavailable, match="gone"):
        await work.read("test", call)
    parts.holdings.threads.close()
    await parts.embedder.close()
