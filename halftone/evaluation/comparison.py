"""Compare several model versions on one archive: which is better, how surely, and where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from halftone.evaluation.report import pictures as report_pictures
from halftone.evaluation.report import plots
from halftone.evaluation.report.model_report import data_section, group_sizes, settings_section
from halftone.evaluation.report.page import Cell, ReportPicture, Section, Table, write_page
from halftone.evaluation.report.pictures import Tile
from halftone.evaluation.report.reading import reading_section
from halftone.evaluation.report.retrieval import AT_THRESHOLD, COLUMNS, figure_cell

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from halftone.evaluation.judged import JudgedImages
    from halftone.evaluation.metrics import Judgement
    from halftone.evaluation.resampling import Draws

_EXAMPLES: Final = 6


@dataclass(frozen=True, kw_only=True)
class JudgedVersion:
    """A model version, its judgement on an archive, and the draws behind its intervals."""

    version: str
    judged: JudgedImages
    draws: Mapping[str, Draws]


def differences(first: JudgedVersion, second: JudgedVersion) -> dict[str, dict[str, Any]]:
    """Return how much better the second version is than the first, figure by figure.

    Both versions are judged on the same draws of groups, so that what makes an archive easy or hard
    for both does not blur their difference.

    Returns:
        For each figure, `difference`, its 95 % `interval`, and `better`, the share of draws in
        which the second version is better (ties count half).
    """
    result = {}
    for name, draws in second.draws.items():
        if name not in first.draws:
            continue
        change = draws - first.draws[name]
        result[name] = {
            "difference": second.judged.metrics[name] - first.judged.metrics[name],
            "interval": [float(np.percentile(change, end)) for end in (2.5, 97.5)],
            "better": float((change > 0).mean() + (change == 0).mean() / 2),
        }
    return result


def changed_queries(first: Judgement, second: Judgement) -> tuple[list[int], list[int]]:
    """Return the queries on which the second model is better, and the queries on which it is worse.

    Average precision decides; the largest change comes first. Queries are given by their places in
    `truth.queries`.
    """
    change = second.average_precision - first.average_precision
    order = np.argsort(-np.abs(change), kind="stable")
    won = [int(query) for query in order if change[query] > 0]
    return won, [int(query) for query in order if change[query] < 0]


def write_comparison(
    folder: Path,
    *,
    candidates: Sequence[JudgedVersion],
    left_out: Sequence[tuple[str, str]],
    settings: Mapping[str, Any],
) -> None:
    """Write one page that compares all candidates with the first of them.

    Args:
        folder: The page's folder, which is created. Each version's own report is expected in
            `folder_of(version)` below it.
        candidates: At least two, judged by the same truth, with the same seed.
        left_out: Images that could not be used, and why.
        settings: Everything needed to repeat the comparison.
    """
    folder.mkdir(parents=True, exist_ok=True)
    first, *others = candidates
    judged = first.judged
    queries, count = judged.metrics["queries"], judged.judgement.truth.count
    sections = [
        reading_section(judged.measured, names=judged.metrics),
        Section(
            title=f"Figures on {judged.name}",
            text=[f"{queries:,} queries among {count:,} pictures. {judged.rules}"],
            tables=[_figures(candidates), *(_differences(first, other) for other in others)],
            links=[(f"{folder_of(one.version)}/index.html", one.version) for one in candidates],
        ),
        _curves(folder, candidates=candidates),
    ]
    for other in others:
        sections += _changes(folder, first=first, second=other)
    sections.append(data_section(folder, balance=group_sizes(judged), left_out=left_out))
    sections.append(settings_section(settings))
    versions = [candidate.version for candidate in candidates]
    write_page(
        folder,
        title=" and ".join([", ".join(versions[:-1]), versions[-1]]),
        subtitle=f"compared on {judged.name}",
        sections=sections,
    )


def folder_of(version: str) -> str:
    """Return the name of a version's folder within a comparison."""
    return version.replace("/", "-")


def _figures(candidates: Sequence[JudgedVersion]) -> Table:
    metrics = [candidate.judged.metrics for candidate in candidates]
    names = [name for name in (*COLUMNS, *AT_THRESHOLD) if all(name in one for one in metrics)]
    labels = COLUMNS | AT_THRESHOLD
    rows: list[list[Cell | str]] = [
        [candidate.version, *(figure_cell(candidate.judged.metrics, name=name) for name in names)]
        for candidate in candidates
    ]
    chosen = "; ".join(
        f"{one.version} {one.judged.threshold:.3f} from {one.judged.threshold_from}"
        for one in candidates
        if one.judged.threshold_from
    )
    note = f" Thresholds: {chosen}." if chosen else ""
    return Table(
        head=["", *(labels[name] for name in names)],
        rows=rows,
        caption=f"Below the figures 95 % intervals, bootstrapped over groups.{note}",
    )


def _differences(first: JudgedVersion, second: JudgedVersion) -> Table:
    found = differences(first, second)
    labels = COLUMNS | AT_THRESHOLD
    rows: list[list[Cell | str]] = []
    for name, change in found.items():
        low, high = change["interval"]
        # Marked only if the interval leaves zero out.
        mark = "better" if low > 0 else "worse" if high < 0 else ""
        rows.append(
            [
                labels[name],
                Cell(text=f"{change['difference']:+.3f}", mark=mark),
                f"{low:+.3f} to {high:+.3f}",
                f"{change['better']:.0%}",
            ]
        )
    return Table(
        head=[f"{second.version} against {first.version}", "difference", "95 %", "better in"],
        rows=rows,
        caption="Paired: both are judged on the same draws of groups. A mark means that the "
        "interval leaves zero out.",
    )


def _curves(folder: Path, *, candidates: Sequence[JudgedVersion]) -> Section:
    plots.precision_recall(
        folder / "precision-recall.png",
        judgements={one.version: one.judged.judgement for one in candidates},
        thresholds={one.version: one.judged.threshold for one in candidates},
    )
    figures = ", ".join(
        f"{one.version} µAP {one.judged.metrics['micro_ap']:.3f}" for one in candidates
    )
    pictures = [
        ReportPicture(
            file="precision-recall.png",
            alt=f"Precision over recall of all pairs: {figures}.",
            caption="Precision over recall of all pairs; the dots are the thresholds.",
        )
    ]
    for one in candidates:
        file = f"scores-{folder_of(one.version)}.png"
        plots.histogram(
            folder / file, judgement=one.judged.judgement, threshold=one.judged.threshold
        )
        pictures.append(
            ReportPicture(
                file=file,
                alt=f"Histograms of the scores of true and false pairs by {one.version}.",
                caption=f"{one.version}: scores of true and of false pairs.",
            )
        )
    return Section(title="All pairs", pictures=pictures)


def _changes(folder: Path, *, first: JudgedVersion, second: JudgedVersion) -> list[Section]:
    """Show the queries that the second version wins and loses."""
    before, after = first.judged.judgement, second.judged.judgement
    won, lost = changed_queries(before, after)
    found = int((after.found_first > before.found_first).sum())
    missed = int((after.found_first < before.found_first).sum())
    same = len(before.found_first) - len(won) - len(lost)
    summary = (
        f"By average precision it is better for {len(won):,} queries, worse for {len(lost):,}, and "
        f"equal for {same:,}. {found:,} find a match first that did not before; {missed:,} no "
        "longer do."
    )
    sections = [Section(title=f"What {second.version} changes", text=[summary])]
    for title, queries, name in (("Won", won, "won"), ("Lost", lost, "lost")):
        pictures = []
        for number, query in enumerate(queries[:_EXAMPLES], start=1):
            for which, candidate in (("before", first), ("after", second)):
                file = f"{name}-{folder_of(second.version)}-{number}-{which}.png"
                pictures.append(_strip(folder / file, candidate=candidate, query=query))
        note = f"{len(queries):,} queries, the largest change first; above by {first.version}, "
        sections.append(
            Section(
                title=f"{title} against {first.version}",
                text=[f"{note}below by {second.version}."] if queries else ["None."],
                pictures=[picture for picture in pictures if picture is not None],
                level=3,
            )
        )
    return sections


def _strip(path: Path, *, candidate: JudgedVersion, query: int) -> ReportPicture | None:
    judged = candidate.judged
    if judged.paths is None:
        return None
    image = int(judged.judgement.truth.queries[query])
    shown = report_pictures.candidate_tiles(judged, query=query)
    tiles = [Tile(path=judged.paths[image], label="query"), *shown]
    report_pictures.strip(path, tiles=tiles)
    rank = int(judged.judgement.first_rank[query])
    caption = f"{candidate.version}: {judged.names[image]}, first match at rank {rank}"
    return ReportPicture(file=path.name, alt=caption, caption=caption, wide=True)
