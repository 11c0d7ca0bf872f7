"""Hashes and visual words of many pictures: time of a search, and bytes a picture.

    python -m tests.bench.channels --archive PATH [--sizes 20000 100000] [--pictures 300]

Pictures are composed of real ones of an archive: each has the words of four, a quarter of each, so
that words are as many and as unequally frequent as in an archive, and a real hash with bits turned
over. They lie in one part of Qdrant Edge, as the service's own builder makes it. Searches run in
this process, in one thread; Edge holds the interpreter lock for all of that time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from halftone.archive import manifests as archives
from halftone.imaging import images
from halftone.imaging.orientations import UPRIGHT
from halftone.matching.features import SIDE
from halftone.matching.fingerprint import archive_fingerprint
from halftone.matching.pdq import to_vector
from halftone.matching.words import Words, turn
from halftone.services.search.archive import payload as payloads
from halftone.services.search.store.edge import build
from halftone.services.search.store.edge.part import Part, to_requests
from halftone.services.search.store.port import Channel, Query, Stored
from tests.bench.vectors import Archive, journal_and_date

if TYPE_CHECKING:
    from collections.abc import Sequence

_DIMENSION: Final = 8
"""Of the descriptors, which are not looked at here."""
_DEPTH: Final = 50
_SEARCHES: Final = 40


def fingerprints(archive: Path, *, count: int) -> tuple[list[np.ndarray], list[Words]]:
    """Hashes and words of pictures of an archive that are not plain."""
    rows = [row for row in archives.read_manifest(archive, archive="bench") if row.path]
    hashes, words = [], []
    for row in rows[:: max(1, len(rows) // count)][:count]:
        assert row.path is not None
        content = row.path.read_bytes()
        image = images.decode(content, max_pixels=10**8, target=SIDE, luminance=True)
        made = archive_fingerprint(image)
        if len(made.words[False].indices):
            hashes.append(to_vector(made.pdq[UPRIGHT]))
            words.append(made.words[False])
    return hashes, words


def composed(
    hashes: Sequence[np.ndarray], words: Sequence[Words], *, count: int
) -> list[tuple[np.ndarray, Words]]:
    """`count` pictures that have their words from four others each."""
    chance = np.random.default_rng(0)
    made = []
    for _ in range(count):
        weights: dict[int, float] = {}
        for at in chance.integers(len(words), size=4):
            taken = chance.random(len(words[at].indices)) < 0.27
            weights |= zip(
                words[at].indices[taken].tolist(), words[at].values[taken].tolist(), strict=True
            )
        indices = np.array(sorted(weights), dtype=np.uint32)
        values = np.array([weights[each] for each in indices.tolist()], dtype=np.float32)
        turned = np.where(chance.random(256) < chance.uniform(0.05, 0.45), -1, 1)
        hashed = (hashes[chance.integers(len(hashes))] * turned).astype(np.float32)
        made.append((hashed, Words(indices, values / np.linalg.norm(values))))
    return made


def measure(folder: Path, *, pictures: Sequence[tuple[np.ndarray, Words]]) -> dict[str, Any]:
    """Builds a part of pictures and searches it."""
    count = len(pictures)
    base = np.random.default_rng(1).standard_normal((100, _DIMENSION)).astype(np.float32)
    archive = Archive.make(base, count=count)
    points = (
        Stored(id=each.id, payload=each.payload, vector=each.vector, pdq=hashed, words=words)
        for each, (hashed, words) in zip(archive.points(start=0, stop=count), pictures, strict=True)
    )
    started = time.perf_counter()
    if not build.build(folder / "part", dimension=_DIMENSION, points=points):
        raise RuntimeError("the part was not built")
    result: dict[str, Any] = {"pictures": count, "build_seconds": time.perf_counter() - started}
    part = Part.load(folder / "part")
    everything = np.stack([hashed for hashed, _ in pictures])
    for label, condition in (("all", None), ("4 %, journal and date", journal_and_date())):
        for channel in (Channel.PDQ, Channel.WORDS):
            seconds = []
            for at in np.random.default_rng(2).integers(count, size=_SEARCHES):
                hashed, words = pictures[at]
                vector = hashed if channel is Channel.PDQ else turn(words)
                query = Query(vector=vector, using=channel, limit=_DEPTH)
                if condition is not None:
                    query = Query(
                        vector=vector,
                        using=channel,
                        limit=_DEPTH,
                        filter=payloads.to_filter(condition),
                    )
                requests = to_requests([query])
                started = time.perf_counter()
                (hits,) = part.query(requests)
                seconds.append(time.perf_counter() - started)
                if condition is None and channel is Channel.PDQ:
                    best = np.sort(everything @ hashed)[::-1][:_DEPTH] / 256
                    np.testing.assert_allclose([score for _, score in hits], best, atol=1e-5)
            result[f"{channel.value}, {label}: p50 ms"] = statistics.median(seconds) * 1e3
    part.close()
    for name in (Channel.PDQ.value, Channel.WORDS.value):
        size = sum(
            path.stat().st_blocks * 512
            for path in (folder / "part").rglob("*")
            if path.is_file() and any(parent.name.endswith(name) for parent in path.parents)
        )
        result[f"{name}: bytes a picture"] = round(size / count)
    return result


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--archive", type=Path, required=True, help="a folder with a manifest")
    parser.add_argument("--sizes", type=int, nargs="+", default=[20_000, 100_000])
    parser.add_argument("--pictures", type=int, default=300, help="real ones to compose from")
    arguments = parser.parse_args()
    hashes, words = fingerprints(arguments.archive, count=arguments.pictures)
    for size in arguments.sizes:
        pictures = composed(hashes, words, count=size)
        with tempfile.TemporaryDirectory(prefix="halftone-channels-") as name:
            result = measure(Path(name), pictures=pictures)
        result["words a picture"] = float(np.mean([len(each.indices) for _, each in pictures]))
        sys.stdout.write(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
