"""Picture proxies."""

import math

import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from services.trainer.objectives import PictureProxies


def embeddings(count: int = 6, *, width: int = 5) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return normalize(torch.randn(count, width, generator=generator), dim=1)


def make(**changes) -> PictureProxies:
    values = {"scale": 10.0, "margin": 0.0, "unified": 0.0}
    return PictureProxies(embeddings(), **(values | changes))


def test_without_margin_it_is_the_softmax_over_pictures():
    batch, rows = embeddings()[[2, 4]] + 0.1, torch.tensor([2, 4])

    loss = make()(batch, rows=rows)

    expected = cross_entropy(10 * normalize(batch, dim=1) @ embeddings().T, rows)
    torch.testing.assert_close(loss, expected)


def test_only_the_direction_of_an_embedding_counts():
    rows = torch.arange(3)

    torch.testing.assert_close(
        make(unified=1.0)(embeddings()[:3], rows=rows),
        make(unified=1.0)(embeddings()[:3] * 7, rows=rows),
    )


def test_a_margin_makes_the_task_harder():
    rows = torch.arange(6)

    assert make(margin=0.2)(embeddings(), rows=rows) > make()(embeddings(), rows=rows)


def test_copies_do_not_repel_each_other():
    batch, rows = embeddings()[[0]], torch.tensor([0])
    objective = make(same=torch.tensor([[0, 3], [3, 0]]))

    objective(batch, rows=rows).backward()

    moved = objective.proxies.grad.abs().sum(dim=1)
    assert moved[3] == 0
    assert (moved[[1, 2, 4, 5]] > 0).all()


def test_the_shared_threshold_starts_in_balance():
    """The negatives of a batch weigh as much as its positives when they are uncorrelated."""
    objective = make(unified=1.0)

    threshold = objective.threshold.item()

    assert 6 * math.exp(-10 * threshold) == pytest.approx(1, rel=0.2)


def test_the_unified_term_punishes_a_false_match_that_a_softmax_forgives():
    """Query 0's score for a stranger is high, yet below its own: the ranking is right."""
    proxies = normalize(torch.tensor([[1.0, 0.0, 0.0], [0.9, 0.5, 0.0], [0.0, 0.0, 1.0]]), dim=1)
    batch, rows = proxies[[0]], torch.tensor([0])
    extra = {}
    for unified in (0.0, 1.0):
        objective = PictureProxies(proxies, scale=30.0, margin=0.0, unified=unified)
        objective(batch, rows=rows).backward()
        extra[unified] = float(objective.proxies.grad[1].norm())

    assert extra[1.0] > 2 * extra[0.0]
