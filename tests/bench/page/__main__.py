"""The page before a whole stack: `python -m tests.bench.page --archive PATH [--only NAME …]`.

Parts: `drop` (from the drop of a picture to the first result), `weights` (bytes of every page),
`crowd` (50 users search for two minutes), `attack` (500 hostile uploads and texts). `--data` keeps
the imported archive for the next run.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from halftone.archive import manifests
from halftone.client import Client
from halftone.stack import local
from tests.bench.page import attack, crowd, drop
from tests.support.client import chromium

if TYPE_CHECKING:
    from collections.abc import Iterator

ALL = ("drop", "weights", "crowd", "attack")


@contextlib.contextmanager
def running(data: Path, *, archive: Path) -> Iterator[tuple[local.LocalStack, str]]:
    """Yield a stack with a page and an archive that has been imported and grouped."""
    ports = local.Ports.any_free()
    with local.LocalStack(data, ports=ports, report=print, with_page=True) as stack:
        with Client(stack.addresses.search, embedder=stack.addresses.embedder) as client:
            rows = list(manifests.read_manifest(archive, archive="bench"))
            if client.facets().total < len(rows):
                client.import_images(rows)
                client.build_clusters()
                while not next(iter(client.cluster_jobs(page_size=1))).state.is_over:
                    pass
        yield stack, f"http://{stack.addresses.page}"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--archive", type=Path, required=True, help="a folder with a manifest")
    parser.add_argument("--data", type=Path, help="where the stack keeps everything")
    parser.add_argument("--json", type=Path, default=Path("build/bench-page.json"))
    parser.add_argument("--only", nargs="+", choices=ALL, default=ALL)
    parser.add_argument("--drops", type=int, default=20)
    parser.add_argument("--users", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--hostile", type=int, default=500)
    arguments = parser.parse_args()
    results: dict[str, Any] = {"load": os.getloadavg()[0], "cores": os.cpu_count()}
    with contextlib.ExitStack() as opened:
        data = arguments.data or Path(opened.enter_context(tempfile.TemporaryDirectory()))
        stack, page = opened.enter_context(running(data / "stack", archive=arguments.archive))
        search, process = stack.addresses.search, stack.processes["web"]
        pictures = drop.make_pictures(arguments.archive, count=200)
        if "drop" in arguments.only:
            with chromium.started() as browser:
                results["drop"] = drop.measure(
                    browser, page, search=search, pictures=pictures[: arguments.drops]
                )
            drop.show(results["drop"])
        if "weights" in arguments.only:
            results["weights"] = drop.weigh(page, picture=pictures[0])
            drop.show_weights(results["weights"])
        if "crowd" in arguments.only:
            results["crowd"] = crowd.run(
                page,
                process=process,
                pictures=pictures,
                users=arguments.users,
                seconds=arguments.seconds,
            )
            crowd.show(results["crowd"])
        if "attack" in arguments.only:
            with chromium.started() as browser:
                results["attack"] = attack.run(
                    browser, page, search=search, process=process, count=arguments.hostile
                )
            attack.show(results["attack"])
        results["load_after"] = os.getloadavg()[0]
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(results, indent=2) + "\n")
    print(f"Load {results['load']:.1f} to {results['load_after']:.1f}. Wrote {arguments.json}.")


if __name__ == "__main__":
    main()
