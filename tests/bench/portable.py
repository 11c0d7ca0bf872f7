"""Embedding with and without torch: the same descriptors, how fast, and how soon after the start.

    python -m tests.bench.portable [--version DIR] [--pictures DIR] [--rounds N]

Each engine runs in a process of its own and they take turns, so that a busy machine slows all of
them down alike. `start` is from an empty interpreter to the first descriptor.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import multiprocessing
import os
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

from halftone.archive import manifests
from halftone.vision.preprocessing import Preprocessing, prepare_file
from halftone.vision.spec import ModelSpec

ENGINES = ("torch", "openvino", "onnxruntime")
BATCH = 8

_loaded: dict[str, Any] = {}


def load(engine: str, directory: Path) -> float:
    """Load the version in this process, embed one picture; return the seconds."""
    begun = time.perf_counter()
    threads = os.cpu_count() or 1
    if engine == "torch":
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
        import torch  # noqa: PLC0415

        from halftone.vision.inference import fuse  # noqa: PLC0415
        from halftone.vision.model import Model  # noqa: PLC0415

        torch.set_num_threads(threads)
        model = Model.load(directory)
        network = fuse(model.network, dtype=torch.float32)

        def embed(batch: np.ndarray) -> np.ndarray:
            with torch.inference_mode():
                return network(torch.from_numpy(batch).unsqueeze(1)).numpy()

        size = model.spec.preprocessing.size
    else:
        from halftone.vision.portable import PortableModel  # noqa: PLC0415

        portable = PortableModel.load(directory, threads=threads, runtime=engine)
        embed, size = portable.embed, portable.spec.preprocessing.size
    embed(np.zeros((1, size, size), dtype=np.uint8))
    _loaded["embed"] = embed
    return time.perf_counter() - begun


def embed_all(pictures: np.ndarray, batch: int) -> tuple[float, np.ndarray]:
    """Embed pictures in batches; return pictures a second, and the descriptors."""
    begun = time.perf_counter()
    parts = [
        _loaded["embed"](pictures[row : row + batch]) for row in range(0, len(pictures), batch)
    ]
    return len(pictures) / (time.perf_counter() - begun), np.concatenate(parts)


def start(engine: str, directory: Path) -> tuple[concurrent.futures.ProcessPoolExecutor, float]:
    """Start a process for an engine; return it, and the seconds until its first descriptor."""
    context = multiprocessing.get_context("spawn")
    pool = concurrent.futures.ProcessPoolExecutor(1, mp_context=context)
    return pool, pool.submit(load, engine, directory).result()


def read_pictures(folder: Path | None, *, preprocessing: Preprocessing) -> np.ndarray:
    """Prepare the pictures of a folder, or random ones: uint8 [N, S, S]."""
    size = preprocessing.size
    if folder is None:
        return np.random.default_rng(0).integers(0, 256, (64, size, size), dtype=np.uint8)
    prepared = (
        prepare_file(path, preprocessing=preprocessing)[1]
        for path in manifests.list_pictures(folder)
    )
    return np.stack([each for each in prepared if isinstance(each, np.ndarray)])


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--version", type=Path, default=Path("models/starter/1"))
    parser.add_argument("--pictures", type=Path, help="A folder; without it random pictures.")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    preprocessing = ModelSpec.read(arguments.version).preprocessing
    pictures = read_pictures(arguments.pictures, preprocessing=preprocessing)
    pools, descriptors, rates = {}, {}, {}
    with contextlib.ExitStack() as stack:
        for engine in ENGINES:
            seconds = []
            for _ in range(3):
                pool, started = start(engine, arguments.version)
                stack.callback(pool.shutdown)
                seconds.append(started)
            pools[engine] = pool
            descriptors[engine] = pool.submit(embed_all, pictures, BATCH).result()[1]
            print(f"{engine:12} first descriptor after {min(seconds):.2f} s")
        for _ in range(arguments.rounds):
            for batch in (1, BATCH):
                for engine, pool in pools.items():
                    rate, _ = pool.submit(embed_all, pictures[:64], batch).result()
                    rates.setdefault((engine, batch), []).append(rate)
    for engine in ENGINES:
        cosines = (descriptors[engine] * descriptors["torch"]).sum(axis=1)
        print(f"{engine:12} lowest cosine to torch, {len(cosines):,} pictures: {cosines.min():.7f}")
        for batch in (1, BATCH):
            pairs = zip(rates[engine, batch], rates["torch", batch], strict=True)
            ratio = statistics.median(ours / torchs for ours, torchs in pairs)
            print(
                f"{'':12} batches of {batch}: {max(rates[engine, batch]):.0f} images/s, "
                f"{ratio:.2f} of torch's"
            )


if __name__ == "__main__":
    main()
