"""Train the network that says where two registered printings of one picture differ.

    python -m halftone.evaluation.differing POOL --out halftone/matching/looks/difference_map.npz \
        [--archive FOLDER] [--pictures 900] [--epochs 16] [--seed 0]

Pictures of POOL are retouched and printed; the true pairs of labelled archives show how real
printings differ that nobody retouched. A tenth of the pictures is left out first, to say how well
the network knows what it has not seen.
"""

from __future__ import annotations

import argparse
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np

from halftone.archive.manifests import list_pictures
from halftone.core import errors, files
from halftone.evaluation.differing.network import fold, train
from halftone.evaluation.differing.samples import FAITHFUL, see_archive, see_retouched
from halftone.vision.differing import UNKNOWN, predict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from halftone.vision.differing import SeenPrinting

_ASIDE: Final = 10  # one in as many pictures
_FALSE: Final = 0.95  # quantile of faithful printings
_CELLS: Final = 6  # that a retouch takes at least, to be counted


def main(arguments: Sequence[str] | None = None) -> None:
    """Collect printings, judge the network on pictures that were left out, and write it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("pool", type=Path)
    parser.add_argument("--archive", type=Path, action="append", default=[])
    parser.add_argument("--pictures", type=int, default=900)
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    given: Any = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    try:
        paths = list_pictures(given.pool)
        if not paths:
            parser.error(f"{given.pool} has no pictures")
        printings = list(see_retouched(paths, pictures=given.pictures, seed=given.seed))
        for folder in given.archive:
            printings += see_archive(folder)
    except (errors.HalftoneError, OSError) as error:
        parser.error(str(error))
    aside = [_is_aside(each) for each in printings]
    known = [each for each, out in zip(printings, aside, strict=True) if not out]
    unknown = [each for each, out in zip(printings, aside, strict=True) if out]
    if not known:
        parser.error("no printing registers with its picture")
    given.out.touch()
    print(f"{len(known):,} printings, {len(unknown):,} left out", flush=True)
    network = train(known, epochs=given.epochs, seed=given.seed, progress=_report)
    if unknown:
        _judge(unknown, predict(network, unknown))
    files.replace_file(given.out, fold(network).to_bytes())


def _is_aside(printing: SeenPrinting) -> bool:
    return zlib.crc32(printing.group.encode()) % _ASIDE == 0


def _judge(printings: Sequence[SeenPrinting], found: np.ndarray[Any, np.dtype[np.float32]]) -> None:
    """Print how many retouches are found where one in twenty faithful printings has a false one."""
    surest = [
        float(np.where(each.changed == UNKNOWN, 0, cells).max())
        for each, cells in zip(printings, found, strict=True)
    ]
    faithful = [s for s, each in zip(surest, printings, strict=True) if each.kind == FAITHFUL]
    limit = float(np.quantile(faithful, _FALSE)) if faithful else 0.5
    for kind in sorted({each.kind for each in printings}):
        surely = [
            bool(cells[each.changed == 1].max() > limit)
            for each, cells in zip(printings, found, strict=True)
            if each.kind == kind and (each.changed == 1).sum() >= _CELLS
        ]
        if surely:
            print(f"{kind:10} {len(surely):4} left out, {np.mean(surely):.3f} found", flush=True)


def _report(epoch: int, loss: float) -> None:
    print(f"epoch {epoch}: loss {loss:.4f}", flush=True)


if __name__ == "__main__":
    main()
