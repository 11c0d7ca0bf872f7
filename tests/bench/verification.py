"""Compares queries with 50 candidates each: `python -m tests.bench.verification DIR`.

DIR is a folder of pictures; those with the most features are taken, at least 60 of them.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from halftone.matching.features import LocalFeatures, extract
from halftone.matching.verification import verify

CANDIDATES = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--pictures", type=int, default=120)
    parser.add_argument("--queries", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    paths = sorted(given.directory.rglob("*.jpg"))[: given.pictures]
    with ThreadPoolExecutor(given.threads) as pool:
        features = sorted(pool.map(_features, paths), key=len)[-60:]
        wall, busy = [], []
        for turn in range(given.queries):
            query, *others = np.roll(np.arange(len(features)), turn)[: CANDIDATES + 1]
            begun, used = time.perf_counter(), time.process_time()
            list(
                pool.map(
                    verify, [features[query]] * CANDIDATES, [features[each] for each in others]
                )
            )
            wall.append(time.perf_counter() - begun)
            busy.append(time.process_time() - used)
    count = np.mean([len(each) for each in features])
    print(
        f"{CANDIDATES} candidates, {count:.0f} features each, {given.threads} threads: "
        f"median {np.median(wall) * 1e3:.0f} ms, best {min(wall) * 1e3:.0f} ms; "
        f"of processors {np.median(busy) * 1e3:.0f} ms"
    )


def _features(path: Path) -> LocalFeatures:
    with Image.open(path) as image:
        return extract(image.convert("L"))


if __name__ == "__main__":
    main()
