"""Reports explain every figure that they show."""

from halftone.evaluation.report.reading import MEANINGS, reading_section
from halftone.evaluation.report.retrieval import AT_THRESHOLD, COLUMNS


def test_every_figure_has_a_meaning():
    assert MEANINGS.keys() == (COLUMNS | AT_THRESHOLD).keys()


def test_only_what_is_shown_is_explained():
    section = reading_section("The descriptor alone. By numbers.", names=["map", "queries"])
    assert section.text[0] == "What was measured: the descriptor alone. By numbers."
    (table,) = section.tables
    assert [row[0] for row in table.rows] == ["mAP", "95 %"]
