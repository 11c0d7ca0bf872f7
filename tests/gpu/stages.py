"""One stage, in a process of its own: `python tests/gpu/stages.py NAME …`."""

from __future__ import annotations

import argparse
import importlib
import sys
import time
import types
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if not __package__:
    # As in __main__.py.
    sys.path[0] = str(ROOT)
    sys.modules["tests"] = types.ModuleType("tests")
    sys.modules["tests"].__path__ = [str(ROOT / "tests")]

from tests.gpu.packages import ENTRIES, NEEDS  # noqa: E402  # the path is set above
from tests.gpu.report import Report  # noqa: E402  # the path is set above


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a stage is given.

    Attributes:
        device: For torch.
        tiny: Whether sizes are those of a machine without a GPU.
        ends: Of its time, by the monotonic clock; it is killed then.
        work: Scratch, and what earlier stages left.
        data: Folder to train on.
        archive: Labelled archive to evaluate on.
        out: Gets the trained version.
    """

    device: str
    tiny: bool
    ends: float
    work: Path
    data: Path | None = None
    archive: Path | None = None
    out: Path | None = None

    @property
    def left(self) -> float:
        """Seconds until the end."""
        return self.ends - time.monotonic()


def main() -> int:
    """The command."""
    started = time.monotonic()
    parser = argparse.ArgumentParser()
    parser.add_argument("stage", choices=tuple(NEEDS))
    parser.add_argument("--file", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--tiny", action="store_true")
    for name in ("--work", "--data", "--archive", "--out"):
        parser.add_argument(name, type=Path)
    options = parser.parse_args()
    settings = Settings(
        device=options.device,
        tiny=options.tiny,
        ends=started + options.seconds,
        work=options.work,
        data=options.data,
        archive=options.archive,
        out=options.out,
    )
    report = Report(options.file)
    report.doing("importing")
    try:
        for entry in ENTRIES[options.stage]:
            importlib.import_module(entry)
    except Exception as error:  # noqa: BLE001  # generated code refuses older packages in its way
        report.skip(f"{type(error).__name__}: {error}")
        return 0
    name = {"compile": "network", "tests": "testing"}.get(options.stage, options.stage)
    module = importlib.import_module(f"tests.gpu.{name}")
    run = module.run_compiled if options.stage == "compile" else module.run
    return int(run(report, settings=settings) or 0)


if __name__ == "__main__":
    sys.exit(main())
