r"""Train the network that judges whether what two registered pictures share is a picture.

    python -m halftone.evaluation.judging POOL --out halftone/matching/looks/judge.npz \
        [--archive FOLDER] [--different FOLDER] [--corrections FILE] \
        [--pairs 5000] [--repeats 900] [--printings 700] [--epochs 18] [--folds 2] [--seed 0]

Pairs come from five places: sheets with drawn furniture, different sheets that are laid upon each
other where they repeat, and simulated printings, all made of the pictures in POOL; the true pairs
of labelled archives; and folders whose pictures all differ.
"""

from __future__ import annotations

import argparse
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import cv2

from halftone.archive.manifests import list_pictures
from halftone.core import errors, files
from halftone.evaluation.corrections import read_corrections
from halftone.evaluation.judging.network import fold, train
from halftone.evaluation.judging.samples import (
    see_archive,
    see_different,
    see_furniture,
    see_printings,
    see_repeats,
)
from halftone.vision.furnishing import KINDS
from halftone.vision.judging import score

if TYPE_CHECKING:
    from collections.abc import Sequence

    from halftone.vision.judging import SeenPair


_CLASSES: Final = 2
_FEWEST_PICTURES: Final = 12 * len(KINDS)
"""Each kind of furniture shows pictures of its own, and a plate takes twelve."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Collect pairs, judge the network on folds that were left out, and write one for all."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("pool", type=Path)
    parser.add_argument("--archive", type=Path, action="append", default=[])
    parser.add_argument("--different", type=Path, action="append", default=[])
    parser.add_argument("--corrections", type=Path)
    parser.add_argument("--pairs", type=int, default=5000)
    parser.add_argument("--repeats", type=int, default=900)
    parser.add_argument("--printings", type=int, default=700)
    parser.add_argument("--epochs", type=int, default=18)
    parser.add_argument("--folds", type=int, default=2, help="0: only train on all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    given: Any = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    try:
        corrections = read_corrections(given.corrections) if given.corrections else {}
        paths = list_pictures(given.pool)
        if len(paths) < (_FEWEST_PICTURES if given.pairs or given.repeats else 1):
            parser.error(f"{given.pool} has {len(paths)} pictures; it takes {_FEWEST_PICTURES}")
        pairs = list(see_furniture(paths, pairs=given.pairs, seed=given.seed))
        pairs += see_repeats(paths, pairs=given.repeats, seed=given.seed)
        pairs += see_printings(paths, count=given.printings, seed=given.seed)
        for folder in given.archive:
            pairs += see_archive(folder)
        for folder in given.different:
            pairs += see_different(folder, corrections=corrections)
        if len({pair.same for pair in pairs}) < _CLASSES:
            parser.error("it takes pairs of one picture and pairs of two")
        given.out.touch()
    except (errors.HalftoneError, OSError) as error:
        parser.error(str(error))
    print(f"{len(pairs):,} pairs, {sum(pair.same for pair in pairs):,} of one picture", flush=True)
    _judge_folds(pairs, folds=given.folds, epochs=given.epochs, seed=given.seed)
    network = train(pairs, epochs=given.epochs, seed=given.seed, progress=_report)
    files.replace_file(given.out, fold(network).to_bytes())


def _judge_folds(pairs: Sequence[SeenPair], *, folds: int, epochs: int, seed: int) -> None:
    """Print how well groups that a network did not see are told apart."""
    from sklearn.metrics import roc_auc_score  # noqa: PLC0415 - takes a second

    for number in range(folds):
        aside = [zlib.crc32(pair.group.encode()) % folds == number for pair in pairs]
        known = [pair for pair, out in zip(pairs, aside, strict=True) if not out]
        unknown = [pair for pair, out in zip(pairs, aside, strict=True) if out]
        if min(len({pair.same for pair in part}) for part in (known, unknown)) < _CLASSES:
            print(f"fold {number + 1}: too few groups to judge", flush=True)
            continue
        scores = score(train(known, epochs=epochs, seed=seed), unknown)
        area = roc_auc_score([pair.same for pair in unknown], scores)
        print(f"fold {number + 1}: {len(unknown):,} pairs left out, AUC {area:.4f}", flush=True)


def _report(epoch: int, loss: float) -> None:
    print(f"epoch {epoch}: loss {loss:.3f}", flush=True)


if __name__ == "__main__":
    main()
