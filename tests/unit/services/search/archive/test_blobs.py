"""The blob store: on a disk, on an object store, and when there is no room."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
import uuid

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from halftone.core import errors
from halftone.services.search.archive.blobs import Blobs


def sha(content):
    return hashlib.sha256(content).hexdigest()


@pytest.fixture(params=["directory", "memory"])
def blobs(request, tmp_path):
    if request.param == "directory":
        return Blobs(str(tmp_path / "blobs"))
    return Blobs(f"memory://{uuid.uuid4().hex}")


def test_what_was_put_is_got(blobs):
    content = b"picture" * 1000
    with pytest.raises(errors.NotFound):
        blobs.get(sha(content))
    blobs.put(content, sha256=sha(content))
    blobs.put(content, sha256=sha(content))
    assert blobs.get(sha(content)) == content


def test_thumbnails_go_with_their_image(blobs):
    blobs.put(b"picture", sha256=sha(b"picture"))
    with pytest.raises(errors.NotFound):
        blobs.get_thumbnail(sha(b"picture"))
    blobs.put_thumbnail(b"small", sha256=sha(b"picture"))
    assert blobs.get_thumbnail(sha(b"picture")) == b"small"
    blobs.delete(sha(b"picture"))
    blobs.delete(sha(b"picture"))
    for missing in (blobs.get, blobs.get_thumbnail):
        with pytest.raises(errors.NotFound):
            missing(sha(b"picture"))


def test_features_are_replaced_and_go_with_their_image(blobs):
    blobs.put(b"picture", sha256=sha(b"picture"))
    with pytest.raises(errors.NotFound):
        blobs.get_features(sha(b"picture"))
    blobs.put_features(b"one", sha256=sha(b"picture"))
    # Of the same length, too: what is there may be damaged.
    blobs.put_features(b"two", sha256=sha(b"picture"))
    assert blobs.get_features(sha(b"picture")) == b"two"
    assert blobs.get(sha(b"picture")) == b"picture"
    assert blobs.has(sha(b"picture"))
    blobs.delete(sha(b"picture"))
    assert not blobs.has(sha(b"picture"))
    with pytest.raises(errors.NotFound):
        blobs.get_features(sha(b"picture"))


def test_damaged_bytes_are_noticed(tmp_path):
    blobs = Blobs(str(tmp_path))
    blobs.put(b"picture", sha256=sha(b"picture"))
    (path,) = (path for path in tmp_path.rglob("*") if path.is_file())
    path.write_bytes(b"another")
    with pytest.raises(errors.DataLoss):
        blobs.get(sha(b"picture"))


def test_a_cut_off_file_is_replaced(tmp_path):
    blobs = Blobs(str(tmp_path))
    blobs.put(b"picture", sha256=sha(b"picture"))
    (path,) = (path for path in tmp_path.rglob("*") if path.is_file())
    path.write_bytes(b"pict")
    blobs.put(b"picture", sha256=sha(b"picture"))
    assert blobs.get(sha(b"picture")) == b"picture"


def test_damaged_bytes_of_the_same_length_are_replaced(tmp_path):
    blobs = Blobs(str(tmp_path))
    blobs.put(b"picture", sha256=sha(b"picture"))
    (path,) = (path for path in tmp_path.rglob("*") if path.is_file())
    path.write_bytes(b"pictuse")
    blobs.put(b"picture", sha256=sha(b"picture"))
    assert blobs.get(sha(b"picture")) == b"picture"


def test_a_picture_is_whole_until_it_is_gone_cut_off_or_read_as_damaged(blobs):
    def whole():
        return blobs.is_intact(sha(b"picture"), size=7)

    assert not whole()
    blobs.put(b"picture", sha256=sha(b"picture"))
    assert whole()
    blobs.put(b"pict", sha256=sha(b"picture"))
    assert not whole()
    blobs.put(b"pictuse", sha256=sha(b"picture"))
    # Only its length is looked at, until somebody has read it.
    assert whole()
    with pytest.raises(errors.DataLoss):
        blobs.get(sha(b"picture"))
    assert not whole()
    blobs.put(b"picture", sha256=sha(b"picture"))
    assert whole()
    blobs.delete(sha(b"picture"))
    assert not whole()


def test_what_was_made_of_a_picture_goes_without_it(blobs):
    blobs.put(b"picture", sha256=sha(b"picture"))
    blobs.put_thumbnail(b"small", sha256=sha(b"picture"))
    blobs.put_features(b"points", sha256=sha(b"picture"))
    blobs.delete_made(sha(b"picture"))
    assert blobs.get(sha(b"picture")) == b"picture"
    for missing in (blobs.get_thumbnail, blobs.get_features):
        with pytest.raises(errors.NotFound):
            missing(sha(b"picture"))


def test_what_cannot_be_deleted_is_said(tmp_path):
    blobs = Blobs(str(tmp_path))
    blobs.put(b"picture", sha256=sha(b"picture"))
    (path,) = (path for path in tmp_path.rglob("*") if path.is_file())
    path.unlink()
    path.mkdir()
    with pytest.raises(errors.DataLoss, match="in the way"):
        blobs.delete(sha(b"picture"))


class _Foreign(MemoryFileSystem):
    """Raises what the library of some object store raises."""

    protocol = "foreign"

    def _fail(self, *_args, **_kwargs):
        raise RuntimeError("no credentials")

    pipe_file = cat_file = rm_file = info = exists = _fail


def test_errors_of_other_libraries_stop_here():
    fsspec.register_implementation("foreign", _Foreign, clobber=True)
    blobs = Blobs("foreign://bucket")
    image = sha(b"picture")
    for call in (
        lambda: blobs.put(b"picture", sha256=image),
        lambda: blobs.get(image),
        lambda: blobs.has(image),
        lambda: blobs.is_intact(image, size=7),
        lambda: blobs.delete(image),
    ):
        with pytest.raises(errors.Unavailable, match="no credentials"):
            call()


def test_the_same_bytes_from_many_threads(tmp_path):
    blobs = Blobs(str(tmp_path))
    content = b"picture" * 100_000
    threads = [
        threading.Thread(target=blobs.put, args=(content,), kwargs={"sha256": sha(content)})
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert blobs.get(sha(content)) == content
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1


def test_without_room_nothing_is_left_behind(tmp_path):
    """The limit on a file's size stands in for a full disk; both end a write in its middle."""
    program = (
        "import resource, sys, hashlib\n"
        "from halftone.core import errors\n"
        "from halftone.services.search.archive.blobs import Blobs\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "content = bytes(5000)\n"
        "try: Blobs(sys.argv[1]).put(content, sha256=hashlib.sha256(content).hexdigest())\n"
        "except errors.StorageFull as error: print(error.reason)\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, check=True
    )
    assert answer.stdout.decode().strip() == "STORAGE_FULL"
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_directory_that_cannot_be_written(tmp_path):
    (tmp_path / "blobs").write_text("a file where the directory should be")
    with pytest.raises(errors.Unavailable, match="image store"):
        Blobs(str(tmp_path / "blobs")).put(b"x", sha256=sha(b"x"))


def test_only_hashes_name_blobs(tmp_path):
    for name in ("", "../../etc/passwd", "A" * 64):
        with pytest.raises(errors.Internal):
            Blobs(str(tmp_path)).get(name)
