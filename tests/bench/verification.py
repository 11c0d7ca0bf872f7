"""How long a search takes to compare fifty candidates, beside the comparisons alone.

    python -m tests.bench.verification --archive PATH [--images 300] [--queries 40] [--json FILE]

Pictures of the archive, a little turned and cropped so that none has been asked for before, are
searched for through the service, each once with fifty candidates compared and once with none, in
turns; before that each candidate's features were read once. What the service says it spent on
comparing is read from its metrics. Beside it the very pairs that it compared are compared in this
process, by as many threads as there are cores, and by one.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import sys
import tempfile
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import threadpoolctl
from PIL import Image, ImageOps

from halftone import archive as archives
from halftone import images
from halftone.client import Client, VerificationState
from halftone.matching.features import LocalFeatures, extract
from halftone.matching.verification import verify
from services.local import LocalStack, Ports

if TYPE_CHECKING:
    from collections.abc import Sequence

    from halftone.archive import Row

NAME = "bench"
CANDIDATES = 50
BAR = 300.0
"""Milliseconds."""
_WARM = 10
_MAX_PIXELS = 100_000_000


def run(*, folder: Path, count: int = 300, queries: int = 40) -> dict[str, Any]:
    """Measures; see the module."""
    rows = [row for row in archives.read_manifest(folder, archive=NAME) if row.path is not None]
    rows = rows[:: max(1, len(rows) // count)][:count]
    asked = [_changed(row.path) for row in rows[: queries + _WARM] if row.path is not None]
    with (
        tempfile.TemporaryDirectory(prefix="halftone-bench-") as directory,
        LocalStack(Path(directory) / "data", ports=Ports.any_free(), report=_quiet) as stack,
        Client(stack.addresses.search) as client,
    ):
        client.import_images(rows)
        for content in asked[:_WARM]:
            client.search(content, verify_count=200, limit=1)
        metrics = f"http://{stack.addresses.search_metrics}/metrics"
        before = _spent(metrics)
        compared, plain, pairs, late = [], [], [], 0
        for content in asked[_WARM:]:
            started = time.perf_counter()
            page = client.search(content, limit=200, verify_count=CANDIDATES)
            middle = time.perf_counter()
            client.search(content, limit=200, verify_count=0)
            compared.append(middle - started)
            plain.append(time.perf_counter() - middle)
            late += page.out_of_time_count
            of_them = (VerificationState.OVERLAPPING, VerificationState.NO_OVERLAP)
            names = [hit.image.name for hit in page if hit.verification.state in of_them]
            pairs.append((content, names))
        spent = _spent(metrics)
    seconds, searches = (after - earlier for after, earlier in zip(spent, before, strict=True))
    bare = _bare(pairs, rows=rows)
    return {
        "images": len(rows),
        "queries": len(pairs),
        "pairs_a_query": statistics.mean(len(names) for _, names in pairs),
        "out_of_time": late,
        "verification_ms": seconds / searches * 1e3,
        "search_p50_ms": statistics.median(compared) * 1e3,
        "search_without_p50_ms": statistics.median(plain) * 1e3,
        **bare,
        "cores": os.cpu_count(),
    }


def _changed(path: Path) -> bytes:
    """The picture as another scan: a little turned, cropped, of another tone."""
    with Image.open(path) as opened:
        picture = opened.convert("L")
    picture.thumbnail((800, 800))
    turned = picture.rotate(1.5, Image.Resampling.BICUBIC, fillcolor=235)
    width, height = turned.size
    inner = turned.crop((width // 30, height // 30, width * 29 // 30, height * 29 // 30))
    stream = io.BytesIO()
    ImageOps.autocontrast(inner, cutoff=1).save(stream, "JPEG", quality=85)
    return stream.getvalue()


def _spent(metrics: str) -> tuple[float, float]:
    """Seconds spent comparing, and for how many searches."""
    with urllib.request.urlopen(metrics, timeout=10) as answer:  # noqa: S310 - our own address
        lines = answer.read().decode().splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    prefix = "halftone_search_verification_seconds"
    return float(values[f"{prefix}_sum"]), float(values[f"{prefix}_count"])


def _bare(pairs: Sequence[tuple[bytes, Sequence[str]]], *, rows: Sequence[Row]) -> dict[str, float]:
    """The same pairs without a service, milliseconds a query."""
    features = {
        row.image.name: _features(row.path.read_bytes())
        for row in rows
        if row.image is not None and row.path is not None
    }
    made = [(_features(content), [features[name] for name in names]) for content, names in pairs]
    found = {}
    cores = os.cpu_count() or 1
    for label, threads in (("bare_ms", cores), ("bare_one_thread_ms", 1)):
        # As the service does.
        with (
            threadpoolctl.threadpool_limits(1, user_api="blas"),
            ThreadPoolExecutor(threads) as pool,
        ):
            started, worked = time.perf_counter(), time.process_time()
            for query, candidates in made:
                list(pool.map(lambda each, query=query: verify(query, each), candidates))
            found[label] = (time.perf_counter() - started) / len(made) * 1e3
            found["bare_cpu_ms"] = (time.process_time() - worked) / len(made) * 1e3
    return found


def _features(content: bytes) -> LocalFeatures:
    image = images.decode(content, max_pixels=_MAX_PIXELS, target=384, luminance=True)
    return extract(image, full_size=images.size(content))


def _quiet(_line: str) -> None:
    pass


def table(results: dict[str, Any]) -> str:
    """The results for a person."""
    met = "met" if results["verification_ms"] <= BAR else "missed"
    return "\n".join(
        (
            (
                f"{results['pairs_a_query']:.0f} candidates of {results['images']} images, "
                f"{results['queries']} queries, {results['cores']} cores"
            ),
            (
                f"comparing, in the service  {results['verification_ms']:8.1f} ms a query "
                f"(<= {BAR:.0f}: {met})"
            ),
            (
                f"comparing alone            {results['bare_ms']:8.1f} ms, by one thread "
                f"{results['bare_one_thread_ms']:.1f}, of a core {results['bare_cpu_ms']:.1f}"
            ),
            (
                f"search over gRPC, p50      {results['search_p50_ms']:8.1f} ms, without comparing "
                f"{results['search_without_p50_ms']:.1f}"
            ),
            f"out of time                {results['out_of_time']:8d}",
        )
    )


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--archive", type=Path, required=True)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--queries", type=int, default=40)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    results = run(folder=arguments.archive, count=arguments.images, queries=arguments.queries)
    sys.stdout.write(table(results) + "\n")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
