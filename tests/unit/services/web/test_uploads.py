"""How long and how many dropped pictures are kept."""

from __future__ import annotations

import asyncio
import io
import os
import threading

import pytest
from PIL import Image

from halftone.core import errors
from halftone.imaging.images import Region
from halftone.services.web.uploads import Uploads, make_token


def picture(shade: int, *, size=(64, 48), kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("L", size, shade).save(buffer, kind)
    return buffer.getvalue()


class Clock:
    def __init__(self):
        self.now = 1_000_000.0

    def __call__(self):
        return self.now


def make(directory, clock, **limits):
    limits = {"max_bytes": 10**6, "max_seconds": 100.0, "max_pixels": 10**6, **limits}
    return Uploads(directory, now=clock, **limits)


@pytest.fixture
def clock():
    return Clock()


def touch(directory, content, when):
    os.utime(directory / f"{make_token(content)}.picture", (when, when))


def test_a_picture_is_found_again_with_its_size(tmp_path, clock):
    kept = make(tmp_path, clock).keep(picture(10))
    found = make(tmp_path, clock).get(kept.token)
    assert (found.content, found.width, found.height) == (picture(10), 64, 48)
    preview = Image.open(io.BytesIO(make(tmp_path, clock).read_preview(kept.token)))
    assert preview.format == "JPEG"


def test_pictures_that_nobody_looked_at_go(tmp_path, clock):
    uploads = make(tmp_path, clock)
    old, new = picture(1), picture(2)
    uploads.keep(old)
    touch(tmp_path, old, clock.now - 101)
    uploads.keep(new)
    uploads.remove_expired()
    with pytest.raises(errors.NotFound):
        uploads.get(make_token(old))
    assert uploads.get(make_token(new))
    assert not list(tmp_path.glob(f"{make_token(old)}*"))


def test_looking_at_a_picture_keeps_it(tmp_path, clock):
    uploads = make(tmp_path, clock, max_seconds=10_000.0)
    uploads.keep(picture(1))
    touch(tmp_path, picture(1), clock.now - 9_000)
    uploads.get(make_token(picture(1)))
    clock.now += 9_000
    uploads.remove_expired()
    assert uploads.get(make_token(picture(1)))


def test_the_ones_not_looked_at_for_longest_make_room(tmp_path, clock):
    contents = [picture(shade) for shade in range(4)]
    # Each picture takes a block of the disk, and so does its preview.
    uploads = make(tmp_path, clock, max_bytes=4 * 4096)
    for place, content in enumerate(contents):
        uploads.keep(content)
        touch(tmp_path, content, clock.now - 50 + place)
    kept = {path.stem for path in tmp_path.glob("*.picture")}
    assert kept == {make_token(content) for content in contents[2:]}


def test_previews_count_too(tmp_path, clock):
    """Small files may have large previews."""
    contents = [picture(shade, size=(1000, 900)) for shade in range(3)]
    uploads = make(tmp_path, clock, max_bytes=40_000)
    for place, content in enumerate(contents):
        uploads.keep(content)
        touch(tmp_path, content, clock.now - 50 + place)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 40_000
    assert sum(map(len, contents)) < 40_000
    # Another process counts what it finds.
    uploads = make(tmp_path, clock, max_bytes=40_000)
    uploads.keep(picture(9, size=(1000, 900)))
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 40_000


async def test_a_crowd_of_large_pictures_keeps_nobody_from_reading_a_page(tmp_path, clock):
    uploads = make(tmp_path, clock)
    held = threading.Event()
    waiting = [asyncio.ensure_future(uploads.run(held.wait, 60)) for _ in range(100)]
    try:
        kept = await asyncio.to_thread(uploads.keep, picture(1))
        assert await asyncio.to_thread(uploads.get, kept.token)
    finally:
        held.set()
        await asyncio.gather(*waiting)
        uploads.close()


def test_a_full_disk_takes_no_picture(tmp_path, clock):
    with pytest.raises(errors.StorageFull):
        make(tmp_path, clock, min_free_bytes=10**18).keep(picture(1))


def test_a_bomb_is_refused_by_its_header(tmp_path, clock):
    with pytest.raises(errors.ImageRejected):
        make(tmp_path, clock, max_pixels=1000).keep(picture(1))


def test_a_part_is_cut_out_in_full_detail(tmp_path, clock):
    uploads = make(tmp_path, clock)
    token = uploads.keep(picture(1, size=(400, 300))).token
    part = uploads.cut_out(token, region=Region(10, 20, 200, 100), longest_side=100)
    assert Image.open(io.BytesIO(part)).size == (100, 50)
    with pytest.raises(errors.ImageRejected):
        uploads.cut_out(token, region=Region(390, 0, 200, 100), longest_side=100)


@pytest.mark.parametrize(
    "token", ["", "../../secret", "A" * 32, "a" * 31, "a" * 33, "a" * 32 + "\n"]
)
def test_what_is_no_token_is_not_looked_for(tmp_path, clock, token):
    with pytest.raises(errors.NotFound):
        make(tmp_path, clock).get(token)
