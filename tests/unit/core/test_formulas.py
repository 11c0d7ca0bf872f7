"""Cells that a spreadsheet would run, and that come back as they were."""

from __future__ import annotations

import csv
import random

import pytest

from halftone.archive.tables import open_table
from halftone.core.formulas import GUARDED, guard, guard_row, unguard

DANGEROUS = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    " =1+1",
    "\n=1+1",
    "\t=1+1",
    "\r\n =1+1",
    "\u00a0=1+1",
    "\u3000\uff1d1+1",
    "\uff1d1+1",
    "\uff0b1",
    "\uff0d1",
    "\uff20SUM(A1)",
    "\ufeff=1+1",
    "\u200b=1+1",
    "\ttext",
    "\ntext",
    "'=1+1",
    "''-1",
    "' =1",
]
HARMLESS = ["", "a=1", "1914-08-01", "'tis", "L'Illustration", "' a", "—", "é", "...-1"]


@pytest.mark.parametrize("text", DANGEROUS)
def test_what_looks_like_a_formula_is_a_text(text):
    guarded = guard(text)
    assert guarded == f"'{text}"
    assert unguard(guarded) == text


@pytest.mark.parametrize("text", HARMLESS)
def test_other_texts_stay_as_they_are(text):
    assert guard(text) == text
    assert unguard(text) == text


def test_every_text_comes_back():
    draw = random.Random(7)
    letters = "'=+-@\uff1d\uff0b\uff0d\uff20 \t\n\r\u3000a1"
    for _ in range(20_000):
        text = "".join(draw.choices(letters, k=draw.randint(0, 6)))
        assert unguard(guard(text)) == text


def test_a_table_of_ours_is_read_as_it_was_and_one_of_others_as_it_is(tmp_path):
    ours, theirs = tmp_path / "ours.csv", tmp_path / "theirs.csv"
    rows = [["a", text] for text in ("=1", "'=1", "plain", "-", "'tis")]
    for path, header in ((ours, [GUARDED]), (theirs, [])):
        with path.open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["image_id", "caption", *header])
            for row in rows:
                table.writerow(guard_row(row) if header else row)
    for path in (ours, theirs):
        read = [row for _, row in open_table(path).rows()]
        assert read == [dict(zip(("image_id", "caption"), row, strict=True)) for row in rows]
