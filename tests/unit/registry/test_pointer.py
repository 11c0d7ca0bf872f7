"""The pointer's files, read and replaced."""

from __future__ import annotations

import json

from halftone.registry.pointer import Pointer, PointerFiles


def test_a_pointer_is_read_as_it_was_written(tmp_path):
    pointers = PointerFiles(tmp_path)
    assert not pointers.exists()
    assert pointers.read() is None
    for pointer in (Pointer("a/1"), Pointer("a/3", ("a/2", "a/1")), Pointer("a/2", ("a/1",))):
        pointers.write(pointer)
        assert pointers.read() == pointer
    assert pointers.exists()
    values = json.loads((tmp_path / "active").read_text())
    assert values == {"active": "a/2", "previous": "a/1", "before": ["a/1"]}


def test_a_pointer_that_an_earlier_release_wrote(tmp_path):
    for values, pointer in (
        ({"active": "a/1", "previous": None}, Pointer("a/1")),
        ({"active": "a/2", "previous": "a/1"}, Pointer("a/2", ("a/1",))),
        ({"active": "a/3", "previous": "a/1", "before": ["a/2"]}, Pointer("a/3", ("a/1",))),
    ):
        (tmp_path / "active").write_text(json.dumps(values))
        assert PointerFiles(tmp_path).read() == pointer


def test_the_past_of_a_pointer_is_bounded():
    pointer = Pointer("a/0")
    for number in range(1, 500):
        pointer = pointer.move_to(f"a/{number}")
    assert len(pointer.before) == 100
    assert pointer.previous == "a/498"


def test_needed_versions_are_written_only_when_they_change(tmp_path):
    pointers = PointerFiles(tmp_path / "models")
    assert pointers.read_needed() == ()
    pointers.write_needed(["a/1", "b/2"])
    assert pointers.read_needed() == ("a/1", "b/2")
    inode = (tmp_path / "models" / "needed").stat().st_ino
    pointers.write_needed(("a/1", "b/2"))
    assert (tmp_path / "models" / "needed").stat().st_ino == inode


def test_a_damaged_list_of_needed_versions_is_empty(tmp_path):
    for content in ("", "[]", '{"versions": 3}', '{"versions": [1, null]}'):
        (tmp_path / "needed").write_text(content)
        assert PointerFiles(tmp_path).read_needed() == ()
