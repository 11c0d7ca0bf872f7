"""A short self-supervised run by its command, judged before and after, and brought into parts.

Two runs of `python -m halftone.services.trainer.loop.train`: one of a single step, which shows
what the network is worth before training and how long everything but training takes, and one by
the clock for what is left of the time.
"""

from __future__ import annotations

import csv
import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from halftone.registry.versions import Registry

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from halftone.registry.version import ModelVersion
    from tests.gpu.report import Report
    from tests.gpu.stages import Settings

NAME: Final = "gpu"
PART_BYTES: Final = 15 * 2**20
_FIGURES: Final = {"recall_at_1": "R@1", "map": "mAP", "micro_ap": "µAP", "best_f1": "best F1"}
_WAITING: Final = 0.05
_MARGIN_SECONDS: Final = 8.0
_SHORTEST_SECONDS: Final = 10.0
# A folder that has fewer pictures gets a smaller network head and batch.
_FEW: Final = 1200


def run(report: Report, *, settings: Settings) -> int:
    """Train, evaluate, and write the version into parts where a folder for them was given."""
    # What an earlier call left would be continued.
    folder = settings.work / "training"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    data, archive = settings.data, settings.archive
    if data is None:
        report.doing("printing pictures")
        data, printed = sample(folder / "sample", tiny=settings.tiny)
        archive = archive or printed
    options = _options(data, archive=archive, folder=folder, settings=settings)
    registry = Registry(folder / "models")

    report.doing("running one step, to see what comes before and around training")
    first = _train([*options, "--work", str(folder / "before"), "--steps", "1"], settings=settings)
    if first.version is None:
        report.fail(f"the run of one step ended with {first.code}: {first.lines[-1:]}")
        return 1
    before = _figures(registry.resolve(first.version))
    report.detail("before", before)
    report.add(
        "everything but training",
        first.seconds,
        unit="s",
        note="read, initialise, evaluate, publish",
    )

    seconds = settings.left - 1.15 * first.seconds - _MARGIN_SECONDS
    shortest = 1.0 if settings.tiny else _SHORTEST_SECONDS
    if seconds < shortest:
        report.fail(f"{seconds:.0f} s are left to train in, and it takes {shortest:.0f}")
        return 1
    if settings.tiny:
        seconds = min(seconds, 2.0)
    report.doing(f"training for {seconds:.0f} s")
    limit = ["--work", str(folder / "run"), "--time-limit", f"{seconds / 60:.3f}"]
    second = _train([*options, *limit], settings=settings)
    if second.version is None:
        report.fail(f"training ended with {second.code}: {second.lines[-1:]}")
        return 1
    version = registry.resolve(second.version)
    after = _figures(version)
    report.detail("after", after)
    _tell(report, before, after, version=version, settings=settings)
    if settings.out is not None:
        report.doing("writing the parts")
        parts = pack(version, out=settings.out)
        report.detail("join", parts[0])
        report.add("version in parts", float(parts[1]), unit="files", note=parts[0])
    return 0


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A run of the command: its output and exit code, what it published, how long it took."""

    lines: Sequence[str]
    code: int
    version: str | None
    seconds: float


def _options(data: Path, *, archive: Path | None, folder: Path, settings: Settings) -> list[str]:
    with (data / "manifest.csv").open(encoding="utf-8", newline="") as lines:
        pictures = sum(1 for _ in csv.DictReader(lines))
    few = pictures < _FEW
    options = {
        "--data": str(data),
        "--models": str(folder / "models"),
        "--name": NAME,
        "--backbone": "resnet18" if settings.tiny else "resnet152",
        "--stages": "1" if settings.tiny else "4",
        "--size": "32" if settings.tiny else "224",
        "--grid": "2" if settings.tiny else "4",
        "--batch": "16" if few else "128",
        "--dimension": "16" if few else "512",
        "--validation": "8" if few else "400",
        "--background": "8" if few else "2048",
        "--report-seconds": "1" if settings.tiny else "10",
    }
    if archive is not None:
        options["--evaluate-on"] = str(archive)
    return [word for pair in options.items() for word in pair]


def _train(options: list[str], *, settings: Settings) -> Ended:
    """Run the command; its lines are passed on."""
    command = [sys.executable, "-m", "halftone.services.trainer.loop.train", *options]
    print(" ".join(command), flush=True)
    began, lines = time.monotonic(), []
    environment = _visible(settings.device)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line.rstrip())
    found = [match for line in lines if (match := re.match(r"published (\S+/\d+) ", line))]
    version = found[-1][1] if found and process.returncode == 0 else None
    return Ended(
        lines=lines, code=process.returncode, version=version, seconds=time.monotonic() - began
    )


def _visible(device: str) -> dict[str, str]:
    """The command takes the first CUDA device there is; it is shown the one that was asked for."""
    environment = dict(os.environ)
    kind, _, index = device.partition(":")
    if kind == "cpu":
        environment["CUDA_VISIBLE_DEVICES"] = ""
    elif index:
        environment["CUDA_VISIBLE_DEVICES"] = index
    return environment


def _figures(version: ModelVersion) -> dict[str, Any]:
    """What a version's metrics say: the end of its history, and the archive's figures."""
    metrics = version.metrics()
    history = metrics.get("history") or [{}]
    last = {name: value for name, value in history[-1].items() if isinstance(value, int | float)}
    archives = [found for name, found in metrics.items() if name != "history" and _judged(found)]
    return {"last": last, "archive": archives[0]["metrics"] if archives else {}}


def _judged(found: object) -> bool:
    return isinstance(found, dict) and "recall_at_1" in found.get("metrics", {})


def _tell(
    report: Report,
    before: dict[str, Any],
    after: dict[str, Any],
    *,
    version: ModelVersion,
    settings: Settings,
) -> None:
    last = after["last"]
    rate = float(last.get("images_per_second", 0.0))
    steps = f"{last.get('step', 0):.0f} steps, {last.get('epoch', 0.0):.1f} epochs"
    report.add(
        "training run", rate, unit="images/s", note=f"{steps}, loss {last.get('loss', 0.0):.3g}"
    )
    batch = version.spec()["training"]["configuration"]["batch"]
    alone = _step_rate(settings.work / "step.json", batch=batch)
    if alone:
        report.add("… over the step alone", rate / alone, note=f"batch {batch}")
    if "waiting" in last:
        most = None if settings.tiny else _WAITING
        report.add("… share of time waiting for data", last["waiting"], at_most=most)
    copies = "copy_recall_at_1"
    if copies in last:
        beside = f"{before['last'].get(copies, 0.0):.3f} before"
        report.add("held-out printings found, R@1", last[copies], note=beside)
    for name, label in _FIGURES.items():
        if name in after["archive"]:
            value, earlier = after["archive"][name], before["archive"].get(name, 0.0)
            report.add(f"archive, {label}", float(value), note=f"{earlier:.3f} before")


def _step_rate(file: Path, *, batch: int) -> float:
    """What the stage `step` measured for this batch; 0 where it did not run."""
    try:
        return float(json.loads(file.read_text())["details"][f"batch {batch}"]["images_per_second"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0


def pack(version: ModelVersion, *, out: Path, part_bytes: int = PART_BYTES) -> tuple[str, int]:
    """Write a version into parts of at most `part_bytes`, for a machine that lets little out.

    Returns:
        The command that joins them and unpacks the version into `models/`, and their number.
    """
    out.mkdir(parents=True, exist_ok=True)
    for old in out.glob(f"{version.name}-*.part-*"):
        old.unlink()
    stem = f"{version.name}-{version.version}.tar"
    whole = out / stem
    # Weights do not get smaller by compression.
    with tarfile.open(whole, "w") as archive:
        archive.add(version.directory, arcname=f"{version.name}/{version.version}")
    digest, number = hashlib.sha256(), 0
    with whole.open("rb") as content:
        while block := content.read(part_bytes):
            (out / f"{stem}.part-{number:03d}").write_bytes(block)
            digest.update(block)
            number += 1
    whole.unlink()
    command = f"cat {stem}.part-* | tar -x -C models"
    facts = f"{digest.hexdigest()}  {stem}\n"
    (out / f"{stem}.sha256").write_text(facts)
    return command, number


def sample(folder: Path, *, tiny: bool) -> tuple[Path, Path]:
    """Pictures printed from photographs that scikit-image carries: to train on, and to judge by.

    Each photograph's printings are all in one of the two.
    """
    from halftone.archive import sample as sample_archive  # noqa: PLC0415  # only where no data was given
    from halftone.vision.reprinting import reprint  # noqa: PLC0415

    whole = folder / "whole"
    press = functools.partial(reprint, side=160 if tiny else 480)
    sample_archive.make(whole, reprint=press)
    with (whole / "manifest.csv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    shown = list(dict.fromkeys(row[sample_archive.PHOTOGRAPH] for row in rows))
    printings = {
        name: [row for row in rows if row[sample_archive.PHOTOGRAPH] == name] for name in shown
    }
    repeated = [name for name in shown if len(printings[name]) > 1]
    judged = set(repeated[::3])
    parts = {
        "train": [row for row in rows if row[sample_archive.PHOTOGRAPH] not in judged],
        "judge": [row for row in rows if row[sample_archive.PHOTOGRAPH] in judged],
    }
    for name, chosen in parts.items():
        (folder / name).mkdir()
        (folder / name / "images").symlink_to(whole / "images")
        with (folder / name / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(chosen)
    groups = [
        {
            "group": name,
            "members": [row["image_id"] for row in printings[name]],
            "composite": False,
            "links": [],
        }
        for name in sorted(judged)
    ]
    (folder / "judge" / "groups.json").write_text(json.dumps(groups))
    return folder / "train", folder / "judge"
