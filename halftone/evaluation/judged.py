"""Images judged by a truth, as reports show them. Needs neither torch nor matplotlib."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from halftone.evaluation.metrics import Judgement

ARCHIVE_RULES: Final = (
    "A match is the same picture in another publication. Copies within one publication count "
    "neither way; where several pictures stand on one plate only the listed links are matches."
)
GROUP_RULES: Final = "Every other picture of a query's group is a match."
SPLIT_RULES: Final = (
    "Every other picture of a query's group is a match. Copies within one publication count "
    "neither way, nor do pairs of a composite group that are not linked."
)

DESCRIPTOR: Final = (
    "The descriptor alone. Pictures are ranked by how similar the numbers are that the network "
    "makes of each. A search finds more, since it also takes candidates by perceptual hash and "
    "visual words and compares their details."
)
WHOLE_SEARCH: Final = (
    "The whole search, as a user gets it. It takes candidates by descriptor, perceptual hash and "
    "visual words, compares the best of them in their details, and ranks them by the probability "
    "that they show the same picture."
)


@dataclass(frozen=True, kw_only=True)
class JudgedImages:
    """Images whose matches are known, judged by the scores of a model, as a report shows them.

    Attributes:
        name: Name of the archive or split.
        judgement: The judgement by the model's scores.
        metrics: The figures that `figures_of` returned.
        names: Names of the images for people, [N].
        paths: Files of the images, [N]; None for an image that has none, which is not shown.
        rules: One sentence on what counts as a match.
        threshold_from: The name of the images on which the threshold was chosen; empty if it was
            chosen on these images themselves.
        variants: The figures of other scores, by the name of what differs.
        measured: What was measured, in words.
    """

    name: str
    judgement: Judgement
    metrics: dict[str, Any]
    names: Sequence[str]
    paths: Sequence[Path] | None
    rules: str
    threshold_from: str = ""
    variants: dict[str, dict[str, Any]]
    measured: str = DESCRIPTOR

    @property
    def is_whole_search(self) -> bool:
        """Return whether the whole search was judged, and not the descriptor alone."""
        return self.measured == WHOLE_SEARCH

    @property
    def threshold(self) -> float:
        """Return the threshold in `metrics`, or the one with the best F1 if none is there."""
        return float(self.metrics.get("threshold", self.metrics["best_f1_threshold"]))
