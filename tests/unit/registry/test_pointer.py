"""The pointer's files, read and replaced."""

from __future__ import annotations

from halftone.registry.pointer import Pointer, PointerFiles


def test_a_pointer_is_read_as_it_was_written(tmp_path):
    pointers = PointerFiles(tmp_path)
    assert not pointers.exists()
    assert pointers.read() is None
    for pointer in (Pointer("a/1", None), Pointer("a/2", "a/1")):
        pointers.write(pointer)
        assert pointers.read() == pointer
    assert pointers.exists()
    assert (tmp_path / "active").read_text() == '{\n  "active": "a/2",\n  "previous": "a/1"\n}\n'


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
