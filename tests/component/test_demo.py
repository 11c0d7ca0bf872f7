"""`halftone demo` as a user runs it."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys

import pytest
from PIL import Image


def demo(directory, *arguments):
    command = [
        sys.executable,
        "-m",
        "halftone.cli",
        "demo",
        "--directory",
        directory,
        *arguments,
    ]
    return subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False, timeout=280
    )


def check_sheets(directory):
    page = (directory / "contact-sheet.html").read_text()
    assert page.count("<section>") == 3
    assert "://" not in page  # base64 may hold the letters of http
    with Image.open(directory / "contact-sheet.png") as sheet:
        sheet.load()
    assert (directory / "contact-sheet.png").stat().st_size < 400_000


@pytest.mark.soak
@pytest.mark.slow
def test_the_sample_archive(tmp_path):
    first = demo(tmp_path)
    assert first.returncode == 0, first.stderr
    assert re.search(r"sample: \d+ created, 0 unchanged, 0 updated, 0 rejected", first.stdout)
    # The truth is known: each of the three questions finds the same picture first.
    tables = first.stdout.split("rank")[1:]
    assert len(tables) == 3
    for table in tables:
        assert "same picture" in table.splitlines()[1], first.stdout
    assert re.search("same picture.* mirrored", tables[2])
    check_sheets(tmp_path)
    assert not (tmp_path / "data" / "stack.json").exists()
    # What it advises works as it stands, without an activated environment.
    up, search = (line.strip() for line in first.stderr.splitlines()[-2:])
    assert up.endswith(f" up --data {tmp_path / 'data'}")
    assert search.endswith(f"astronaut.jpg --data {tmp_path / 'data'}")
    program = shlex.split(up.removesuffix(f" up --data {tmp_path / 'data'}"))
    assert shlex.split(search)[: len(program)] == program
    version = [*program, "--version"]
    shown = subprocess.run(version, capture_output=True, text=True, check=True, timeout=120)
    assert "halftone, version" in shown.stdout


@pytest.mark.soak
def test_an_archive_of_ones_own(tmp_path, press):
    """Its truth is not known."""
    own = tmp_path / "own"
    shutil.copytree(press, own)
    rows = (own / "manifest.csv").read_text().splitlines(keepends=True)
    (own / "manifest.csv").write_text("".join(rows[:25]))
    # Parts cannot be cut of pictures as small as these, and there are more of them than of others.
    for number in range(30):
        tiny = Image.new("L", (9, 9), number).resize((9, 9))
        tiny.putpixel((4, 4), 255)
        tiny.save(own / f"{number}.png")
        with (own / "manifest.csv").open("a") as manifest:
            manifest.write(f"tiny {number},{number}.png" + "," * (rows[0].count(",") - 1) + "\n")
    shown = demo(tmp_path, "--archive", own)
    assert shown.returncode == 0, shown.stderr
    assert re.search("own: 54 created, 0 unchanged, 0 updated, 0 rejected", shown.stdout)
    assert len(shown.stdout.split("rank")) == 4
    assert "same picture" not in shown.stdout
    check_sheets(tmp_path)
