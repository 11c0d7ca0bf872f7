"""Writes the section of a report on a version's probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from halftone.evaluation.report import plots
from halftone.evaluation.report.page import ReportPicture, Section, Table

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def calibration_section(folder: Path, *, fit: Mapping[str, Any]) -> Section:
    """Show how reliable probabilities are on groups that were left out of their fit.

    Args:
        folder: The report's folder, which gets the plot.
        fit: The entry `calibration` of `metrics.json`: `on` and the figures of
            `evaluation.calibration.fit`, or instead `why`, the reason why there is no fit.
    """
    if "why" in fit:
        return Section(title="Probabilities", text=[str(fit["why"])])
    plots.reliability(folder / "reliability.png", bins=fit["bins"])
    # Versions of earlier releases know no hard pairs.
    columns = [fit, *(fit[name] for name in ("ordinary", "hard") if name in fit)]
    head = ["", "all", "ordinary", "sharing furniture"][: 1 + len(columns)]
    rows = [
        ["pairs that were compared", *(f"{each['pairs']:,}" for each in columns)],
        ["of them the same picture", *(f"{each['matches']:,}" for each in columns)],
        ["expected calibration error", *(f"{each['ece']:.4f}" for each in columns)],
        ["called 0.01 and more", *(f"{each['likely']:,}" for each in columns)],
        ["calibration error of these", *(f"{each['ece_likely']:.4f}" for each in columns)],
        ["Brier score", *(f"{each['brier']:.4f}" for each in columns)],
        ["precision at 0.9", *(f"{each['precision_at_90']:.3f}" for each in columns)],
        ["recall at 0.9", *(f"{each['recall_at_90']:.3f}" for each in columns)],
    ]
    return Section(
        title="Probabilities",
        text=[
            f"Fitted on {fit['on']}; every figure is of folds that were left out, by group.",
        ],
        tables=[Table(head=head, rows=rows)],
        pictures=[
            ReportPicture(
                file="reliability.png",
                alt=(
                    "Share of candidates that are the same picture over the probability they were "
                    f"given; expected calibration error {fit['ece_likely']:.3f}."
                ),
                caption="Bars are 95 % intervals, the dotted line is perfect. Below, how many "
                "candidates of 0.01 and more stand in each bin.",
            )
        ],
    )
