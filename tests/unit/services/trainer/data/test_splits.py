"""Splits: by group, near the shares, the same again."""

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from halftone.core import errors
from halftone.services.trainer.data.splits import (
    read_splits,
    split_groups,
    splits_hash,
    splits_of_groups,
    write_splits,
)

sizes = st.lists(st.integers(1, 40), min_size=1, max_size=200)
shares = st.floats(0, 0.4)


@given(sizes=sizes, validation=shares, test=shares, seed=st.integers(0, 5))
def test_each_split_gets_its_share_of_groups_as_closely_as_groups_allow(
    sizes, validation, test, seed
):
    splits = split_groups(sizes, validation_share=validation, test_share=test, seed=seed)

    counts = Counter(splits)
    wanted = {"validation": validation, "test": test, "train": 1 - validation - test}
    assert len(splits) == len(sizes)
    for name, share in wanted.items():
        assert abs(counts[name] - share * len(sizes)) < 2, (name, counts)
        assert share > 0 or counts[name] == 0


@given(sizes=st.lists(st.sampled_from([1, 2, 3, 9]), min_size=60, max_size=120))
def test_the_shares_hold_within_each_size(sizes):
    splits = split_groups(sizes, validation_share=0.2, test_share=0.2, seed=1)

    for size in set(sizes):
        of_size = Counter(s for s, n in zip(splits, sizes, strict=True) if n == size)
        assert abs(of_size["test"] - 0.2 * of_size.total()) < 3
        assert abs(of_size["validation"] - 0.2 * of_size.total()) < 3


def test_the_same_seed_splits_alike_and_another_differently():
    sizes = [2, 3, 4, 5] * 10
    settings = {"validation_share": 0.2, "test_share": 0.2}

    first = split_groups(sizes, **settings, seed=1)

    assert first == split_groups(sizes, **settings, seed=1)
    assert first != split_groups(sizes, **settings, seed=2)


def test_splits_are_written_with_their_facts_and_read_again(tmp_path):
    splits = {"a": "train", "b": "test"}

    write_splits(tmp_path / "splits.json", splits=splits, facts={"seed": 3})

    assert read_splits(tmp_path / "splits.json") == splits
    written = json.loads((tmp_path / "splits.json").read_text())
    assert written["seed"] == 3
    assert written["sha256"] == splits_hash({"b": "test", "a": "train"})
    assert splits_hash({"a": "train", "b": "train"}) != written["sha256"]


@pytest.mark.parametrize("content", [None, "{}", '{"images": {"a": "other"}}', "no json"])
def test_another_file_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "splits.json").write_text(content)

    with pytest.raises(errors.InvalidArgument, match="splits"):
        read_splits(tmp_path / "splits.json")


def test_a_known_image_takes_its_group_along_and_unknown_groups_are_named():
    groups = [["a", "new"], ["c"], ["d"]]

    splits, new = splits_of_groups(groups, images={"a": "test", "d": "validation"})

    assert splits == ["test", "train", "validation"]
    assert new == [1]


def test_splits_that_tear_a_group_apart_are_refused():
    with pytest.raises(errors.InvalidArgument, match="a, b"):
        splits_of_groups([["a", "b"]], images={"a": "test", "b": "train"})
