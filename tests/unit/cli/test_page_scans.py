"""`halftone import` of page scans, against a real gRPC server that keeps its records in memory."""

from __future__ import annotations

import re

from tests.support.pages.profiles import BNF, BNL
from tests.support.pictures.printed_pages import printed_page, scene


def list_imported(fake):
    return {name for name in fake.records if name.startswith("archives/press/")}


PAGE = "archives/press/images/images/T0000001"


def test_pages_and_the_pictures_on_them_are_imported(run, fake, tmp_path):
    folder = BNF.write(tmp_path / "press")
    result = run("import", folder)
    assert result.exit_code == 0, result.output
    assert "press: 3 created, 0 unchanged, 0 updated, 0 rejected." in result.stdout
    assert list_imported(fake) == {PAGE, f"{PAGE}/PAG_1_IL1", f"{PAGE}/PAG_1_IL2"}
    picture = fake.records[f"{PAGE}/PAG_1_IL1"]
    assert (picture.page_image, picture.caption) == (PAGE, "La grève")
    assert (picture.journal, picture.date) == ("Le Journal illustré", "1891-10-10")
    assert "3 unchanged" in run("import", folder).stdout


def test_scans_alone_are_pages_when_told_so(run, fake, tmp_path):
    folder = tmp_path / "press"
    folder.mkdir()
    printed_page([(scene(1), (300, 60))]).save(folder / "p1.png")
    refused = run("import", folder)
    assert refused.exit_code == 2
    assert "--pages" in refused.stderr
    assert run("import", folder, "--pages").exit_code == 0
    assert list_imported(fake) == {f"archives/press/images/{name}" for name in ("p1", "p1/b1")}


def test_boxes_that_do_not_fit_stop_it_before_anything_is_sent(run, fake, tmp_path):
    folder = BNL.write(tmp_path / "press")
    text = folder / "text" / "0001.xml"
    text.write_text(text.read_text().replace('ID="P1"', 'ID="P1" WIDTH="500" HEIGHT="750"'))
    result = run("import", folder)
    assert result.exit_code == 2
    assert "boxes lie outside of their pages" in result.stderr
    assert not list_imported(fake)
    advised = re.search(r"--alto-(?:unit|scale) [0-9a-z.]+", result.stderr)
    assert run("import", folder, *advised[0].split()).exit_code == 0
    assert len(list_imported(fake)) == 2


def test_a_dry_run_draws_the_boxes_and_sends_nothing(run, fake, tmp_path):
    folder = BNF.write(tmp_path / "press")
    sheet = tmp_path / "out" / "sheet.html"
    result = run("import", folder, "--dry-run", "--sheet", sheet)
    assert result.exit_code == 0, result.output
    assert f"{sheet}: The first page, with 2 pictures. Nothing was imported." in result.stdout
    assert not list_imported(fake)
    page = sheet.read_text()
    assert '<rect class="picture" x="100" y="100" width="400" height="300">' in page
    assert page.count('<rect class="advertisement"') == 2  # with the key
    assert "PAG_1_IL1: La grève" in page
    assert "Le Journal illustré, 1891-10-10, page [1]" in page
    assert "data:image/jpeg;base64," in page
    assert "<script" not in page


def test_a_dry_run_shows_boxes_that_do_not_fit(run, fake, tmp_path):
    folder = BNL.write(tmp_path / "press")
    text = folder / "text" / "0001.xml"
    text.write_text(text.read_text().replace('ID="P1"', 'ID="P1" WIDTH="500" HEIGHT="750"'))
    sheet = tmp_path / "sheet.html"
    result = run("import", folder, "--dry-run", "--sheet", sheet)
    assert result.exit_code == 1
    assert "lie outside of their pages" in result.stderr
    assert "lie outside of their pages" in sheet.read_text()
    assert not list_imported(fake)


def test_a_dry_run_needs_pages(run, tmp_path):
    (tmp_path / "manifest.csv").write_text("image_id,file\n")
    result = run("import", tmp_path, "--dry-run")
    assert result.exit_code == 2
    assert "--pages" in result.stderr
    result = run("import", tmp_path, "--sheet", tmp_path / "x.html")
    assert "--sheet is the file of --dry-run" in result.stderr
