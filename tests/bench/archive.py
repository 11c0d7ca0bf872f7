"""A labelled archive through the gRPC API: how fast it imports, how well it answers.

    python -m tests.bench.archive --archive PATH [--server HOST:PORT] [--json FILE]

The archive has a manifest and a `groups.json`. Without `--server` a stack of its own is started in
a temporary directory. Every picture is searched by its name, and the similarities of the first
200 hits are what the protocol scores (a pair that is on neither page counts as the least
similar); nothing is computed beside the service. PDQ, as it is usually used and in all eight
orientations, stands beside it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pdqhash
from PIL import Image
from rich.console import Console
from rich.table import Table

from halftone import archive as archives
from halftone.client import Client, Filter
from services.local import LocalStack, Ports
from services.trainer import evaluate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from halftone.archive import Row

NAME = "bench"
PAGE = 200
FIGURES = {
    "recall_at_1": "R@1",
    "map": "mAP",
    "micro_ap": "µAP",
    "best_f1": "best F1",
    "recall_at_p90": "R@P90",
}
MODES = {
    "Halftone, as it is": {"mirrored": False, "rotated": False},
    "Halftone, mirrored": {"mirrored": True, "rotated": False},
    "Halftone, all orientations (default)": {"mirrored": True, "rotated": True},
}


@contextlib.contextmanager
def stack(server: str | None) -> Iterator[Client]:
    """A client of the given server, or of a stack that lives as long as the context."""
    if server is not None:
        with Client(server) as client:
            yield client
        return
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalStack(Path(folder) / "data", ports=Ports.any_free(), report=print) as running,
        Client(running.addresses.search, embedder=running.addresses.embedder) as client,
    ):
        yield client


def import_archive(client: Client, rows: Sequence[Row]) -> dict[str, float]:
    """Imports the rows twice: images per second when all are new, and when none is."""
    result: dict[str, float] = {}
    for label in ("new", "unchanged"):
        started = time.perf_counter()
        summary = client.import_images(rows)
        seconds = time.perf_counter() - started
        if summary.rejected:
            raise SystemExit(f"{len(summary.rejected)} rows were rejected.")
        result[f"{label}_images_per_second"] = len(rows) / seconds
    return result


def similarities(client: Client, names: Sequence[str], **options: bool) -> np.ndarray:
    """What the service answers for each pair, float [N, N].

    A pair is asked for from both sides; the larger answer counts, as it would for a user.
    """
    index = {name: number for number, name in enumerate(names)}
    matrix = np.full((len(names), len(names)), -1.0)
    where = Filter(archives=[NAME])
    for name, row in index.items():
        for hit in client.search(name, filter=where, limit=PAGE, **options):
            matrix[row, index[hit.image.name]] = hit.similarity
    return np.maximum(matrix, matrix.T)


def pdq_similarities(paths: Sequence[Path], *, dihedral: bool) -> np.ndarray:
    """1 - Hamming distance / 256 of PDQ hashes, the best over orientations, float [N, N]."""
    hashes = []
    for path in paths:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"))
        found, _ = pdqhash.compute_dihedral(pixels)
        hashes.append(np.stack(found))
    bits = np.stack(hashes).astype(np.float32) * 2 - 1  # [N, 8, 256]
    plain = bits[:, 0]
    turned = range(bits.shape[1] if dihedral else 1)
    agreement = np.max([bits[:, lay] @ plain.T for lay in turned], axis=0)
    return np.asarray((np.maximum(agreement, agreement.T) / 256 + 1) / 2)


def run(*, folder: Path, server: str | None = None) -> dict[str, Any]:
    """Imports, searches and scores; see the module."""
    rows = [row for row in archives.read_manifest(folder, archive=NAME) if row.error is None]
    pictures = [row.image for row in rows if row.image is not None]
    truth = evaluate.read_truth(
        folder,
        image_ids=[row.image_id for row in rows],
        journals={row.image_id: image.journal for row, image in zip(rows, pictures, strict=True)},
    )
    paths = [row.path for row in rows if row.path is not None]
    results: dict[str, Any] = {}
    with stack(server) as client:
        results["import"] = import_archive(client, rows)
        for label, options in MODES.items():
            scores = similarities(client, [image.name for image in pictures], **options)
            results[label] = evaluate.evaluate_scores(scores, truth=truth)
    for label, dihedral in (("PDQ", False), ("PDQ, all orientations", True)):
        scores = pdq_similarities(paths, dihedral=dihedral)
        results[label] = evaluate.evaluate_scores(scores, truth=truth)
    return results


def show(results: dict[str, Any]) -> None:
    """The figures with their 95 % intervals where there are any."""
    table = Table("", *FIGURES.values())
    for label, figures in results.items():
        if label != "import":
            table.add_row(label, *(f"{figures[key]:.3f}" for key in FIGURES))
    console = Console(width=120)
    console.print(table)
    console.print(
        "import: {new_images_per_second:.1f} new images/s, "
        "{unchanged_images_per_second:.1f} unchanged images/s".format(**results["import"])
    )


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--archive", type=Path, required=True)
    parser.add_argument("--server", help="host:port of a running search service")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    results = run(folder=arguments.archive, server=arguments.server)
    show(results)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
