"""Writes the results of the press benchmark, as JSON and as a page with pictures."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from halftone.evaluation.press import plots
from halftone.evaluation.press.benchmark import DISTRACTORS, WITHOUT_MATCH
from halftone.evaluation.press.figures import FIGURES
from halftone.evaluation.press.systems import DEPTH
from halftone.evaluation.press.transforms import TRANSFORMATIONS
from halftone.evaluation.report import pictures as report_pictures
from halftone.evaluation.report.model_report import settings_section
from halftone.evaluation.report.page import Cell, ReportPicture, Section, Table, write_page
from halftone.evaluation.report.pictures import Tile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from halftone.evaluation.press.benchmark import Benchmark
    from halftone.evaluation.press.figures import Outcome

_FAILURES: Final = 6
_LISTED: Final = 200
_QUERY_SIDE: Final = 400
_ALL: Final = "all"
RULES: Final = (
    f"{WITHOUT_MATCH:.0%} of the queries are of pictures that are not in the gallery. R@1 and R@10 "
    "are over the others; µAP and R@P90 over all pairs of a query and one of its first "
    f"{DEPTH} candidates, so what is found for a query without a match counts against them. "
    "“Called the same” is the share of matches that score at or above the system's threshold; "
    "“false positives” the share of queries without a match for which anything does. A search's "
    "threshold is a probability of 0.9; the others', which have none, the lowest score at which "
    "nine in ten of all pairs of this benchmark are right. Ties are broken against the match. "
    "Every system sees the query in eight orientations."
)


def summarise(benchmark: Benchmark) -> dict[str, Any]:
    """Return all figures, JSON-ready, by system, transformation and strength; and the failures."""
    plan = benchmark.plan
    names = list(dict.fromkeys(name for name, _ in plan.conditions))
    systems: dict[str, Any] = {}
    for system in benchmark.outcomes:
        entry: dict[str, Any] = {
            "threshold": _finite(benchmark.thresholds[system]),
            _ALL: benchmark.figures(system),
            "transformations": {},
        }
        for name in names:
            strengths = [strength for other, strength in plan.conditions if other == name]
            entry["transformations"][name] = {
                _ALL: benchmark.figures(system, transformation=name),
                "strengths": {
                    _label(name, strength): benchmark.figures(
                        system, transformation=name, strength=strength
                    )
                    for strength in strengths
                },
            }
        entry["failures"] = [
            _describe_outcome(benchmark, system=system, outcome=one)
            for name in names
            for one in failures(benchmark, system=system, transformation=name)[:_LISTED]
        ]
        systems[system] = entry
    return {
        "pictures": len(plan.pictures.paths),
        "gallery": len(plan.gallery),
        "searched_for": len(plan.positives),
        "without_match": len(plan.others),
        "distractors_per_positive": (len(plan.gallery) - len(plan.positives))
        / max(len(plan.positives), 1),
        "queries": plan.queries,
        "systems": systems,
    }


def failures(benchmark: Benchmark, *, system: str, transformation: str) -> list[Outcome]:
    """Return the outcomes in which a system failed, the lowest strengths first.

    A system fails if the right picture is in the gallery and is not the first or not called the
    same, or if a wrong picture is called the same.

    Args:
        benchmark: The benchmark that ran.
        system: The name of the system.
        transformation: Only outcomes of this transformation.
    """
    threshold = benchmark.thresholds[system]
    found = benchmark.of(system, transformation=transformation)
    wrong = [
        one
        for one in found
        if (one.positive and (one.rank != 1 or not one.finds(threshold)))
        or one.is_deceived(threshold)
    ]

    def gravity(one: Outcome) -> tuple[int, int, float]:
        # A wrong claim is worse than a miss, and a miss is worse than a doubtful match.
        kind = 0 if one.is_deceived(threshold) else 1 if one.rank != 1 else 2
        return one.strength, kind, -one.score if one.positive else -one.scores[0]

    return sorted(wrong, key=gravity)


def write_report(
    folder: Path,
    *,
    benchmark: Benchmark,
    summary: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> None:
    """Write the page and its pictures.

    Args:
        folder: The folder of the page, which is created.
        benchmark: The benchmark that ran.
        summary: The benchmark's figures, from `summarise`.
        settings: Everything needed to repeat the benchmark.
    """
    folder.mkdir(parents=True, exist_ok=True)
    systems = summary["systems"]
    *_, judged = systems  # the last: a search with all there is
    names = list(systems[judged]["transformations"])
    sections = [_overview(summary)]
    with tempfile.TemporaryDirectory() as scratch:
        for name in names:
            sections += _sections(
                folder, name=name, benchmark=benchmark, summary=summary, scratch=Path(scratch)
            )
    left_out = benchmark.plan.pictures.left_out
    if left_out:
        rows = [[file, why] for file, why in left_out[:_LISTED]]
        table = Table(head=["file", "why"], rows=rows, prose=True)
        sections.append(Section(title="Left out", tables=[table]))
    sections.append(settings_section(settings))
    write_page(
        folder,
        title=f"Press benchmark on {benchmark.plan.pictures.name}",
        subtitle=f"{', '.join(systems)}; {summary['queries']:,} queries",
        sections=sections,
    )


def _overview(summary: Mapping[str, Any]) -> Section:
    systems = summary["systems"]
    first = next(iter(systems.values()))
    rows: list[list[Cell | str]] = [
        [
            name,
            *(_cell(one["transformations"][name][_ALL], "recall_at_1") for one in systems.values()),
        ]
        for name in first["transformations"]
    ]
    overall: list[list[Cell | str]] = [
        [system, *(_cell(entry[_ALL], figure) for figure in FIGURES)]
        for system, entry in systems.items()
    ]
    counts = (
        f"{summary['searched_for']:,} pictures are printed anew and searched for among "
        f"{summary['gallery']:,}, and {summary['without_match']:,} that are not among them; at "
        f"least {DISTRACTORS} others for each that is searched for."
    )
    return Section(
        title="Overview",
        text=[
            counts,
            RULES,
        ],
        tables=[
            Table(
                head=["everything", *FIGURES.values()],
                rows=overall,
                caption="Below the figures 95 % intervals, bootstrapped over source pictures.",
            ),
            Table(head=["R@1, all strengths", *systems], rows=rows),
        ],
    )


def _sections(
    folder: Path,
    *,
    name: str,
    benchmark: Benchmark,
    summary: Mapping[str, Any],
    scratch: Path,
) -> list[Section]:
    """Return the section of a transformation: diagram, figures, an example, failures."""
    systems = summary["systems"]
    *_, judged = systems
    labels = list(systems[judged]["transformations"][name]["strengths"])
    figures = {
        system: list(entry["transformations"][name]["strengths"].values())
        for system, entry in systems.items()
    }
    plots.strengths(
        folder / f"{name}.png",
        labels=labels,
        systems=figures,
        ordered=TRANSFORMATIONS[name].ordered,
    )
    line = ", ".join(
        f"{label} {_text(one['recall_at_1'])}"
        for label, one in zip(labels, figures[judged], strict=True)
    )
    pictures = [
        ReportPicture(file=f"{name}.png", alt=f"R@1 of {judged} by strength: {line}.", wide=True),
        _examples(folder, name=name, benchmark=benchmark, scratch=scratch),
    ]
    tables = [
        Table(
            head=[label, *FIGURES.values(), "corner error"],
            rows=[
                [
                    system,
                    *(_cell(found[place], figure) for figure in FIGURES),
                    _corner(found[place]),
                ]
                for system, found in figures.items()
            ],
        )
        for place, label in enumerate(labels)
    ]
    kind = "" if TRANSFORMATIONS[name].ordered else " Cases side by side, not ever stronger."
    section = Section(
        title=name,
        text=[f"{TRANSFORMATIONS[name].title}.{kind}"],
        tables=tables,
        pictures=pictures,
    )
    return [
        section,
        _worst(folder, name=name, system=judged, benchmark=benchmark, scratch=scratch),
    ]


def _worst(folder: Path, *, name: str, system: str, benchmark: Benchmark, scratch: Path) -> Section:
    wrong = failures(benchmark, system=system, transformation=name)
    total = len(benchmark.of(system, transformation=name))
    order = "The weakest strengths first, one of a picture."
    frames = "Green frame: the right picture; red: another one."
    return Section(
        title=f"Worst failures of {system}: {len(wrong):,} of {total:,} queries",
        text=[f"{order} {frames}" if wrong else "None."],
        pictures=[
            _failure(
                folder,
                number=number,
                system=system,
                outcome=one,
                benchmark=benchmark,
                scratch=scratch,
            )
            for number, one in enumerate(_one_a_source(wrong)[:_FAILURES], start=1)
        ],
        level=3,
    )


def _examples(folder: Path, *, name: str, benchmark: Benchmark, scratch: Path) -> ReportPicture:
    plan = benchmark.plan
    row = plan.positives[0]
    strengths = [strength for other, strength in plan.conditions if other == name]
    tiles = [Tile(path=plan.pictures.paths[row], label="the picture")]
    for strength in strengths:
        path = _query_file(benchmark, name=name, strength=strength, row=row, scratch=scratch)
        tiles.append(Tile(path=path, label=_label(name, strength)[:22]))
    report_pictures.strip(folder / f"{name}-example.png", tiles=tiles)
    what = ", ".join(_label(name, strength) for strength in strengths)
    caption = f"{plan.pictures.paths[row].name} and its queries: {what}"
    return ReportPicture(file=f"{name}-example.png", alt=caption, caption=caption, wide=True)


def _failure(
    folder: Path,
    *,
    number: int,
    system: str,
    outcome: Outcome,
    benchmark: Benchmark,
    scratch: Path,
) -> ReportPicture:
    pictures, name = benchmark.plan.pictures, outcome.transformation
    query = _query_file(
        benchmark, name=name, strength=outcome.strength, row=outcome.source, scratch=scratch
    )
    tiles = [Tile(path=query, label=_label(name, outcome.strength)[:22])]
    own = pictures.paths[outcome.source]
    if outcome.positive:
        rank = f"rank {outcome.rank}" if outcome.rank else "not found"
        tiles.append(Tile(path=own, label=f"{_score(outcome.score)} {rank}", same=True))
    for place, row in enumerate(outcome.rows[:4]):
        if row != outcome.source:
            seen = outcome.inliers[place] if outcome.inliers else -1
            label = f"{outcome.scores[place]:.3f}" + (f" {seen} inliers" if seen >= 0 else "")
            tiles.append(Tile(path=pictures.paths[row], label=label, same=False))
    file = f"{name}-failure-{number}.png"
    report_pictures.strip(folder / file, tiles=tiles)
    found = _describe_outcome(benchmark, system=system, outcome=outcome)
    caption = f"{own.name}, {_label(name, outcome.strength)}: {found['what']}"
    return ReportPicture(file=file, alt=caption, caption=caption, wide=True)


def _describe_outcome(benchmark: Benchmark, *, system: str, outcome: Outcome) -> dict[str, Any]:
    paths = benchmark.plan.pictures.paths
    threshold = benchmark.thresholds[system]
    if outcome.is_deceived(threshold):
        what = "another picture is called the same"
    elif not outcome.rank:
        what = "its picture is not among the candidates"
    elif outcome.rank > 1:
        what = f"its picture comes at rank {outcome.rank}"
    else:
        what = "found first, but not called the same"
    first = outcome.rows[0] if outcome.rows else None
    return {
        "transformation": outcome.transformation,
        "strength": _label(outcome.transformation, outcome.strength),
        "picture": paths[outcome.source].name,
        "in_gallery": outcome.positive,
        "what": what,
        "rank": outcome.rank or None,
        "score": _finite(outcome.score),
        "inliers": None if outcome.own_inliers < 0 else outcome.own_inliers,
        "found_first": None if first is None else paths[first].name,
        "its_score": outcome.scores[0] if outcome.scores else None,
        "its_inliers": outcome.inliers[0] if outcome.inliers else None,
    }


def _query_file(benchmark: Benchmark, *, name: str, strength: int, row: int, scratch: Path) -> Path:
    path = scratch / f"{name}-{strength}-{row}.png"
    if not path.exists():
        printed = benchmark.plan.print_picture(row, transformation=name, strength=strength)
        small = printed.image.copy()
        small.thumbnail((_QUERY_SIDE, _QUERY_SIDE))
        small.save(path)
    return path


def _one_a_source(outcomes: Sequence[Outcome]) -> list[Outcome]:
    first: dict[int, Outcome] = {}
    for one in outcomes:
        first.setdefault(one.source, one)
    return list(first.values())


def _label(name: str, strength: int) -> str:
    return TRANSFORMATIONS[name].levels[strength - 1].label


def _cell(found: Mapping[str, Any], figure: str) -> Cell:
    interval = found["intervals"].get(figure)
    small = f"{interval[0]:.3f} to {interval[1]:.3f}" if interval else ""
    return Cell(text=_text(found[figure]), small=small)


def _corner(found: Mapping[str, Any]) -> Cell:
    mean, median = found["corner_error_mean"], found["corner_error_median"]
    if mean is None:
        return Cell(text="-")
    return Cell(text=f"{mean:.2%}", small=f"median {median:.2%} of {found['overlaps']}")


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _score(value: float) -> str:
    return "-" if _finite(value) is None else f"{value:.3f}"


def _finite(value: float) -> float | None:
    return value if abs(value) != float("inf") else None
