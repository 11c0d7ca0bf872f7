"""Compares queries with 50 candidates each, in two threads and in the service.

    python -m tests.bench.verification ARCHIVE [--queries N]

ARCHIVE has a manifest. Bare: the pictures with the most features, each with 50 others, features in
memory. In the service, a stack of its own in a temporary directory: pictures are searched by name,
one at a time, first without comparing and then with; the difference is what comparing costs.
"""

from __future__ import annotations

import argparse
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from threadpoolctl import threadpool_limits

from halftone.archive import manifests as archives
from halftone.client import Filter
from halftone.matching.features import LocalFeatures, extract
from halftone.matching.fusion import VERIFY_COUNT
from halftone.matching.verification import verify
from tests.bench.archive import NAME, import_archive, stack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from halftone.archive.manifests import Row

_THREADS = 2
_MOST = 120  # pictures of which the bare part takes those with the most features


def bare(paths: Sequence[Path], *, queries: int) -> None:
    """Prints what comparing takes without a service."""
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(_THREADS) as pool:
        features = sorted(pool.map(_features, paths), key=len)[-VERIFY_COUNT - 10 :]
        wall, busy = [], []
        for turn in range(queries):
            query, *others = np.roll(np.arange(len(features)), turn)[: VERIFY_COUNT + 1]
            begun, used = time.perf_counter(), time.process_time()
            list(
                pool.map(
                    verify,
                    [features[query]] * VERIFY_COUNT,
                    [features[each] for each in others],
                )
            )
            wall.append(time.perf_counter() - begun)
            busy.append(time.process_time() - used)
    count = np.mean([len(each) for each in features])
    print(
        f"bare: {VERIFY_COUNT} candidates, {count:.0f} features each, {_THREADS} threads: "
        f"median {np.median(wall) * 1e3:.0f} ms, best {min(wall) * 1e3:.0f} ms; "
        f"of processors {np.median(busy) * 1e3:.0f} ms"
    )


def in_service(rows: Sequence[Row], *, queries: int) -> None:
    """Prints what a search takes without comparing and with."""
    names = [row.image.name for row in rows if row.image is not None]
    chosen = [names[at] for at in np.random.default_rng(0).permutation(len(names))[:queries]]
    with stack(None) as client:
        import_archive(client, rows)
        took: dict[int, list[float]] = {}
        # The first round warms the machine up; of compared pairs the service remembers the outcome,
        # so each query is compared once.
        for verify_count in (0, 0, VERIFY_COUNT):
            took[verify_count] = []
            for name in chosen:
                begun = time.perf_counter()
                client.search(name, filter=Filter(archives=[NAME]), verify_count=verify_count)
                took[verify_count].append(time.perf_counter() - begun)
    without, compared = (statistics.median(took[each]) * 1e3 for each in (0, VERIFY_COUNT))
    print(
        f"in the service, {queries} searches by name of {len(names):,}, median: "
        f"{without:.0f} ms without comparing, {compared:.0f} ms with {VERIFY_COUNT} candidates "
        f"compared: {compared - without:.0f} ms"
    )


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", type=Path)
    parser.add_argument("--queries", type=int, default=100)
    given = parser.parse_args()
    rows = [row for row in archives.read_manifest(given.archive, archive=NAME) if row.path]
    bare([row.path for row in rows if row.path is not None][:_MOST], queries=20)
    in_service(rows, queries=given.queries)


def _features(path: Path) -> LocalFeatures:
    with Image.open(path) as image:
        return extract(image.convert("L"))


if __name__ == "__main__":
    main()
