"""Files that take their place once they are written."""

from __future__ import annotations

import concurrent.futures
import csv
import errno
import os
import resource
import tempfile
import threading
from pathlib import Path

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


def read_beneath(root, inside):
    with os.fdopen(files.open_beneath(root, Path(inside)), "rb") as file:
        return file.read()


def test_a_file_is_opened_below_its_root_and_through_no_link(tmp_path):
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "a" / "b").mkdir(parents=True)
    outside.mkdir()
    (root / "a" / "b" / "file").write_bytes(b"inside")
    (outside / "file").write_bytes(b"outside")
    (root / "folder").symlink_to(outside)
    (root / "a" / "link").symlink_to(outside / "file")
    assert read_beneath(root, "a/b/file") == b"inside"
    for inside in ("folder/file", "a/link"):
        with pytest.raises(OSError, match="symbolic link") as raised:
            read_beneath(root, inside)
        assert raised.value.errno == errno.ELOOP
    for inside in ("../outside/file", str(outside / "file"), "a/b/none", "a/b/file/more"):
        with pytest.raises(OSError, match=r"\[Errno"):
            read_beneath(root, inside)


def test_a_folder_that_is_swapped_for_a_link_leads_nowhere_else(tmp_path):
    """At whatever moment: checking first and opening afterwards reads the file outside."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    for folder, content in ((root / "a", b"inside"), (outside, b"outside")):
        folder.mkdir(parents=True)
        (folder / "file").write_bytes(content)
    stop = threading.Event()

    def swap():
        while not stop.is_set():
            (root / "a").rename(tmp_path / "aside")
            (root / "a").symlink_to(outside)
            (root / "a").unlink()
            (tmp_path / "aside").rename(root / "a")

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        swapping = pool.submit(swap)
        read, refused = 0, 0
        try:
            while read < 200 or refused < 200:
                try:
                    assert read_beneath(root, "a/file") == b"inside"
                    read += 1
                except OSError:
                    refused += 1
        finally:
            stop.set()
        swapping.result()


@pytest.fixture
def small_disk():
    """Let no file of this process grow beyond 4,096 bytes, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("exists", [True, False])
def test_a_full_disk_leaves_no_part_of_a_file_and_names_it(tmp_path, small_disk, exists):
    path = tmp_path / "sheets" / "hits.html"
    if exists:
        files.with_folders(path).write_text("old")
    with pytest.raises(OSError, match=r"large|space") as raised:
        files.write_output(path, b"<p>" * 100_000)
    assert raised.value.filename == str(path)
    assert [each.name for each in path.parent.iterdir()] == ["hits.html"] * exists
    assert not exists or path.read_text() == "old"
    with pytest.raises(OSError, match=r"large|space") as raised, files.writing(path) as file:
        file.write("a row of a table\n" * 10_000)
    assert raised.value.filename == str(path)
    assert [each.name for each in path.parent.iterdir()] == ["hits.html"] * exists


def test_output_goes_through_links_and_to_what_is_no_file(tmp_path):
    (tmp_path / "there").mkdir()
    link = tmp_path / "link.html"
    link.symlink_to(tmp_path / "there" / "hits.html")
    files.write_output(link, b"page")
    assert (tmp_path / "there" / "hits.html").read_bytes() == b"page"
    assert link.is_symlink()
    files.write_output(Path(os.devnull), b"page")
    assert Path(os.devnull).is_char_device()


def test_a_table_for_spreadsheets_begins_with_a_mark(tmp_path):
    with files.writing(tmp_path / "table.csv", for_spreadsheets=True) as file:
        csv.writer(file).writerow(["Zürich"])
    assert (tmp_path / "table.csv").read_bytes() == b"\xef\xbb\xbfZ\xc3\xbcrich\r\n"
