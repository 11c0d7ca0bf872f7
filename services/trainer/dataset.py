"""Training pictures: read once, squashed to a square, kept in memory as bytes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from halftone import errors, images
from services.trainer.evaluate import read_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from halftone.vision.preprocessing import Preprocessing

_MAX_PIXELS = 100_000_000


@dataclass(frozen=True)
class Pictures:
    """Pictures without labels.

    Attributes:
        ids: N image ids.
        pixels: uint8 [N, S, S].
        rejected: Id and reason of what could not be read.
    """

    ids: tuple[str, ...]
    pixels: Tensor
    rejected: tuple[tuple[str, str], ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, rows: Sequence[int] | Tensor) -> Pictures:
        """Return the pictures at `rows`, in that order."""
        chosen = torch.as_tensor(rows, dtype=torch.int64)
        return Pictures(tuple(self.ids[int(row)] for row in chosen), self.pixels[chosen])


def read_pictures(
    folders: Sequence[Path], *, preprocessing: Preprocessing, threads: int = 4
) -> Pictures:
    """Read every picture that the folders' manifests name.

    One that cannot be read is left out and listed in `rejected`.

    Raises:
        errors.InvalidArgument: None can be read.
    """
    listed = [
        (row["image_id"], folder / row["file"])
        for folder in folders
        for row in read_manifest(folder)
    ]

    def read(path: Path) -> NDArray[np.uint8] | str:
        # Decoded as the embedder does it, so that a published model meets what it learned from.
        try:
            image = images.decode(
                path.read_bytes(),
                max_pixels=_MAX_PIXELS,
                target=2 * preprocessing.size,
                luminance=True,
            )
        except (OSError, errors.ImageRejected) as error:
            return str(error)
        return preprocessing(image)

    with ThreadPoolExecutor(threads) as pool:
        results = list(pool.map(read, [path for _, path in listed]))
    read_ids = tuple(
        image_id
        for (image_id, _), result in zip(listed, results, strict=True)
        if not isinstance(result, str)
    )
    pixels = [result for result in results if not isinstance(result, str)]
    rejected = tuple(
        (listed[row][0], result) for row, result in enumerate(results) if isinstance(result, str)
    )
    if not pixels:
        raise errors.InvalidArgument(
            f"There is no readable picture in {', '.join(map(str, folders))}.", field="data"
        )
    return Pictures(read_ids, torch.from_numpy(np.stack(pixels)), rejected)


def hold_out(pictures: Pictures, *, count: int, seed: int) -> tuple[Pictures, Pictures]:
    """Split off `count` pictures, the same for the same seed: (training, validation)."""
    order = torch.randperm(len(pictures), generator=torch.Generator().manual_seed(seed))
    validation, training = order[:count].sort().values, order[count:].sort().values
    return pictures.select(training), pictures.select(validation)


def batches(count: int, *, size: int, seed: int, start: int = 0) -> Iterator[Tensor]:
    """Yield row numbers, int64 [size], for step `start` and on: every row once per epoch.

    The order depends on `seed` and the step alone, so that a resumed run sees what an undisturbed
    one would have seen.
    """
    per_epoch = count // size
    if per_epoch == 0:
        raise ValueError(f"a batch of {size} needs at least {size} pictures, not {count}")
    step = start
    while True:
        epoch = step // per_epoch
        order = torch.randperm(
            count, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        )
        for position in range(step % per_epoch, per_epoch):
            yield order[position * size : (position + 1) * size]
        step = (epoch + 1) * per_epoch
