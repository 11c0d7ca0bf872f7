"""Imports a labelled archive into a running stack and scores its answers, all through gRPC.

    python -m tests.bench.archive --archive PATH [--server HOST:PORT]

The archive has a manifest and a `groups.json`. Every picture is searched by its name, all pages of
the answer are read, and the similarities that came back are what the protocol scores; nothing is
computed beside the service.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from halftone import archive as archives
from halftone.client import Client
from halftone.settings import ClientSettings
from services.trainer import evaluate

PAGE = 1000


def import_archive(client: Client, folder: Path, *, name: str) -> dict[str, float]:
    """Imports the archive. Returns images, seconds and images per second."""
    rows = [row for row in archives.read_manifest(folder, archive=name) if row.error is None]
    started = time.perf_counter()
    states: dict[str, int] = {}
    for ack in client.import_images(rows):
        states[ack.state] = states.get(ack.state, 0) + 1
    seconds = time.perf_counter() - started
    return {"images": len(rows), "seconds": seconds, "images_per_second": len(rows) / seconds} | {
        str(state): count for state, count in states.items()
    }


def all_similarities(client: Client, names: list[str], *, skip_mirrored: bool) -> np.ndarray:
    """The similarity of each picture to each other one as the service answers it, float [N, N].

    With mirrored queries the matrix is not exactly symmetric (a mirrored b is not b mirrored a
    after rounding), so the larger of both directions counts for a pair.
    """
    index = {name: number for number, name in enumerate(names)}
    matrix = np.full((len(names), len(names)), -1.0)
    for name, row in index.items():
        for hit in client.search(name, limit=PAGE, skip_mirrored=skip_mirrored, all_pages=True):
            matrix[row, index[hit.image.name]] = hit.similarity
    return np.maximum(matrix, matrix.T)


def run(*, folder: Path, server: str) -> dict[str, Any]:
    """Imports and scores; see the module."""
    archive = "bench"
    with Client(server) as client:
        imported = import_archive(client, folder, name=archive)
        rows = [r for r in archives.read_manifest(folder, archive=archive) if r.error is None]
        ids = [row.image_id for row in rows]
        truth = evaluate.read_truth(
            folder,
            image_ids=ids,
            journals={row.image_id: row.image.journal for row in rows if row.image},
        )
        names = [row.image.name for row in rows if row.image]
        results: dict[str, Any] = {"import": imported}
        for label, skip in (("upright", True), ("with mirrored query", False)):
            scores = all_similarities(client, names, skip_mirrored=skip)
            results[label] = evaluate.evaluate_scores(scores, truth=truth)
    return results


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--archive", type=Path, required=True)
    parser.add_argument("--server", default=ClientSettings().search)
    arguments = parser.parse_args()
    print(json.dumps(run(folder=arguments.archive, server=arguments.server), indent=2))  # noqa: T201


if __name__ == "__main__":
    main()
