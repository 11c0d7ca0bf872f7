"""A labelled archive through the gRPC API: how fast it imports, how well it answers.

    python -m tests.bench.archive --archive PATH [--server HOST:PORT] [--json FILE] [--mistakes N]
        [--same FILE]

The archive has a manifest and a `groups.json`. Without `--server` a stack of its own is started in
a temporary directory. Every picture is searched by its name, and what the service says of the first
200 hits is what the protocol scores (a pair that is on neither page counts as the least similar);
nothing is computed beside the service. Scored are the probabilities of searches that verify (as
they do unless told otherwise), of searches that do not, and the similarities alone. PDQ, as it
is usually used and in all eight orientations, stands beside them where it is installed (`make
reference`).

Truth that was found by a matcher lacks pairs. `--same` names those that somebody looked at and
found to show the same picture, a CSV file with the columns a and b; the figures are then given a
second time with them left out, neither matches nor mistakes.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import importlib.util
import json
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from halftone.archive import manifests as archives
from halftone.client import Client, Filter
from halftone.evaluation import evaluate
from halftone.evaluation.truth import FALSE, MATCH, Truth
from halftone.stack.local import LocalStack, Ports

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from halftone.archive.manifests import Row
    from halftone.client import SearchPage

NAME = "bench"
PAGE = 200
FIGURES = {
    "recall_at_1": "R@1",
    "map": "mAP",
    "micro_ap": "µAP",
    "best_f1": "best F1",
    "recall_at_p90": "R@P90",
}
VERIFIED, UNVERIFIED, SIMILAR = (
    "Halftone, by probability, 50 candidates compared (default)",
    "Halftone, by probability, none compared",
    "Halftone, by similarity alone",
)
LIKELY = 0.5
"""Probability from which on a pair is listed as a mistake where it is none."""


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


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What the service answered for each pair, float [N, N]; -1 where it was on neither page.

    A pair is asked for from both sides; the larger answer counts, as it would for a user.
    """

    probability: np.ndarray
    similarity: np.ndarray
    relations: dict[tuple[int, int], str]
    seconds: list[float]
    out_of_time: int


def answers(client: Client, names: Sequence[str], *, verify_count: int | None = None) -> Answers:
    """Searches by every picture, two at a time."""
    index = {name: number for number, name in enumerate(names)}
    probability, similarity = (np.full((len(names), len(names)), -1.0) for _ in range(2))
    relations: dict[tuple[int, int], str] = {}
    where = Filter(archives=[NAME])

    def search(name: str) -> tuple[str, SearchPage, float]:
        started = time.perf_counter()
        page = client.search(name, filter=where, limit=PAGE, verify_count=verify_count)
        return name, page, time.perf_counter() - started

    seconds, late = [], 0
    with ThreadPoolExecutor(2) as pool:
        for name, page, took in pool.map(search, names):
            row = index[name]
            seconds.append(took)
            late += page.out_of_time_count
            for hit in page:
                column = index[hit.image.name]
                probability[row, column] = hit.probability
                similarity[row, column] = hit.similarity
                relations[row, column] = hit.relation.value
    return Answers(
        probability=np.maximum(probability, probability.T),
        similarity=np.maximum(similarity, similarity.T),
        relations=relations,
        seconds=seconds,
        out_of_time=late,
    )


def mistakes(found: Answers, *, truth: Truth, ids: Sequence[str], most: int) -> dict[str, Any]:
    """Pairs to be looked at: false ones that are likely, and true ones that are not."""
    kinds = truth.kinds(0, truth.count)
    rows, columns = np.triu_indices(truth.count, k=1)
    scores, kinds = found.probability[rows, columns], kinds[rows, columns]

    def listed(chosen: np.ndarray, *, order: np.ndarray) -> list[dict[str, Any]]:
        return [
            {
                "a": ids[rows[at]],
                "b": ids[columns[at]],
                "probability": round(float(scores[at]), 4),
                "similarity": round(float(found.similarity[rows[at], columns[at]]), 3),
                "relation": found.relations.get((rows[at], columns[at]), "")
                or found.relations.get((columns[at], rows[at]), "not found"),
            }
            for at in chosen[np.argsort(order[chosen], kind="stable")][:most]
        ]

    false = np.flatnonzero((kinds == FALSE) & (scores >= LIKELY))
    missed = np.flatnonzero((kinds == MATCH) & (scores < LIKELY))
    return {
        "false_count": len(false),
        "missed_count": len(missed),
        "false": listed(false, order=-scores),
        "missed": listed(missed, order=scores),
    }


def pdq_similarities(paths: Sequence[Path], *, dihedral: bool) -> np.ndarray:
    """1 - Hamming distance / 256 of PDQ hashes, the best over orientations, float [N, N].

    They are computed by Meta's code; ours, which hashes turned copies of 512 pixels, scores lower.
    """
    import pdqhash  # noqa: PLC0415 - needs a C++ compiler

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


def leaving_out(truth: Truth, *, same: Path, ids: Sequence[str]) -> Truth:
    """The truth without the pairs of a CSV file."""
    index = {image_id: number for number, image_id in enumerate(ids)}
    with same.open(encoding="utf-8", newline="") as file:
        pairs = [sorted((index[row["a"]], index[row["b"]])) for row in csv.DictReader(file)]
    left_out = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    if truth.are_matches(left_out[:, 0], left_out[:, 1]).any():
        raise SystemExit(f"{same} names pairs that are matches already.")
    return replace(truth, ignored=np.concatenate([truth.ignored, left_out]))


def run(
    *,
    folder: Path,
    server: str | None = None,
    most_mistakes: int = 30,
    same: Path | None = None,
) -> dict[str, Any]:
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
        names = [image.name for image in pictures]
        found = answers(client, names)
        unverified = answers(client, names, verify_count=0)
    for label, scores in (
        (VERIFIED, found.probability),
        (UNVERIFIED, unverified.probability),
        (SIMILAR, unverified.similarity),
    ):
        results[label] = evaluate.evaluate_scores(scores, truth=truth)
    if same is not None:
        looked_at = leaving_out(truth, same=same, ids=[row.image_id for row in rows])
        results[f"{VERIFIED}, {same.name} left out"] = evaluate.evaluate_scores(
            found.probability, truth=looked_at
        )
    results["mistakes"] = mistakes(
        found, truth=truth, ids=[row.image_id for row in rows], most=most_mistakes
    )
    results["search"] = {
        "p50_ms": statistics.median(found.seconds) * 1e3,
        "unverified_p50_ms": statistics.median(unverified.seconds) * 1e3,
        "out_of_time": found.out_of_time,
    }
    if importlib.util.find_spec("pdqhash") is not None:
        for label, dihedral in (("PDQ", False), ("PDQ, all orientations", True)):
            scores = pdq_similarities(paths, dihedral=dihedral)
            results[label] = evaluate.evaluate_scores(scores, truth=truth)
    return results


def show(results: dict[str, Any]) -> None:
    """The figures with their 95 % intervals where there are any."""
    table = Table("", *FIGURES.values())
    for label, figures in results.items():
        if label not in {"import", "mistakes", "search"}:
            table.add_row(label, *(f"{figures[key]:.3f}" for key in FIGURES))
    console = Console(width=120)
    console.print(table)
    if "PDQ" not in results:
        console.print("PDQ is not compared with: `make reference` installs it.")
    console.print(
        "import: {new_images_per_second:.1f} new images/s, "
        "{unchanged_images_per_second:.1f} unchanged images/s".format(**results["import"])
    )
    console.print(
        "search, two at a time: p50 {p50_ms:.0f} ms, {unverified_p50_ms:.0f} without comparing; "
        "{out_of_time} candidates out of time".format(**results["search"])
    )
    for kind in ("false", "missed"):
        console.print(f"{kind}: {results['mistakes'][kind + '_count']}")
        for pair in results["mistakes"][kind]:
            console.print("  {probability:.3f}  {relation:12s} {a}  {b}".format(**pair))


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--archive", type=Path, required=True)
    parser.add_argument("--server", help="host:port of a running search service")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--same", type=Path, help="CSV of pairs that the truth lacks: a, b")
    parser.add_argument("--mistakes", type=int, default=30, help="pairs listed of each kind")
    arguments = parser.parse_args()
    results = run(
        folder=arguments.archive,
        server=arguments.server,
        most_mistakes=arguments.mistakes,
        same=arguments.same,
    )
    show(results)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
