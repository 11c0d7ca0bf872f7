"""Corrected labels: what a line says, and what is refused."""

from __future__ import annotations

import pytest

from halftone.core import errors
from halftone.evaluation.corrections import correct, read_corrections

HEAD = "a,b,same,seen_by,date,what\n"


def write(folder, *lines: str):
    path = folder / "corrections.csv"
    path.write_text(HEAD + "\n".join(lines), encoding="utf-8")
    return path


def test_a_correction_holds_both_ways_and_for_its_pair_alone(tmp_path):
    path = write(tmp_path, "one,two,yes,A. Archivist,2024-05-01,the same etching")
    by = read_corrections(path)
    assert correct("two", "one", label=False, by=by)
    assert not correct("one", "three", label=False, by=by)
    assert correct("one", "three", label=True, by=by)


def test_a_pair_can_be_called_different(tmp_path):
    by = read_corrections(write(tmp_path, "one,two,no,A. Archivist,2024-05-01,other states"))
    assert not correct("one", "two", label=True, by=by)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("one,two,yes,,2024-05-01,what", "line 2: seen_by missing"),
        ("one,two,perhaps,A.,2024-05-01,what", "line 2: `same` is not yes or no"),
        ("one,one,yes,A.,2024-05-01,what", "line 2: it names one picture twice"),
        ("one,two", "line 2: same, seen_by, date, what missing"),
    ],
)
def test_a_line_that_says_too_little_is_refused(tmp_path, line, says):
    with pytest.raises(errors.InvalidArgument, match=says):
        read_corrections(write(tmp_path, line))


def test_a_file_that_is_no_table_is_refused(tmp_path):
    path = tmp_path / "corrections.csv"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(errors.InvalidArgument, match="cannot be read"):
        read_corrections(path)
