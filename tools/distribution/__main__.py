"""Build the sdist and the wheel, check them, and try the wheel in an empty environment.

    python -m tools.distribution [--out build/dist] [--extras local,demo] [--no-install]

The environment lies in a temporary directory and gets its packages from the package index. With
--no-install only the distributions are read.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tools.distribution import trying
from tools.distribution.building import ROOT, build, copy_sources
from tools.distribution.checking import find_problems


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "dist")
    parser.add_argument("--extras", default="local,demo", help="what is installed of it")
    parser.add_argument("--no-install", action="store_true", help="only build and read")
    arguments = parser.parse_args()
    shutil.rmtree(arguments.out, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="halftone-dist-") as folder:
        sources = Path(folder) / "sources"
        copy_sources(sources)
        workplace = Path(folder) / "build"
        shutil.copytree(sources, workplace, symlinks=True)
        built = build(workplace, out=arguments.out)
        if problems := find_problems(built, sources=sources):
            sys.exit("\n".join(problems))
        for path in (built.sdist, built.wheel):
            print(f"{path}  {path.stat().st_size / 1e6:.1f} MB")
        if arguments.no_install:
            return
        client = _install(built.wheel, extras="", home=Path(folder) / "client")
        environment = _install(built.wheel, extras=arguments.extras, home=Path(folder) / "stack")
        trying.use(environment, client=client)
        print("up works, and import, search and models by the client alone.")
        if "demo" in arguments.extras.split(","):
            trying.show_demo(environment)
            print("demo works.")


def _install(wheel: Path, *, extras: str, home: Path) -> trying.Environment:
    started = time.monotonic()
    environment = trying.install(wheel, extras=extras, home=home)
    seconds = time.monotonic() - started
    files = (path for path in environment.directory.rglob("*") if not path.is_symlink())
    size = sum(path.stat().st_size for path in files)
    print(f"Installed [{extras}]: {size / 1e6:.0f} MB in {seconds:.0f} s.")
    return environment


if __name__ == "__main__":
    main()
