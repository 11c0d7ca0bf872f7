"""Three whole newspaper issues, with small scans that are drawn from their text and boxes.

They lie beside the repository in `shared/data`, and are no part of it.
"""

from __future__ import annotations

import io
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from halftone.archive.pages import alto, markup
from halftone.archive.sources import Options, PageOptions, open_source
from tests.support.pages.rendering import draw_page

ISSUES = Path(__file__).parents[5] / "shared" / "data" / "mets-alto"
EXPECTED = {
    "18911010_1": (8, 2, "Le Petit Journal illustré Supplément du dimanche", "1891-10-10~", "fr"),
    "BnF_00031_19040418": (4, 19, "L'Humanité", "1904-04-18", "fr"),
    "SBB_00006_19300101_F_078_001_0": (
        4,
        16,
        "Volkszeitung (1890-1904) /Berliner Volkszeitung (1904-1930)",
        "1930-01-01",
        "de",
    ),
}
SCALE = 1 / 3

pytestmark = pytest.mark.skipif(
    not ISSUES.is_dir(), reason="shared/data/mets-alto is not beside the repository"
)


def list_illustrations(path: Path):
    """The boxes that the file calls illustrations, read without our readers."""
    text = path.read_text(encoding="utf-8-sig")
    for tag in re.findall(r"<(?:Illustration|ComposedBlock)\b[^>]*>", text):
        if "<Illustration" not in tag and 'TYPE="Illustration"' not in tag:
            continue
        numbers = dict(re.findall(r'(HPOS|VPOS|WIDTH|HEIGHT)="(-?[0-9]+)"', tag))
        yield tuple(int(numbers[key]) for key in ("HPOS", "VPOS", "WIDTH", "HEIGHT"))


@pytest.mark.parametrize("name", EXPECTED)
def test_every_illustration_becomes_a_record_at_its_place(name, tmp_path):
    issue = tmp_path / name
    shutil.copytree(ISSUES / name, issue)
    (issue / "images").mkdir()
    wanted = {}
    for path in sorted(issue.glob("*/*.xml")):
        (page,) = alto.parse(markup.read(path))
        size = (round(page.size[0] * SCALE), round(page.size[1] * SCALE))
        draw_page(issue / "images" / f"{path.stem}.jpg", size=size, blocks=page.blocks, scale=SCALE)
        wanted[f"{name}/images/{path.stem}"] = sorted(list_illustrations(path))
    pages, pictures, title, date, language = EXPECTED[name]
    assert sum(len(boxes) for boxes in wanted.values()) == pictures

    source = open_source(tmp_path, archive="press")
    rows = list(source.rows)
    assert [row.error for row in rows] == [None] * (pages + pictures)
    assert source.remarks == []
    found = {page: [] for page in wanted}
    for row in rows:
        image = row.image
        assert (image.journal, image.date, image.language) == (title, date, language)
        if not image.page_image:
            assert row.image_id in wanted
            continue
        region = image.page_region
        box = (region.x, region.y, region.width, region.height)
        found[image.page_image.partition("/images/")[2]].append([each / SCALE for each in box])
        cut = np.asarray(Image.open(io.BytesIO(row.content())), dtype=float)
        with Image.open(row.path) as scan:
            x, y = region.x, region.y
            part = np.asarray(scan.crop((x, y, x + region.width, y + region.height)), dtype=float)
        assert np.abs(cut - part).mean() < 4
    for place, boxes in wanted.items():
        # A pixel of a scan of a third of the size is three of the description's.
        assert len(found[place]) == len(boxes)
        for box in boxes:
            nearest = min(found[place], key=lambda each: np.abs(np.subtract(each, box)).max())
            assert nearest == pytest.approx(box, abs=6), place
            found[place].remove(nearest)


CASE = ISSUES.parents[1] / "cases" / "miss-picture-on-page"


@pytest.mark.skipif(not CASE.is_dir(), reason="shared/cases is not beside the repository")
def test_the_pictures_on_a_page_that_nobody_described(tmp_path):
    """A dome on the front page was not found by a search for it: it is a record now."""
    shutil.copy(CASE / "tribune.jpg", tmp_path)
    options = Options(pages=PageOptions())
    page, capitol, plan = open_source(tmp_path, archive="press", options=options).rows
    assert (page.image_id, page.image.page_image) == ("tribune", "")
    regions = [
        [getattr(row.image.page_region, key) for key in ("x", "y", "width", "height")]
        for row in (capitol, plan)
    ]
    assert regions[0] == pytest.approx((196, 216, 644, 388), abs=12)
    # Of the floor plan its middle is found, which its clip shows.
    x, y, width, height = regions[1]
    assert (x > 300, y > 930, x + width < 730, y + height < 1130) == (True,) * 4
    assert width * height > 30_000
