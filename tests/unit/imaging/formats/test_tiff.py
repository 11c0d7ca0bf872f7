"""Directories of TIFF files: pages, ends, and big-endian BigTIFF, which Pillow does not read."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image

from halftone.imaging.formats import tiff, tiff_pages
from tests.support.pictures.image_corpus import GOOD, big_endian_bigtiff, grey, pages, saved


def save_pages(*images, **options):
    first, *others = images
    return saved(first, "TIFF", save_all=True, append_images=others, **options)


@pytest.mark.parametrize("big", [False, True])
def test_pages_are_counted(big):
    assert tiff_pages.count_pages(save_pages(grey(), grey(), grey(), big_tiff=big)) == 3
    assert tiff_pages.count_pages(saved(grey(), "TIFF", big_tiff=big)) == 1


@pytest.mark.parametrize("name", [name for name in GOOD if "pages" not in name])
def test_most_files_have_one_page(name):
    assert tiff_pages.count_pages(GOOD[name][0]()) == 1


@pytest.mark.parametrize(("tag", "kind"), [(254, 1), (254, 4), (255, 2)])
def test_smaller_copies_and_masks_are_no_pages(tag, kind):
    content = io.BytesIO()
    small = Image.new("L", (20, 20))
    small.encoderinfo = {"tiffinfo": {tag: kind}}
    grey().save(content, "TIFF", save_all=True, append_images=[small, grey()])
    assert tiff_pages.count_pages(content.getvalue()) == 2


def test_pages_behind_damage_and_in_circles_are_not_counted():
    content = pages()
    (directory,) = struct.unpack_from("<L", content, 4)
    (count,) = struct.unpack_from("<H", content, directory)
    link = directory + 2 + 12 * count
    for target, number in ((directory, 1), (2**32 - 1, 1), (0, 1)):
        changed = bytearray(content)
        struct.pack_into("<L", changed, link, target)
        assert tiff_pages.count_pages(bytes(changed)) == number
    for length in range(0, len(content), 97):
        assert 1 <= tiff_pages.count_pages(content[:length]) <= 3


def test_a_listing_says_whether_it_is_complete():
    content = pages()
    assert tiff_pages.read_pages(content).complete
    (directory,) = struct.unpack_from("<L", content, 4)
    (count,) = struct.unpack_from("<H", content, directory)
    for target in (directory, len(content), 2**32 - 1):
        changed = bytearray(content)
        struct.pack_into("<L", changed, directory + 2 + 12 * count, target)
        assert not tiff_pages.read_pages(bytes(changed)).complete
    # A chain of empty directories: a number of tags, and a link to the next.
    for number, complete in ((10_000, True), (10_001, False)):
        chain = [struct.pack("<HL", 0, 8 + 6 * (n + 1)) for n in range(number - 1)]
        listed = tiff_pages.read_pages(b"II*\0" + struct.pack("<L", 8) + b"".join(chain) + bytes(6))
        assert (len(listed.full), listed.complete) == (10_000, complete)


def test_a_file_that_ends_in_or_before_its_directory_is_cut():
    for content in (saved(grey(), "TIFF"), saved(grey(), "TIFF", big_tiff=True)):
        assert not tiff.ends_in_directory(content)
        assert tiff.ends_in_directory(content[:9])
    content = big_endian_bigtiff()
    assert not tiff.ends_in_directory(content)
    assert tiff.ends_in_directory(content[: len(content) // 2])
    assert tiff.ends_in_directory(content[:-30])
    far = bytearray(content)
    far[8:16] = b"\xff" * 8
    assert tiff.ends_in_directory(bytes(far))


def test_a_bigtiff_becomes_a_classic_tiff_with_the_same_pixels():
    content = tiff.make_classic(big_endian_bigtiff(depth=16))
    assert content.startswith(b"MM\0*")
    picture = Image.open(io.BytesIO(content))
    assert (picture.mode, picture.size) == ("I;16B", grey().size)
    assert (np.asarray(picture) // 257 == np.asarray(grey())).all()


def test_tags_that_name_the_same_bytes_do_not_grow_the_file():
    """4,000 tags, each of which claims a megabyte of the file as its own."""
    entries = b"".join(
        struct.pack(">HHQQ", 40_000 + number, 1, 2**20, 16) for number in range(4000)
    )
    head = b"MM\0+" + struct.pack(">HHQ", 8, 0, 16 + 2**20)
    content = head + bytes(2**20) + struct.pack(">Q", 4000) + entries + bytes(8)
    with pytest.raises(ValueError, match="longer than the file"):
        tiff.make_classic(content)


class Counted(bytes):
    """The content of a file that counts how often its length is asked for: once for each look."""

    looks = 0

    def __len__(self):
        self.looks += 1
        return super().__len__()


def test_directories_that_overlap_are_not_read_to_their_ends():
    """A few kilobytes with 500 directories of 4,096 tags each, all of them numbered 0."""
    number, start = 500, 8
    starts = [start + 4 * index for index in range(number)]
    counts = struct.pack("<L", 4096) * number
    links = struct.pack(f"<{number}L", *starts[1:], 0)
    gap = 2 + 12 * 4096 - len(counts)
    head = b"II*\0" + struct.pack("<L", start)
    content = Counted(head + counts + b"\0" * gap + links)
    assert tiff_pages.count_pages(content) == number
    assert content.looks < 40 * number
