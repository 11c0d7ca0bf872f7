"""Picture proxies."""

import math

import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from halftone.services.trainer.loop.objectives import (
    PictureProxies,
    SceneClassifier,
    SceneMetric,
    entropy_loss,
)


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


def classifier(**changes) -> SceneClassifier:
    values = {"scale": 10.0, "margin": 0.0, "weights": torch.ones(3)}
    return SceneClassifier(
        embeddings(), labels=torch.tensor([0, 0, 1, 1, 2, 2]), **(values | changes)
    )


def test_classes_start_at_the_mean_of_their_pictures():
    expected = normalize(embeddings()[2] + embeddings()[3], dim=0)

    torch.testing.assert_close(classifier().classes[1].detach(), expected)


def test_classification_is_a_weighted_cross_entropy_over_classes():
    rows, weights = torch.tensor([0, 5]), torch.tensor([3.0, 1.0, 0.5])
    objective = classifier(weights=weights)

    loss = objective(embeddings()[rows], rows=rows)

    each = cross_entropy(
        objective.logits(embeddings()[rows]), torch.tensor([0, 2]), reduction="none"
    )
    torch.testing.assert_close(loss, (3.0 * each[0] + 0.5 * each[1]) / 2)


def metric(families, *, composite=None, links=(), **changes) -> SceneMetric:
    count = len(families)
    values = {"hard": 2, "loss": "multi_similarity", "scale": 10.0}
    return SceneMetric(
        embeddings(count),
        families=torch.tensor(families),
        composite=torch.tensor(composite or [False] * count),
        links=torch.tensor(links, dtype=torch.int64).reshape(-1, 2),
        **(values | changes),
    )


def test_in_a_composite_group_only_links_attract_and_nothing_repels():
    objective = metric([0, 0, 0, 1], composite=[True, True, True, False], links=[[0, 2]])

    positive, negative = objective.compare(torch.tensor([0, 1]), torch.arange(4))

    assert positive.tolist() == [[True, False, True, False], [False, True, False, False]]
    assert negative.tolist() == [[False, False, False, True]] * 2


@pytest.mark.parametrize("loss", ["multi_similarity", "supervised_contrastive"])
def test_a_step_against_the_gradient_draws_a_group_together_and_others_apart(loss):
    objective = metric([0, 0, 1, 1, 2, 2], loss=loss, hard=6)
    batch = embeddings(6).requires_grad_()
    rows = torch.arange(6)
    before = objective(batch, rows=rows)
    before.backward()

    after = objective(batch.detach() - 0.05 * batch.grad, rows=rows)

    assert after < before


def test_strangers_come_from_memory_the_hardest_first():
    """One stranger in memory is close, the others far: moving the close one changes the loss."""
    losses = []
    for moved in (2, 4):
        objective = metric([0, 0, 1, 1, 2, 2], hard=1)
        objective.memory.copy_(torch.eye(6, 5))
        objective.memory[2] = normalize(torch.tensor([1.0, 0.2, 0.0, 0.0, 0.0]), dim=0)
        batch, rows = torch.eye(6, 5)[:1], torch.tensor([0])
        plain = objective(batch, rows=rows)
        objective.memory[moved] = torch.tensor([0.0, 0.0, 0.0, 0.0, 1.0])
        losses.append(float(plain - objective(batch, rows=rows)))

    assert losses[0] > 0.1
    assert losses[1] == pytest.approx(0, abs=1e-6)


def test_memory_holds_the_last_embedding_of_a_picture():
    objective = metric([0, 0, 1, 1])
    before = objective.memory.clone()
    new = torch.tensor([[2.0, 0, 0, 0, 0], [0, 3.0, 0, 0, 0], [0, 0, 4.0, 0, 0]])

    objective.remember(new, rows=torch.tensor([1, 3, 1]))

    assert objective.memory[1].tolist() == [0, 0, 1, 0, 0]
    assert objective.memory[3].tolist() == [0, 1, 0, 0, 0]
    assert torch.equal(objective.memory[[0, 2]], before[[0, 2]])


def test_a_picture_on_the_same_plate_does_not_repel():
    rows, beside = torch.tensor([0, 1]), torch.tensor([2, -1])
    on_plate = normalize(embeddings()[:2] + embeddings()[[2, 3]], dim=1)

    objective = make(unified=1.0, koleo=1.0)
    alone, together = objective(on_plate, rows=rows), objective(on_plate, rows=rows, beside=beside)

    assert together < alone
    # Without the neighbour's proxy nothing is left of it; the picture's own counts as before.
    grown = on_plate.clone().requires_grad_()
    (towards,) = torch.autograd.grad(objective(grown, rows=rows, beside=beside), grown)
    (proxies,) = torch.autograd.grad(
        objective(on_plate[:1], rows=rows[:1], beside=beside[:1]), objective.proxies
    )
    assert towards.any()
    assert not proxies[2].any()
    assert proxies[0].any()


def test_a_class_on_the_same_plate_does_not_repel():
    rows, beside = torch.tensor([0]), torch.tensor([5])  # classes 0 and 2
    objective = classifier(weights=torch.ones(3))

    loss = objective(embeddings()[rows], rows=rows, beside=beside)

    logits = objective.logits(embeddings()[rows])[:, :2]
    torch.testing.assert_close(loss, cross_entropy(logits, torch.tensor([0])))
    none = objective(embeddings()[rows], rows=rows, beside=torch.tensor([-1]))
    torch.testing.assert_close(none, objective(embeddings()[rows], rows=rows))


def test_a_family_on_the_same_plate_does_not_repel():
    objective = metric([0, 0, 1, 1, 2])
    rows, beside = torch.tensor([0, 2]), torch.tensor([3, -1])
    batch = normalize(embeddings(5)[[0, 2]] + embeddings(5)[[3, 3]], dim=1)
    # Only the pictures of a third family are left to repel the first one.
    others = objective(batch, rows=rows, beside=beside)

    assert others < objective(batch, rows=rows)
    torch.testing.assert_close(
        objective(batch, rows=rows, beside=torch.tensor([-1, -1])), objective(batch, rows=rows)
    )


def test_the_entropy_term_looks_beyond_the_batch():
    rows = torch.arange(3)
    apart = torch.eye(3)
    near, far = torch.full((3, 4), 0.99), torch.full((3, 4), -1.0)

    alone = entropy_loss(apart, rows=rows)
    torch.testing.assert_close(entropy_loss(apart, rows=rows, others=far), alone)
    assert entropy_loss(apart, rows=rows, others=near) > alone + 1


def test_the_entropy_term_prefers_pictures_that_lie_apart():
    rows = torch.arange(3)
    close = torch.tensor([[1.0, 0.0], [1.0, 0.01], [1.0, 0.02]])

    assert entropy_loss(close, rows=rows) > entropy_loss(torch.eye(3), rows=rows) + 1
    assert make(koleo=1.0)(close.new_ones(2, 5), rows=rows[:2]) > make()(
        close.new_ones(2, 5), rows=rows[:2]
    )
