"""Files that take their place once they are written."""

from __future__ import annotations

import os
import tempfile

import pytest

from halftone.core import files


def text(path):
    with files.writing(path) as file:
        file.write("new")


def content(path):
    files.replace_file(path, b"new")


def json(path):
    files.write_json(path, {"a": 1})


@pytest.mark.parametrize("write", [text, content, json])
def test_a_folder_that_cannot_be_written_is_told_by_the_file_that_was_asked_for(
    write, tmp_path, monkeypatch
):
    def refused(**options):
        raise PermissionError(13, os.strerror(13), str(tmp_path / f"{options['prefix']}x"))

    # Root may write anywhere.
    monkeypatch.setattr(tempfile, "mkstemp", refused)
    with pytest.raises(PermissionError) as caught:
        write(tmp_path / "h.html")
    assert caught.value.filename == str(tmp_path / "h.html")
    assert caught.value.strerror == "Permission denied"


@pytest.mark.parametrize("write", [text, content, json])
def test_a_path_that_cannot_be_taken_is_named_and_nothing_stays_behind(write, tmp_path):
    (tmp_path / "taken").mkdir()
    for path, error in (
        (tmp_path / "taken", IsADirectoryError),
        (tmp_path / "gone" / "h.html", FileNotFoundError),
    ):
        with pytest.raises(error) as caught:
            write(path)
        assert (caught.value.filename, caught.value.filename2) == (str(path), None)
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
