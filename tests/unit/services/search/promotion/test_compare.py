"""The gate: what is refused, and what chance explains."""

from __future__ import annotations

import asyncio
import time
import uuid

import numpy as np
import pytest

from halftone.services.search.archive.pace import Pace, Traffic
from halftone.services.search.promotion.compare import MAX_LABELLED, ComparisonSample, judge
from halftone.services.search.store.port import Stored
from halftone.v1 import models_pb2


def vectors(*, groups, wrong=0, seed=0):
    """Two images a group, close to each other; those of the first groups are apart."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((groups, 64))
    found = np.repeat(centres, 2, axis=0) + 0.05 * rng.standard_normal((2 * groups, 64))
    found[1 : 2 * wrong : 2] = rng.standard_normal((wrong, 64))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def compared(*, groups, wrong_before=0, wrong_after=0, failed=0, total=1000, agreement=0.5):
    comparison = models_pb2.Comparison(sampled_queries=200, top10_agreement=agreement)
    judge(
        comparison,
        groups=[str(at // 2) for at in range(2 * groups)],
        old=vectors(groups=groups, wrong=wrong_before),
        new=vectors(groups=groups, wrong=wrong_after),
        failed=failed,
        total=total,
    )
    return comparison


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        pytest.param({"groups": 100}, "", id="as good"),
        pytest.param({"groups": 100, "wrong_before": 40}, "", id="better"),
        pytest.param({"groups": 100, "wrong_after": 1}, "", id="one of a hundred is chance"),
        pytest.param({"groups": 20, "wrong_after": 1}, "", id="one of twenty is chance too"),
        pytest.param({"groups": 100, "wrong_after": 10}, "recall@1 falls", id="worse"),
        pytest.param({"groups": 100, "failed": 10}, "", id="one percent failed"),
        pytest.param({"groups": 100, "failed": 11}, "11 of 1000 images", id="more failed"),
        pytest.param({"groups": 5, "wrong_after": 5}, "", id="too few labelled to tell"),
        pytest.param({"groups": 5, "agreement": 0.09}, "only 9%", id="hardly a hit stays"),
        pytest.param({"groups": 0, "agreement": 0.11}, "", id="other hits are no proof"),
        pytest.param({"groups": 100, "agreement": 0.01}, "", id="figures count for more"),
    ],
)
def test_the_gate(facts, expected):
    refusal = compared(**facts).refusal
    assert (expected in refusal) if expected else not refusal


def test_all_three_figures_are_looked_at():
    refusal = compared(groups=100, wrong_after=30).refusal
    assert all(figure in refusal for figure in ("recall@1", "mAP", "µAP"))


def stored(number):
    payload = {"labels": {"group": [str(number // 3)]}}
    return Stored(id=uuid.UUID(int=number), payload=payload)


def test_the_sample_depends_on_neither_order_nor_repetition():
    everything = [stored(number) for number in range(3000)]
    first, second = ComparisonSample(seed="a/1"), ComparisonSample(seed="a/1")
    first.look(everything)
    second.look(everything[::-1])
    second.look(everything[:500])
    assert first.queries() == second.queries()
    assert len(first.queries()) == 200
    assert first.groups() == second.groups()
    assert MAX_LABELLED - 3 < sum(map(len, first.groups())) <= MAX_LABELLED
    assert {len(group) for group in first.groups()} == {3}
    other = ComparisonSample(seed="a/2")
    other.look(everything)
    assert other.queries() != first.queries()


async def test_searches_go_first():
    traffic = Traffic()
    pace = Pace(traffic=traffic, share=0.25, most=32, workers=2)
    pace.record_time(1, seconds=0.01)
    alone = pace.size()
    started = time.monotonic()
    for _ in range(10):
        async with pace.turn():
            await asyncio.sleep(0.02)
    # Without searches there is no rest: with them it would be 0.06 seconds each.
    assert time.monotonic() - started < 10 * 0.06

    traffic.enter(1, model_version="a/1")
    assert pace.size() < alone
    started = time.monotonic()
    async with pace.turn():
        await asyncio.sleep(0.02)
    # Three quarters of the time, and as long again while the search is in flight.
    assert time.monotonic() - started >= 0.02 * 4
    begun, over = [], asyncio.Event()

    async def work(number):
        async with pace.turn():
            begun.append(number)
            await over.wait()

    tasks = [asyncio.create_task(work(number)) for number in range(2)]
    await asyncio.sleep(0.02)
    assert begun == [0], "one piece at a time while there are searches"
    traffic.leave(1, model_version="a/1")
    over.set()
    await asyncio.gather(*tasks)
    assert begun == [0, 1]
    assert traffic.count_using("a/1") == 0
