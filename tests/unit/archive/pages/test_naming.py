"""Image ids of pages and of the pictures on them."""

from __future__ import annotations

from halftone.archive.pages import Block, Box, Kind, naming


def test_scans_that_differ_by_their_suffix_keep_it(tmp_path):
    scan = tmp_path / "a" / "p.jpg"
    assert naming.make_id(scan, folder=tmp_path, ambiguous=False) == "a/p"
    assert naming.make_id(scan, folder=tmp_path, ambiguous=True) == "a/p.jpg"


def test_pictures_have_the_id_of_their_block_or_a_number():
    used = set()

    def name(block_id, number):
        block = Block(id=block_id, kind=Kind.PICTURE, box=Box(0, 0, 1, 1))
        return naming.name_picture(block, number=number, used=used)

    assert name("P1_CB1", 1) == "P1_CB1"
    assert name("", 2) == "b2"
    assert name("P1_CB1", 3) == "b3"
    assert name("a/b ../é", 4) == "a_b_.._é"
    assert name("b5", 5) == "b5"
    assert name("..", 5) == "b5_"
