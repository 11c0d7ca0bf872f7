"""All that needs a GPU, in one command: `make gpu`, or `python tests/gpu/__main__.py`.

Runs the GPU tests, the benchmarks and a short training run, each in a process of its own and within
its share of `--minutes`; prints one table and writes one JSON file. `--device cpu --tiny` goes
through all of it without a GPU.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import time
import types
from pathlib import Path
from typing import Any, Final

ROOT = Path(__file__).resolve().parents[2]
if not __package__:
    # Started as a file, also where the interpreter has a package `tests` of its own.
    sys.path[0] = str(ROOT)
    sys.modules["tests"] = types.ModuleType("tests")
    sys.modules["tests"].__path__ = [str(ROOT / "tests")]

from tests.gpu import packages, report, runner  # noqa: E402  # the path is set above

STAGES: Final = (
    runner.Stage(name="tests", weight=110, least=10),
    runner.Stage(name="network", weight=70, least=10),
    runner.Stage(name="embedder", weight=140, least=15),
    runner.Stage(name="step", weight=60, least=10),
    runner.Stage(name="compile", weight=100, least=10),
    runner.Stage(name="training", weight=140, least=20),
)
NAMES: Final = tuple(stage.name for stage in STAGES)
_PROBE_SECONDS: Final = 90.0
_INSTALL_SECONDS: Final = 90.0


def main(arguments: list[str] | None = None) -> int:
    """The command. 0: all that ran ended well; 1: something did not; 2: there is no device."""
    options = _parse(arguments)
    ends = time.monotonic() + 60 * options.minutes
    chosen = [
        stage for stage in STAGES if stage.name in options.only and stage.name not in options.skip
    ]
    folder: Path = options.work.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    added = folder / "packages"
    sys.path.append(str(added))
    environment = _environment(folder, added=added)
    hardware = _probe(environment)
    if options.device.startswith("cuda") and not hardware.get("device"):
        print(_no_device(hardware), file=sys.stderr)
        return 2
    unusable = _provide(chosen, options=options, folder=added)
    outcomes = []
    while chosen:
        stage = chosen[0]
        seconds = runner.share(stage, left=chosen, seconds=ends - time.monotonic())
        chosen = chosen[1:]
        if reason := unusable.get(stage.name, ""):
            outcome = runner.Outcome(name=stage.name, status="skipped", reason=reason)
        else:
            print(f"{stage.name}: up to {seconds:.0f} s", flush=True)
            outcome = runner.run_stage(
                stage,
                command=_command(stage.name, options=options),
                environment=environment,
                folder=folder,
                seconds=seconds,
            )
        _tell(outcome)
        outcomes.append(outcome)
        # After each stage, so that what was measured is kept whatever comes next.
        result = report.to_dict(outcomes, hardware=hardware) | {"options": _shown(options)}
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    print(f"\n{report.table(outcomes, hardware=hardware)}\n\nWrote {options.json}.")
    return int(any(outcome.status in ("failed", "timed out") for outcome in outcomes))


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make gpu", description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="for everything (10)")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, metavar="STAGE")
    parser.add_argument("--skip", nargs="+", choices=NAMES, default=(), metavar="STAGE")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1 or cpu (cuda)")
    parser.add_argument("--tiny", action="store_true", help="sizes for a machine without a GPU")
    parser.add_argument("--data", type=Path, help="folder with manifest.csv to train on")
    parser.add_argument("--archive", type=Path, help="labelled archive to evaluate on")
    parser.add_argument("--out", type=Path, help="folder for the trained version, in parts")
    parser.add_argument("--json", type=Path, default=Path("build/gpu.json"))
    parser.add_argument("--work", type=Path, default=Path("build/gpu"), help="logs and scratch")
    parser.add_argument("--no-install", action="store_true", help="install no missing package")
    options = parser.parse_args(arguments)
    for name in ("data", "archive"):
        path = getattr(options, name)
        if path is not None and not (path / "manifest.csv").is_file():
            parser.error(f"--{name}: there is no manifest.csv in {path}")
    if options.minutes <= 0:
        parser.error("--minutes must be positive")
    return options


def _shown(options: argparse.Namespace) -> dict[str, Any]:
    names = ("minutes", "device", "tiny", "data", "archive")
    return {
        name: value
        if isinstance(value := getattr(options, name), bool | float) or value is None
        else str(value)
        for name in names
    }


def _environment(folder: Path, *, added: Path) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((str(ROOT), str(added))),
        "PYTHONUNBUFFERED": "1",
        # What is compiled stays with the other scratch files.
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"),
        "TRITON_CACHE_DIR": str(folder / "triton"),
        # As the embedder sets it for itself.
        "OMP_WAIT_POLICY": "passive",
    }


def _command(stage: str, *, options: argparse.Namespace) -> list[str]:
    command = [
        *(sys.executable, str(Path(__file__).with_name("stages.py")), stage),
        *("--device", options.device),
        *("--work", str(options.work.resolve())),
    ]
    if options.tiny:
        command.append("--tiny")
    for name in ("data", "archive", "out"):
        path = getattr(options, name)
        if path is not None:
            command += [f"--{name}", str(path.resolve())]
    return command


def _probe(environment: dict[str, str]) -> dict[str, Any]:
    """What this machine is. In another process, so that none of the GPU's memory is held here."""
    try:
        finished = subprocess.run(  # our own file
            [sys.executable, str(Path(__file__).with_name("hardware.py"))],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=_PROBE_SECONDS,
        )
        found: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
    except (subprocess.TimeoutExpired, ValueError, IndexError):
        return {"torch": None, "date": time.strftime("%Y-%m-%d %H:%M")}
    return found


def _no_device(hardware: dict[str, Any]) -> str:
    if hardware.get("torch") is None:
        return f"{sys.executable} has no torch that works; name one that has: make gpu PYTHON=…"
    return (
        f"torch {hardware['torch']} of {sys.executable} finds no CUDA device. "
        "Without one: make gpu ARGS='--device cpu --tiny'"
    )


def _provide(
    chosen: list[runner.Stage], *, options: argparse.Namespace, folder: Path
) -> dict[str, str]:
    """Get the packages that are missing; by stage, why it cannot run."""
    constraints = ROOT / "constraints.txt"
    names = [stage.name for stage in chosen]
    lacking = packages.missing(names)
    if not lacking:
        return {}
    line = packages.shown(lacking, folder=folder, constraints=constraints)
    print(f"Missing: {', '.join(lacking)}. To install them beside what is there:\n  {line}")
    if not options.no_install:
        problem = packages.install(
            lacking, folder=folder, constraints=constraints, seconds=_INSTALL_SECONDS
        )
        print(f"That did not work: {problem}" if problem else "Installed.", flush=True)
        importlib.invalidate_caches()
        # A namespace that several distributions share remembers where it was found.
        sys.modules.pop("google", None)
    return {
        name: f"missing: {', '.join(still)}"
        for name in names
        if (still := packages.missing([name]))
    }


def _tell(outcome: runner.Outcome) -> None:
    print(
        f"{outcome.name}: {outcome.status} in {outcome.seconds:.0f} s  {outcome.reason}", flush=True
    )
    for line in outcome.tail:
        print(f"  | {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
