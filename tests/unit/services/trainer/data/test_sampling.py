"""What a step sees, and what a class weighs."""

import itertools
from collections import Counter

import numpy as np
import pytest
import torch

from halftone.services.trainer.data.sampling import (
    batches,
    class_weights,
    group_batches,
    group_steps,
    hold_out,
)


def groups(*sizes: int) -> list[np.ndarray]:
    return list(np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1]))


def drawn(steps: int, *sizes: int, start: int = 0, size: int = 6, per_group: int = 2):
    found = group_batches(groups(*sizes), size=size, per_group=per_group, seed=4, start=start)
    return [rows.tolist() for rows in itertools.islice(found, steps)]


def test_a_batch_has_some_pictures_of_some_groups():
    owner = np.repeat(np.arange(5), [2, 3, 9, 2, 4])

    for rows in drawn(20, 2, 3, 9, 2, 4):
        assert len(rows) == 6
        pairs = np.array(rows).reshape(3, 2)
        assert (owner[pairs[:, 0]] == owner[pairs[:, 1]]).all()
        assert (pairs[:, 0] != pairs[:, 1]).all()


def test_large_groups_are_drawn_no_more_often_than_small_ones():
    owner = np.repeat(np.arange(4), [2, 2, 50, 3])

    counts = Counter(owner[list(itertools.chain(*drawn(40, 2, 2, 50, 3)))].tolist())

    assert max(counts.values()) - min(counts.values()) <= 4


def test_every_picture_of_a_large_group_has_its_turn():
    seen = set(itertools.chain(*drawn(60, 8, 2, 2)))

    assert seen == set(range(12))


def test_a_picture_on_its_own_is_repeated():
    counts = [Counter(rows)[0] for rows in drawn(10, 1, 2, 2, 2)]

    assert sum(counts) > 0
    assert all(count % 2 == 0 for count in counts)


@pytest.mark.parametrize("start", [1, 4, 7])
def test_what_is_drawn_depends_on_the_step_alone(start):
    assert drawn(4, 2, 3, 4, 5, start=start) == drawn(12, 2, 3, 4, 5)[start : start + 4]


def test_an_epoch_has_each_group_about_once():
    assert group_steps(30, size=6, per_group=2) == 10
    assert group_steps(2, size=6, per_group=2) == 1


@pytest.mark.parametrize("balance", ["effective", "inverse", "none", "sampling"])
def test_class_weights_leave_the_mean_loss_as_it_is(balance):
    counts = np.array([2, 2, 8, 40])

    weights = class_weights(counts, balance=balance).numpy()

    assert (weights * counts).sum() / counts.sum() == pytest.approx(1)


def test_rare_classes_weigh_more_but_less_so_by_their_effective_number():
    counts = np.array([2, 40])

    inverse = class_weights(counts, balance="inverse")
    effective = class_weights(counts, balance="effective")

    assert inverse[0] / inverse[1] == pytest.approx(20)
    assert 10 < effective[0] / effective[1] < 20
    assert torch.equal(class_weights(counts, balance="none"), torch.ones(2))


def test_held_out_rows_are_apart_and_the_same_for_a_seed():
    training, validation = hold_out(40, count=10, seed=3)

    assert sorted([*training.tolist(), *validation.tolist()]) == list(range(40))
    assert len(validation) == 10
    assert torch.equal(validation, hold_out(40, count=10, seed=3)[1])
    assert not torch.equal(validation, hold_out(40, count=10, seed=4)[1])


def test_an_epoch_has_every_picture_once_in_an_order_of_its_own():
    steps = [rows.tolist() for rows in itertools.islice(batches(12, size=4, seed=0), 6)]
    first, second = (list(itertools.chain(*part)) for part in (steps[:3], steps[3:]))

    assert sorted(first) == sorted(second) == list(range(12))
    assert first != second


@pytest.mark.parametrize("start", [1, 3, 4, 8])
def test_order_depends_on_the_step_alone(start):
    whole = [rows.tolist() for rows in itertools.islice(batches(14, size=4, seed=5), 12)]
    resumed = [
        rows.tolist()
        for rows in itertools.islice(batches(14, size=4, seed=5, start=start), 12 - start)
    ]

    assert resumed == whole[start:]


def test_a_batch_larger_than_the_collection_is_refused():
    with pytest.raises(ValueError, match="at least 9"):
        next(batches(8, size=9, seed=0))
