"""Explains the figures of reports to readers who know pictures and not retrieval."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from halftone.evaluation.report.page import Section, Table
from halftone.evaluation.report.retrieval import AT_THRESHOLD, COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterable

MEANINGS: Final = {
    "recall_at_1": "of all pictures that were searched by, the share for which another printing "
    "stood in first place",
    "map": "whether all printings of a picture stand at the top of its list of hits, and not only "
    "one; 1 if every list begins with all of them",
    "ndcg_at_5": "the same for the first five hits, where a higher place counts more",
    "micro_ap": "whether one threshold would do for all pictures: all pairs of pictures are put "
    "into one list, the most alike first; 1 if no false pair stands before a true one",
    "recall_at_p90": "the share of the true pairs that is found if the threshold is set so that "
    "nine in ten pairs that are called the same are the same",
    "best_f1": "the best balance of right and complete that any threshold gives (see F1), chosen "
    "after the fact",
    "precision": "of the pairs that were called the same at the threshold, the share that is",
    "recall": "of the pairs that are the same, the share that was called the same",
    "f1": "precision and recall in one figure, their harmonic mean",
}
"""What each figure says, for people; all are shares from 0 to 1, and more is better."""
_INTERVAL: Final = (
    "in 95 of 100 archives of the same kind the figure would lie within this; of few pairs it is "
    "wide."
)


def reading_section(measured: str, *, names: Iterable[str]) -> Section:
    """Return the section that says what was measured, and what each figure means.

    Args:
        measured: What was measured, in words, as `JudgedImages.measured` has it.
        names: The figures that the report shows.
    """
    labels = COLUMNS | AT_THRESHOLD
    shown = set(names)
    rows = [[label, f"{MEANINGS[name]}."] for name, label in labels.items() if name in shown]
    rows.append(["95 %", _INTERVAL])
    return Section(
        title="How to read this",
        text=[
            f"What was measured: {measured[0].lower()}{measured[1:]}",
            "All figures are shares from 0 to 1; more is better.",
        ],
        tables=[Table(head=["figure", "what it says"], rows=rows, prose=True)],
    )
