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
    rows = [
        ["candidates that were compared", f"{fit['pairs']:,}"],
        ["of them the same picture", f"{fit['matches']:,}"],
        ["expected calibration error", f"{fit['ece']:.4f}"],
        [f"the same of the {fit['likely']:,} of 0.01 and more", f"{fit['ece_likely']:.4f}"],
        ["Brier score", f"{fit['brier']:.4f}"],
        ["precision at 0.9", f"{fit['precision_at_90']:.3f}"],
        ["recall at 0.9, of the candidates", f"{fit['recall_at_90']:.3f}"],
    ]
    return Section(
        title="Probabilities",
        text=[
            f"Fitted on {fit['on']}; every figure is of folds that were left out, by group.",
        ],
        tables=[Table(head=["", "value"], rows=rows)],
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
