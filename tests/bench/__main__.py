"""All benchmarks: `python -m tests.bench [--archive PATH] [--json FILE] [--only NAME …]`.

With a labelled archive (a manifest and `groups.json`) the answers are scored as well; without one
the sample archive serves where pictures are needed. Each module runs alone, too.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path
from typing import Any

from tests.bench import archive, embedder, search, verification

ALL = ("embedder", "search", "archive", "verification")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--archive", type=Path, help="a labelled archive")
    parser.add_argument("--json", type=Path, default=Path("build/bench.json"))
    parser.add_argument("--only", nargs="+", choices=ALL)
    arguments = parser.parse_args()
    wanted = arguments.only or ALL
    results: dict[str, Any] = {"date": time.strftime("%Y-%m-%d"), "machine": platform.platform()}
    if "embedder" in wanted:
        results["embedder"] = embedder.run()
        embedder.show(results["embedder"])
    if "search" in wanted:
        results["search"] = search.run(archive=arguments.archive)
        print(search.table(results["search"]))
    if "archive" in wanted and arguments.archive is not None:
        results["archive"] = archive.run(folder=arguments.archive)
        archive.show(results["archive"])
    if "verification" in wanted and arguments.archive is not None:
        results["verification"] = verification.run(folder=arguments.archive)
        print(verification.table(results["verification"]))
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(results, indent=2) + "\n")
    print(f"Wrote {arguments.json}.")


if __name__ == "__main__":
    main()
