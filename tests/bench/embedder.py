"""The embedder over gRPC beside the bare encoder.

    python -m tests.bench.embedder [--models DIR] [--seconds S] [--rounds N] [--random]

What is compared, always in turns within one run, so that a machine that is busy with something else
slows both sides:

- saturated: JPEG bytes in, vectors out, over gRPC, against the same encoder called on decoded
  tensors of the same batch size: in one loop that gives each batch all cores, and in a loop on each
  core, which is faster and what the service does. The service decodes as well and the client takes
  part of the same cores, so the table also has loops that decode and encode, and CPU times.
- idle: one image at a time; the service's answer beside decoding and encoding at batch 1.
- overload: three times the peak, open loop; goodput, how fast a refusal comes, memory.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from halftone.registry.versions import Registry
from tests.bench.embedder_sides import (
    MAX_BATCH,
    Server,
    bare_rates,
    idle_latencies,
    overload,
    pictures,
    random_version,
    saturate,
    serving,
    warm_client,
)


def run(
    models: Path = Path("models"),
    *,
    seconds: float = 4.0,
    rounds: int = 5,
    threads: int = 0,
    overload_seconds: float = 12.0,
    turns: int = 150,
) -> dict[str, Any]:
    """Measures. The active version of `models` is served.

    Args:
        models: A directory of model versions.
        seconds: For one side of one round.
        rounds: Pairs; the medians are reported.
        threads: For inference and for decoding; 0 means one per core.
        overload_seconds: How long the overload lasts at least.
        turns: Single images.
    """
    threads = threads or os.cpu_count() or 1
    # Both sides alike, as the service sets it for itself.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    context = multiprocessing.get_context("spawn")
    contents = pictures()
    report: dict[str, Any] = {
        "model_version": Registry(models).resolve("").id,
        "cores": os.cpu_count(),
        "threads": threads,
        "max_batch": MAX_BATCH,
    }
    with (
        serving(
            models, threads=threads, queue_items=4 * MAX_BATCH * (os.cpu_count() or 1)
        ) as server,
        concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as client,
        concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as bare,
    ):
        client.submit(warm_client, server.address).result()
        bare.submit(bare_rates, models, threads, 0.1).result()
        rows = []
        for _ in range(rounds):
            alone = bare.submit(bare_rates, models, threads, seconds).result()
            before = server.cpu_seconds()
            driven = client.submit(saturate, server.address, contents, seconds).result()
            rows.append(alone | _over(driven, alone, cpu_seconds=server.cpu_seconds() - before))
        report["saturated"] = {
            name: statistics.median(row[name] for row in rows) for name in rows[0]
        } | {"ratios": [round(row["ratio"], 3) for row in rows]}
        report["idle"] = bare.submit(
            idle_latencies, models, threads, server.address, turns
        ).result()
        report["overload"] = _overloaded(
            server,
            client,
            contents=contents,
            peak=report["saturated"]["service_images_per_second"],
            # Long enough for the queue to fill and for fifty batches, however slow the model is.
            seconds=max(overload_seconds, 400 / report["saturated"]["service_images_per_second"]),
        )
    return report


def _over(
    driven: dict[str, float], alone: dict[str, float], *, cpu_seconds: float
) -> dict[str, float]:
    """One round of the service, beside the bare operations of the same round."""
    service, images = driven["images_per_second"], driven["images"]
    return {
        "service_images_per_second": service,
        "ratio_to_one_loop": service / alone["one_loop_images_per_second"],
        "ratio": service / alone["bare_images_per_second"],
        "ratio_to_decode_and_encode": service / alone["decode_and_encode_images_per_second"],
        "service_cpu_ms": 1e3 * cpu_seconds / images,
        "client_cpu_ms": 1e3 * driven["client_cpu_seconds"] / images,
    }


def _overloaded(
    server: Server,
    client: concurrent.futures.Executor,
    *,
    contents: list[bytes],
    peak: float,
    seconds: float,
) -> dict[str, Any]:
    # The peak of one-image requests, which cost more each; a quarter above what is answered.
    single = client.submit(overload, server.address, contents, 1.25 * peak, seconds).result()
    samples = []
    before = server.cpu_seconds()
    running = client.submit(overload, server.address, contents, 3 * peak, seconds)
    begun = time.monotonic()
    while not running.done():
        time.sleep(0.25)
        if time.monotonic() - begun > seconds / 4:
            samples.append(server.rss_mib())
    result = running.result()
    own = single["goodput_per_second"]
    return {
        **result,
        "peak_per_second": own,
        "service_cpu_share": (server.cpu_seconds() - before) / seconds,
        "goodput_ratio": result["goodput_per_second"] / own,
        "rss_mib": samples[-1],
        "rss_growth_mib": samples[-1] - samples[0],
    }


def show(report: dict[str, Any]) -> None:
    """Prints the table."""
    table = Table(title=f"Embedder, {report['model_version']}, {report['cores']} cores", box=None)
    for column in ("what", "measured", "bare", "figure", "bar"):
        table.add_column(column)
    full, idle, over = report["saturated"], report["idle"], report["overload"]
    for what, bare, ratio in (
        ("saturated, images/s, against one loop", "one_loop", "ratio_to_one_loop"),
        ("… a loop on each core", "bare", "ratio"),
        ("… that decode and encode", "decode_and_encode", "ratio_to_decode_and_encode"),
    ):
        table.add_row(
            what,
            f"{full['service_images_per_second']:.1f}",
            f"{full[f'{bare}_images_per_second']:.1f}",
            f"{full[ratio]:.3f}",
            "" if bare == "decode_and_encode" else "≥ 0.95",
        )
    table.add_row(
        "… CPU ms an image (client's apart)",
        f"{full['service_cpu_ms']:.2f} ({full['client_cpu_ms']:.2f})",
        f"{full['encode_cpu_ms']:.2f} + {full['decode_cpu_ms']:.2f}",
        f"{full['service_cpu_ms'] / (full['encode_cpu_ms'] + full['decode_cpu_ms']):.3f}",
        "",
    )
    table.add_row(
        "idle, p50 ms",
        f"{idle['service_p50_ms']:.2f}",
        f"{idle['bare_p50_ms']:.2f}",
        f"+ {idle['overhead_p50_ms']:.2f}",
        "+ ≤ 3",
    )
    table.add_row(
        "three times overload, goodput/s",
        f"{over['goodput_per_second']:.1f}",
        f"{over['peak_per_second']:.1f}",
        f"{over['goodput_ratio']:.3f}",
        "≥ 0.95",
    )
    table.add_row(
        "… refusal p99, ms (the client's own lag)",
        f"{over['refusal_p99_ms']:.1f} ({over['client_lag_p99_ms']:.1f})",
        "",
        f"of {over['refused']}",
        "≤ 20",
    )
    growth = f"+ {over['rss_growth_mib']:.1f}"
    table.add_row("… memory, MiB", f"{over['rss_mib']:.0f}", "", growth, "flat")
    Console().print(table)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--turns", type=int, default=150)
    parser.add_argument(
        "--random", action="store_true", help="A ResNet-152 at 224 pixels with random weights."
    )
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        if arguments.random:
            arguments.models = random_version(Path(temporary))
        report = run(
            arguments.models,
            seconds=arguments.seconds,
            rounds=arguments.rounds,
            threads=arguments.threads,
            turns=arguments.turns,
        )
    show(report)
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
