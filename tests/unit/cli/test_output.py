"""Tables on narrow terminals: what the next command needs is not cut."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.table import Table

from halftone.cli import output
from halftone.client import ImageRecord

RECORD = ImageRecord(
    name="archives/album/images/1914/0822-3-a-rather-long-identifier-of-an-image",
    journal="The Larkhaven Courier and Advertiser of the Northern Counties",
    date="1914-08-22",
    page="3",
    caption="The fleet leaves the harbour in the morning, seen from the lighthouse",
)


@pytest.mark.parametrize("width", [80, 100, 179, 180, 300])
def test_a_row_keeps_figures_and_name(width):
    table = Table(box=None)
    for column in ("rank", "probability", "relation"):
        table.add_column(column, no_wrap=True)
    output._add_record_columns(table, width=width, lies=True)
    lies = "mirrored, turned 270°"
    cells = output._make_record_cells(RECORD, width=width, lies=lies)
    table.add_row("1", "0.987", "same scene", *cells)
    out = io.StringIO()

    Console(file=out, width=width).print(table)

    text = out.getvalue()
    joined = "".join(line.strip() for line in text.splitlines())
    for part in ("probability", "0.987", "same scene", "1914-08-22", lies):
        assert part in text
    if width < output.BROAD:
        assert RECORD.name in joined
