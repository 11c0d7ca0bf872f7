"""Splits data into train, validation and test: by group, never by image, and repeatably."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from halftone.core import errors, files

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


Split = Literal["train", "validation", "test"]
SPLITS: Final[tuple[Split, ...]] = ("train", "validation", "test")
_NAMED: Final[dict[str, Split]] = {split: split for split in SPLITS}
FILE: Final = "splits.json"
_FORMAT: Final = 1
_ROUGHLY: Final = 4


def split_groups(
    sizes: Sequence[int], *, validation_share: float, test_share: float, seed: int
) -> list[Split]:
    """Assign each group to a split so that every split gets large and small groups alike.

    Groups are taken from the largest size to the smallest, in random order within a size (from size
    4 on, within a factor of two), and each goes to the split that is furthest below its share. That
    comes as close to the shares as whole groups can, whatever their number.

    Args:
        sizes: The number of images of each group.
        validation_share: The share of the groups that is held out for validation, 0 to 1.
        test_share: The share that is held out for the test, 0 to 1. The rest is trained on.
        seed: The same seed gives the same splits.

    Returns:
        The split of each group.
    """
    generator = np.random.default_rng(seed)
    strata = np.array([_stratum(size) for size in sizes], dtype=np.int64)
    order = np.lexsort((generator.permutation(len(sizes)), -strata))
    shares = np.array([1 - validation_share - test_share, validation_share, test_share])
    given = np.zeros(len(SPLITS))
    result: list[Split] = ["train"] * len(sizes)
    for place, group in enumerate(order, start=1):
        chosen = int(np.argmax(np.where(shares > 0, shares * place - given, -np.inf)))
        given[chosen] += 1
        result[group] = SPLITS[chosen]
    return result


def _stratum(size: int) -> int:
    return size if size < _ROUGHLY else 2 + int(np.log2(size))


def write_splits(path: Path, *, splits: Mapping[str, Split], facts: Mapping[str, Any]) -> None:
    """Write a file of splits.

    Args:
        path: The file. If it exists, it is replaced.
        splits: The split of each image, by its id.
        facts: Facts about the splits, which are written beside them.
    """
    content = {"format": _FORMAT, "sha256": splits_hash(splits), **facts, "images": dict(splits)}
    files.replace_file(path, files.to_json(content))


def read_splits(path: Path) -> dict[str, Split]:
    """Return the split of each image from a file.

    Raises:
        errors.InvalidArgument: The file does not exist or is not a file of splits.
    """
    try:
        images = files.read_object(path)["images"]
        found: dict[str, Split] = {image_id: _NAMED[split] for image_id, split in images.items()}
    except (OSError, KeyError, TypeError, AttributeError, errors.DataLoss) as error:
        raise errors.InvalidArgument(
            f"{path} is no file of splits: {error!r}.", field="splits"
        ) from error
    return found


def splits_hash(splits: Mapping[str, Split]) -> str:
    """Return a hash of a division into splits that does not depend on the order."""
    return hashlib.sha256(json.dumps(dict(splits), sort_keys=True).encode()).hexdigest()


def splits_of_groups(
    groups: Sequence[Sequence[str]], *, images: Mapping[str, Split]
) -> tuple[list[Split], list[int]]:
    """Return the splits of groups from the splits of their images.

    Args:
        groups: The image ids of each group.
        images: The split of each image, by its id.

    Returns:
        The split of each group. And the indices of the groups of which no image has a split: they
        are trained on.

    Raises:
        errors.InvalidArgument: The images of a group are in several splits.
    """
    result: list[Split] = []
    new = []
    for number, group in enumerate(groups):
        splits = {images[image_id] for image_id in group if image_id in images}
        if len(splits) > 1:
            raise errors.InvalidArgument(
                f"The splits tear a group apart: {', '.join(group)} are in {', '.join(splits)}.",
                field="splits",
            )
        if not splits:
            new.append(number)
        result.append(splits.pop() if splits else "train")
    return result, new
