"""Writes the results of the furniture benchmark, as JSON and as a page with pictures."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from halftone.evaluation.furniture import plots
from halftone.evaluation.furniture.benchmark import Condition
from halftone.evaluation.furniture.figures import (
    CERTAIN,
    FEWEST_SAME,
    MOST_DIFFERENT,
    Outcome,
    judge,
    separate,
    worst,
)
from halftone.evaluation.furniture.kinds import CASES, KINDS
from halftone.evaluation.report import pictures as report_pictures
from halftone.evaluation.report.model_report import settings_section
from halftone.evaluation.report.page import Cell, ReportPicture, Section, Table, write_page
from halftone.evaluation.report.pictures import Tile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from halftone.evaluation.furniture.benchmark import FurniturePlan

    Outcomes = Mapping[str, Sequence[Outcome]]

_WORST: Final = 8
_LISTED: Final = 400
_SIDE: Final = 300  # pixels of a picture in a strip
RULES: Final = (
    f"Two sheets are called the same at a probability of {CERTAIN:g} or more. Of different "
    f"pictures in the same furniture at most {MOST_DIFFERENT:.0%} may be, in each kind; of the "
    f"same pictures at least {FEWEST_SAME:.0%} have to be, in each kind and case. Both sheets of a "
    "pair are printed and scanned apart: screen, tone, crop, turn, blur and noise differ. "
    "Intervals are 95 % (Wilson); the strengths of a pair share pictures and furniture, so for all "
    "strengths together they are somewhat too narrow."
)


def summarise(plan: FurniturePlan, *, outcomes: Outcomes) -> dict[str, Any]:
    """Return all figures, JSON-ready, by version, kind, case and strength; and the failures.

    Args:
        plan: The plan that was run.
        outcomes: Outcomes by the name of the version.
    """
    versions = {}
    for name, answers in outcomes.items():
        kinds = {}
        for kind in _kinds_of(plan):
            own = [one for one in answers if one.kind == kind]
            kinds[kind] = {
                "roc": separate(own),
                "cases": {
                    case: judge([one for one in own if one.case == case])
                    for case in CASES
                    if any(one.case == case for one in own)
                },
            }
        cases = [case for entry in kinds.values() for case in entry["cases"].values()]
        seconds = sorted(one.seconds for one in answers)
        versions[name] = {
            "passes": all(case["passes"] for case in cases),
            "bars": len(cases),
            "bars_kept": sum(case["passes"] for case in cases),
            "roc": separate(answers),
            "kinds": kinds,
            "seconds_a_pair": seconds[len(seconds) // 2],
            "failures": [_describe(plan, one) for one in worst(answers)[:_LISTED]],
        }
    return {
        "pictures": len(plan.pictures.paths),
        "different_pictures": len(plan.rows),
        "pairs_a_condition": plan.sources,
        "pairs": plan.pairs,
        "threshold": CERTAIN,
        "versions": versions,
    }


def write_report(
    folder: Path,
    *,
    plan: FurniturePlan,
    outcomes: Outcomes,
    summary: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> None:
    """Write the page and its pictures.

    Args:
        folder: The folder of the page, which is created.
        plan: The plan that was run.
        outcomes: Outcomes by the name of the version.
        summary: The figures, from `summarise`.
        settings: Everything needed to repeat the benchmark.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sections = [_overview(folder, plan=plan, outcomes=outcomes, summary=summary)]
    with tempfile.TemporaryDirectory() as scratch:
        sheets = _Sheets(plan, folder=folder, scratch=Path(scratch))
        for kind in _kinds_of(plan):
            sections += _sections(kind, outcomes=outcomes, summary=summary, sheets=sheets)
    left_out = plan.pictures.left_out
    if left_out:
        rows = [[file, why] for file, why in left_out[:_LISTED]]
        table = Table(head=["file", "why"], rows=rows, prose=True)
        sections.append(Section(title="Left out", tables=[table]))
    sections.append(settings_section(settings))
    write_page(
        folder,
        title=f"Furniture benchmark on {plan.pictures.name}",
        subtitle=f"{', '.join(outcomes)}; {plan.pairs:,} pairs",
        sections=sections,
    )


class _Sheets:
    """Prints pairs again, for pictures of the page."""

    def __init__(self, plan: FurniturePlan, *, folder: Path, scratch: Path) -> None:
        self.plan, self.folder, self._scratch = plan, folder, scratch

    def tiles(self, condition: Condition, *, number: int, labels: tuple[str, str]) -> list[Tile]:
        """Return both sheets of a pair as tiles, framed by whether they are the same."""
        tiles = []
        pair = self.plan.print_pair(condition, number=number)
        for side, (image, label) in enumerate(zip(pair, labels, strict=True)):
            name = f"{condition.kind}-{condition.case}-{condition.strength}-{number}-{side}.png"
            image.thumbnail((2 * _SIDE, 2 * _SIDE))
            image.save(self._scratch / name)
            same = CASES[condition.case].same
            tiles.append(Tile(path=self._scratch / name, label=label, same=same))
        return tiles


def _overview(
    folder: Path, *, plan: FurniturePlan, outcomes: Outcomes, summary: Mapping[str, Any]
) -> Section:
    text = [
        (
            f"{plan.sources:,} pairs of each kind, case and strength, from {len(plan.rows):,} "
            "pictures, no two of them known to be the same."
        ),
        RULES,
    ]
    tables = []
    for name, entry in summary["versions"].items():
        kept, bars = entry["bars_kept"], entry["bars"]
        cases = [
            case for case in CASES if any(case in one["cases"] for one in entry["kinds"].values())
        ]
        rows: list[list[Cell | str]] = []
        for kind, one in entry["kinds"].items():
            cells = [_cell(one["cases"][case]) if case in one["cases"] else "" for case in cases]
            rows.append(
                [kind, *cells, _number(one["roc"]["auc"]), _number(one["roc"]["same_at_bar"])]
            )
        same_at = f"same at {MOST_DIFFERENT:.0%} different"
        tables.append(
            Table(
                head=[name, *cases, "AUC", same_at],
                rows=rows,
                caption=f"{kept} of {bars} bars are kept. Share called the same, all strengths; ▼ "
                "marks what misses its bar. AUC: area under the ROC curve of the kind; beside it "
                "the share of same pictures above the threshold that 1 % of the different reach.",
            )
        )
    both = {}
    for name, answers in outcomes.items():
        for kind in _kinds_of(plan):
            own = [one for one in answers if one.kind == kind]
            if len({one.is_same for one in own}) > 1:
                both[f"{kind}, {name}" if len(outcomes) > 1 else kind] = own
    pictures = []
    if both:
        plots.curves(folder / "roc.png", series=both)
        alt = "ROC curves by kind: " + "; ".join(
            f"{name} AUC {separate(own)['auc']:.3f}" for name, own in both.items()
        )
        pictures.append(ReportPicture(file="roc.png", alt=alt, wide=True))
    return Section(title="Overview", text=text, tables=tables, pictures=pictures)


def _sections(
    kind: str, *, outcomes: Outcomes, summary: Mapping[str, Any], sheets: _Sheets
) -> list[Section]:
    """Return the section of a kind: what it looks like, its figures, its worst pairs."""
    entry = KINDS[kind]
    conditions = [one for one in sheets.plan.conditions if one.kind == kind]
    strengths = sorted({one.strength for one in conditions})
    tables = []
    for name in outcomes:
        cases = summary["versions"][name]["kinds"][kind]["cases"]
        rows: list[list[Cell | str]] = [
            [
                case,
                *(
                    _count(found["strengths"][one]) if one in found["strengths"] else ""
                    for one in map(str, strengths)
                ),
                _count(found["all"], interval=True),
                f"{'≥' if found['same'] else '≤'}{found['bar']:.0%}",
                Cell(text="kept", mark="better")
                if found["passes"]
                else Cell(text="missed", mark="worse"),
                _relations(found["all"]["relations"]),
            ]
            for case, found in cases.items()
        ]
        head = [
            name,
            *(f"strength {one}" for one in strengths),
            "all",
            "bar",
            "verdict",
            "relations",
        ]
        tables.append(Table(head=head, rows=rows))
    described = "; ".join(f"{one}: {entry.strengths[one - 1]}" for one in strengths)
    examples = [
        _example(kind, case=case, conditions=conditions, sheets=sheets)
        for case in dict.fromkeys(one.case for one in conditions)
    ]
    found = [
        Section(
            title=kind,
            text=[f"{entry.title}. Strengths: {described}."],
            tables=tables,
            pictures=examples,
        )
    ]
    for name, answers in outcomes.items():
        wrong = worst(one for one in answers if one.kind == kind)
        total = sum(one.kind == kind for one in answers)
        found.append(
            Section(
                title=f"Worst pairs of {name}: {len(wrong):,} of {total:,} are judged wrongly",
                text=["Green frames: the same picture; red: different ones." if wrong else "None."],
                pictures=[
                    _failure(one, place=place, version=name, sheets=sheets)
                    for place, one in enumerate(_one_a_pair(wrong)[:_WORST], start=1)
                ],
                level=3,
            )
        )
    return found


def _example(
    kind: str, *, case: str, conditions: Sequence[Condition], sheets: _Sheets
) -> ReportPicture:
    """Draw the first pair of a case at its lowest, middle and highest strength."""
    own = [one for one in conditions if one.case == case]
    shown = list(dict.fromkeys((own[0], own[len(own) // 2], own[-1])))
    number = list(CASES).index(case) % sheets.plan.sources
    tiles = [
        tile
        for one in shown
        for tile in sheets.tiles(one, number=number, labels=(f"strength {one.strength}", ""))
    ]
    file = f"{kind}-{case}.png"
    report_pictures.strip(sheets.folder / file, tiles=tiles, side=_SIDE)
    strengths = ", ".join(str(one.strength) for one in shown)
    caption = f"{case}: {CASES[case].title}; strength {strengths}"
    return ReportPicture(file=file, alt=f"{kind}: {caption}", caption=caption, wide=True)


def _failure(one: Outcome, *, place: int, version: str, sheets: _Sheets) -> ReportPicture:
    condition = Condition(one.kind, one.case, one.strength)
    label = f"{one.probability:.3f} {one.relation}"
    tiles = sheets.tiles(condition, number=one.number, labels=(label, f"{one.inliers} inliers"))
    file = f"pair-{version.replace('/', '-')}-{one.kind}-{place}.png"
    report_pictures.strip(sheets.folder / file, tiles=tiles, side=_SIDE)
    caption = (
        f"{one.probability:.3f} {one.relation}, {one.inliers} inliers: {CASES[one.case].title}, "
        f"strength {one.strength}, pair {one.number}"
    )
    return ReportPicture(file=file, alt=caption, caption=caption, wide=True)


def _one_a_pair(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Return the first outcome of each pair and case: strengths would show it again and again."""
    first: dict[tuple[str, int], Outcome] = {}
    for one in outcomes:
        first.setdefault((one.case, one.number), one)
    return list(first.values())


def _describe(plan: FurniturePlan, one: Outcome) -> dict[str, Any]:
    condition = Condition(one.kind, one.case, one.strength)
    rows = plan.rows_of(condition, number=one.number)
    return {
        "kind": one.kind,
        "case": one.case,
        "strength": one.strength,
        "pair": one.number,
        "same": one.is_same,
        "probability": one.probability,
        "relation": one.relation,
        "inliers": one.inliers,
        "pictures": [plan.pictures.paths[row].name for row in rows],
    }


def _kinds_of(plan: FurniturePlan) -> list[str]:
    return list(dict.fromkeys(condition.kind for condition in plan.conditions))


def _cell(case: Mapping[str, Any]) -> Cell:
    total = case["all"]
    return Cell(
        text=f"{total['share']:.3f}",
        small=f"{total['called']} of {total['pairs']}",
        mark="" if case["passes"] else "worse",
    )


def _count(found: Mapping[str, Any], *, interval: bool = False) -> Cell:
    small = f"{found['called']} of {found['pairs']}"
    if interval:
        low, high = found["interval"]
        small += f"; {low:.3f} to {high:.3f}"
    return Cell(text=f"{found['share']:.3f}", small=small)


def _relations(found: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {number}" for name, number in found.items())


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
