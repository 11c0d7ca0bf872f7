"""`halftone eval --furniture`: lays pictures into furniture, and compares sheets that share it."""

from __future__ import annotations

import time
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final

import click

import halftone
from halftone.cli import output, tables
from halftone.cli.terminal import progress
from halftone.core import files

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from halftone.cli.evaluation.press import FurnitureOptions
    from halftone.registry.version import ModelVersion
    from halftone.vision.descriptor_model import DescriptorModel

_MEANINGS: Final = {
    "1 … 5": "the share of the pairs of this strength that are called the same, at a probability "
    "of 0.9; the furniture takes more of the sheet as the strength grows",
    "bar": "the share that may be called so at most (different pictures), or has to be at least "
    "(the same picture)",
    "AUC": "whether one threshold would separate the same from the different pictures of a kind: 1 "
    "if none of the different ones is more probable than any of the same",
}


def evaluate_furniture(
    options: FurnitureOptions,
    *,
    versions: Sequence[ModelVersion],
    load: Callable[[ModelVersion], DescriptorModel],
    groups: Path | None,
    report: Path | None,
    limit: int | None,
    seed: int,
    as_json: bool,
    command: str,
) -> None:
    """Run the benchmark, print its figures, write its report.

    Args:
        options: The options of `--furniture`.
        versions: The model versions to judge.
        load: Loads the model of a version.
        groups: A file of groups, as in `labelled.read_labelled`. None: the folder's own file, if
            it has one.
        report: The folder of the report; None: no report is written.
        limit: The most pictures of the folder, evenly spaced; None: all.
        seed: The seed of the draws.
        as_json: Whether to print the figures as JSON.
        command: The command line, which is written into the settings of the report.
    """
    # Imported here because it needs the trainer's packages.
    from halftone.evaluation.furniture import benchmark  # noqa: PLC0415
    from halftone.evaluation.furniture.report import summarise, write_report  # noqa: PLC0415
    from halftone.evaluation.press import gallery  # noqa: PLC0415
    from halftone.evaluation.press.benchmark import Version  # noqa: PLC0415
    from halftone.vision.descriptor_model import list_runtimes  # noqa: PLC0415

    conditions = benchmark.conditions_of(options.only, strengths=options.strengths)
    pictures = gallery.read_collection(options.folder, groups=groups, limit=limit)
    plan = benchmark.plan_of(pictures, sources=options.sources, conditions=conditions, seed=seed)
    hashes = {
        version.id: files.sha256(version.directory / "model.safetensors") for version in versions
    }
    loaded = [Version(name=one.id, model=load(one), weights=hashes[one.id]) for one in versions]
    begun = time.monotonic()
    with progress.Counter() as counter:
        advance = counter.add("pairs of sheets", total=plan.pairs)
        outcomes = benchmark.run(plan, versions=loaded, progress=advance)
    summary = summarise(plan, outcomes=outcomes)
    settings = {
        "command": command,
        "weights (sha-256)": hashes,
        "pictures": f"{pictures.name}, {len(pictures.paths):,}",
        "pictures (sha-256)": pictures.digest,
        "seed": seed,
        "seconds": round(time.monotonic() - begun),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "halftone": halftone.__version__,
        **list_runtimes(),
        "opencv": metadata.version("opencv-python-headless"),
        "pillow": metadata.version("pillow"),
        "matplotlib": metadata.version("matplotlib"),
    }
    if report is not None:
        output.make_folder(report)
        write_report(report, plan=plan, outcomes=outcomes, summary=summary, settings=settings)
        files.replace_file(
            report / "figures.json", files.to_json({"settings": settings, **summary})
        )
    if as_json:
        left_out = [list(entry) for entry in pictures.left_out]
        output.print_json({**settings, "left_out": left_out, **summary})
    else:
        _print(summary, name=pictures.name)
    if report is not None:
        output.make_notes().print(f"Wrote {report / 'index.html'}.")


def _print(summary: Mapping[str, Any], *, name: str) -> None:
    """Print the share that is called the same by kind, case and strength, and the verdicts."""
    console = output.make_console()
    console.print(
        f"{name}: {summary['pairs']:,} pairs of sheets, {summary['pairs_a_condition']:,} of each "
        f"kind, case and strength, from {summary['different_pictures']:,} pictures"
    )
    for version, entry in summary["versions"].items():
        strengths = sorted(
            {
                strength
                for kind in entry["kinds"].values()
                for case in kind["cases"].values()
                for strength in case["strengths"]
            }
        )
        rows: list[list[str]] = []
        styles: list[str] = []
        for kind, found in entry["kinds"].items():
            area = found["roc"]["auc"]
            empty = [""] * (len(strengths) + 4)
            rows.append([kind, *empty, "" if area is None else f"AUC {area:.3f}"])
            styles.append("bold")
            for case, judged in found["cases"].items():
                rows.append([f"  {case}", *_format_case(judged, strengths=strengths)])
                styles.append("" if judged["passes"] else "red")
        titles = (*strengths, "all", "95 %", "pairs", "bar", "")
        columns = [
            tables.Column(title=version),
            *(tables.Column(title=title, right=True) for title in titles),
        ]
        tables.print_table(console, tables.Layout(columns=columns, rows=rows, styles=styles))
        console.print(
            f"{version}: {entry['bars_kept']} of {entry['bars']} bars are kept.\n", soft_wrap=True
        )
    tables.print_facts(console, _MEANINGS.items())


def _format_case(judged: Mapping[str, Any], *, strengths: Sequence[str]) -> list[str]:
    """Return the cells of a row: the share at each strength, of all, its interval, the verdict."""
    found, total = judged["strengths"], judged["all"]
    low, high = total["interval"]
    return [
        *(f"{found[one]['share']:.2f}" if one in found else "" for one in strengths),
        f"{total['share']:.3f}",
        f"{low:.3f}-{high:.3f}",
        f"{total['pairs']:,}",
        f"{'≥' if judged['same'] else '≤'} {judged['bar']:.2f}",
        "kept" if judged["passes"] else "missed",
    ]


def refuse_mixture(
    furniture: FurnitureOptions | None, *, others: Mapping[str, object | None]
) -> None:
    """Refuse options that do not go with `--furniture`.

    Args:
        furniture: The options of `--furniture`; None without it.
        others: The values of other options by their names; None or False where they are not given.

    Raises:
        click.UsageError: There is such an option.
    """
    given = [f"--{name}" for name, value in others.items() if value not in (None, False)]
    if furniture is not None and given:
        raise click.UsageError(
            f"{given[0]} does not go with --furniture, which lays pictures of its own folder into "
            "furniture and judges how pairs are compared."
        )
