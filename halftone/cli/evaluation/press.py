"""`halftone eval --press`: prints pictures anew in known ways, and searches for them.

The options that `--press` shares with `--furniture` are read here, too.
"""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

import halftone
from halftone.cli import output, tables
from halftone.cli.numbers import Whole
from halftone.cli.options import combine
from halftone.cli.terminal import progress
from halftone.core import files

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from halftone.registry.version import ModelVersion
    from halftone.vision.descriptor_model import DescriptorModel

# 1,980 queries: 17 minutes of one core on a thousand pictures, about nine on two.
SOURCES: Final = 30
# 2,550 pairs.
PAIRS: Final = 10


@dataclass(frozen=True, kw_only=True)
class PressOptions:
    """The options of `--press`.

    Attributes:
        folder: The folder of the pictures.
        distractors: Further folders of pictures to search among.
        sources: The number of pictures that are printed.
        only: Names of transformations; () stands for all.
        strengths: Strengths from 1 to 5; () stands for all.
        cache: The folder in which fingerprints are kept.
    """

    folder: Path
    distractors: tuple[Path, ...]
    sources: int
    only: tuple[str, ...]
    strengths: tuple[int, ...]
    cache: Path | None


@dataclass(frozen=True, kw_only=True)
class FurnitureOptions:
    """The options of `--furniture`.

    Attributes:
        folder: The folder of the pictures.
        sources: The number of pairs of each kind, case and strength.
        only: Names of kinds and of cases; () stands for all.
        strengths: Strengths from 1 to 5; () stands for all.
    """

    folder: Path
    sources: int
    only: tuple[str, ...]
    strengths: tuple[int, ...]


def _split_names(context: click.Context, parameter: click.Parameter, value: str) -> tuple[str, ...]:
    del context, parameter
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _split_numbers(
    context: click.Context, parameter: click.Parameter, value: str
) -> tuple[int, ...]:
    names = _split_names(context, parameter, value)
    if not all(name.isdecimal() for name in names):
        raise click.BadParameter("Give numbers from 1, with commas between them.")
    return tuple(int(name) for name in names)


_MEANINGS: Final = {
    "R@1": "the share of the printed pictures whose original stood in first place",
    "µAP": "whether one threshold would do for all queries: 1 if no false hit stands before a true "
    "one in a list of all their hits",
    "called": "the share of the originals that were called the same picture",
    "false pos.": "the share of queries without an original for which something was called so",
    "corner error": "how far the part that was found lies from where it is, on average, as a share "
    "of the picture's longer side",
}
_FOLDER: Final = click.Path(exists=True, file_okay=False, path_type=Path)
_OPTIONS: Final = combine(
    click.option(
        "--press",
        "folder_",
        type=_FOLDER,
        metavar="DIR",
        help="Instead of --archive: print pictures of this folder anew in many ways (screens, "
        "crops, turns, pages …), and search for them among the rest.",
    ),
    click.option(
        "--furniture",
        "furnished_",
        type=_FOLDER,
        metavar="DIR",
        help="Instead of --archive: lay pictures of this folder into frames, covers, forms, plates "
        "…, and see whether different pictures in the same furniture are told apart, and the same "
        "ones recognised.",
    ),
    click.option(
        "--distractors",
        multiple=True,
        type=_FOLDER,
        metavar="DIR",
        help="With --press: more pictures to search among; repeat for more folders.",
    ),
    click.option(
        "--sources",
        type=Whole(2),
        help="With --press: how many pictures are printed; three in ten are not searched among.  "
        f"[default: {SOURCES}]  With --furniture: how many pairs of each kind, case and strength.  "
        f"[default: {PAIRS}]",
    ),
    click.option(
        "--only",
        default="",
        callback=_split_names,
        metavar="NAME,…",
        help="With --press: these transformations, such as crop,halftone. With --furniture: these "
        "kinds and cases, such as frame,masthead,different.",
    ),
    click.option(
        "--strengths",
        default="",
        callback=_split_numbers,
        metavar="1,…",
        help="With --press or --furniture: these strengths, from 1 to 5.",
    ),
    click.option(
        "--cache",
        type=click.Path(file_okay=False, path_type=Path),
        help="With --press: keep the folder's features, hashes and descriptors here.",
    ),
)
_SHARED: Final = ("sources", "only", "strengths")
_NAMES: Final = ("distractors", *_SHARED, "cache")


def press_options(command: Callable[..., None]) -> Callable[..., Any]:
    """Add the options of `--press` and of `--furniture`.

    The command gets them as `press` and `furniture`, each None without it.
    """

    @functools.wraps(command)
    def run_with_press(*, folder_: Path | None, furnished_: Path | None, **arguments: Any) -> None:
        values = {name: arguments.pop(name) for name in _NAMES}
        if folder_ is not None and furnished_ is not None:
            raise click.UsageError(
                "Give one of --press and --furniture: each is a benchmark of its own."
            )
        _refuse_strays(with_press=folder_ is not None, with_furniture=furnished_ is not None)
        sources = values.pop("sources")
        press, furniture = None, None
        if folder_ is not None:
            press = PressOptions(folder=folder_, sources=sources or SOURCES, **values)
        elif furnished_ is not None:
            furniture = FurnitureOptions(
                folder=furnished_,
                sources=sources or PAIRS,
                only=values["only"],
                strengths=values["strengths"],
            )
        command(press=press, furniture=furniture, **arguments)

    return _OPTIONS(run_with_press)


def _refuse_strays(*, with_press: bool, with_furniture: bool) -> None:
    """Refuse options of a benchmark that is not run."""
    context = click.get_current_context()
    for name in _NAMES:
        shared = name in _SHARED
        source = context.get_parameter_source(name)
        if with_press or (with_furniture and shared):
            continue
        if source is click.core.ParameterSource.DEFAULT:
            continue
        owners = "--press or --furniture" if shared else "--press"
        raise click.UsageError(f"--{name} belongs to {owners}.")


def evaluate_press(
    press: PressOptions,
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
        press: The options of `--press`.
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
    from halftone.evaluation.press import benchmark as press_benchmark  # noqa: PLC0415
    from halftone.evaluation.press import gallery  # noqa: PLC0415
    from halftone.evaluation.press.report import summarise, write_report  # noqa: PLC0415
    from halftone.vision.descriptor_model import list_runtimes  # noqa: PLC0415

    conditions = press_benchmark.conditions_of(press.only, strengths=press.strengths)
    pictures = gallery.read_collection(
        press.folder, distractors=press.distractors, groups=groups, limit=limit
    )
    plan = press_benchmark.plan_of(
        pictures, sources=press.sources, conditions=conditions, seed=seed
    )
    drawn = len(plan.positives) + len(plan.others)
    if drawn < press.sources:
        output.make_notes().print(
            f"Only {drawn} pictures are printed: the gallery holds {len(plan.gallery):,}, and each "
            f"that is searched for has {press_benchmark.DISTRACTORS} others beside it."
        )
    hashes = {
        version.id: files.sha256(version.directory / "model.safetensors") for version in versions
    }
    loaded = [
        press_benchmark.Version(name=one.id, model=load(one), weights=hashes[one.id])
        for one in versions
    ]
    begun = time.monotonic()
    with progress.Counter() as counter:
        benchmark = press_benchmark.run(
            plan,
            versions=loaded,
            cache=press.cache,
            note=lambda text, total: counter.add(text, total=total),
        )
    summary = summarise(benchmark)
    settings = {
        "command": command,
        "weights (sha-256)": hashes,
        "pictures": f"{pictures.name}, {len(pictures.paths):,} with distractors",
        "pictures (sha-256)": pictures.digest,
        "seed": seed,
        "seconds": round(time.monotonic() - begun),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "halftone": halftone.__version__,
        **list_runtimes(),
        "opencv": metadata.version("opencv-python-headless"),
    }
    if report is not None:
        output.make_folder(report)
        write_report(report, benchmark=benchmark, summary=summary, settings=settings)
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
    """Print R@1 of every system by strength, and more figures of the last one, the whole search."""
    systems = summary["systems"]
    judged = list(systems)[-1]
    console = output.make_console()
    console.print(
        f"{name}: {summary['searched_for']:,} pictures searched for among "
        f"{summary['gallery']:,}, {summary['without_match']:,} that are not among them; "
        f"{summary['queries']:,} queries"
    )
    more = {"micro_ap": "µAP", "called": "called", "false_positives": "false pos."}
    titles = (*systems, *more.values(), "corner error")
    rows: list[list[str]] = []
    styles: list[str] = []
    for transformation in systems[judged]["transformations"]:
        rows.append([transformation, *[""] * len(titles)])
        styles.append("bold")
        entries = {
            system: entry["transformations"][transformation]["strengths"]
            for system, entry in systems.items()
        }
        for label, figures in entries[judged].items():
            recalls = [entry[label]["recall_at_1"] for entry in entries.values()]
            rows.append([f"  {label}", *_format_figures(recalls, figures, more=more)])
            styles.append("")
    recalls = [entry["all"]["recall_at_1"] for entry in systems.values()]
    rows.append(["everything", *_format_figures(recalls, systems[judged]["all"], more=more)])
    styles.append("bold")
    columns = [
        tables.Column(title="R@1"),
        *(tables.Column(title=title, right=True) for title in titles),
    ]
    tables.print_table(console, tables.Layout(columns=columns, rows=rows, styles=styles))
    console.print(f"The columns on the right are those of {judged}.\n", soft_wrap=True)
    tables.print_facts(console, _MEANINGS.items())


def _format_figures(
    recalls: Sequence[float | None], figures: Mapping[str, Any], *, more: Mapping[str, str]
) -> list[str]:
    """Return the cells of a row: R@1 of each system, then more figures of the last one."""
    return [
        *map(output.format_number, recalls),
        *(output.format_number(figures[name]) for name in more),
        _format_share(figures["corner_error_mean"]),
    ]


def _format_share(value: float | None) -> str:
    return "" if value is None else f"{value:.2%}"
