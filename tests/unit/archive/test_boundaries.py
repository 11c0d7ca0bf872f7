"""Files inside and outside the directories that data sets may use."""

from halftone.archive.boundaries import Boundary


def test_links_do_not_lead_out_of_the_boundary(tmp_path):
    inside, outside = tmp_path / "in", tmp_path / "out"
    for path in (inside, outside):
        path.mkdir()
        (path / "a.jpg").touch()
    (inside / "file.jpg").symlink_to(outside / "a.jpg")
    (inside / "folder").symlink_to(outside)
    (outside / "back.jpg").symlink_to(inside / "a.jpg")
    boundary = Boundary([inside])
    for _ in range(2):
        assert boundary.has(inside / "a.jpg")
        assert boundary.has(outside / "back.jpg")
        assert boundary.has(inside / "folder" / "back.jpg")
        assert boundary.has(outside / ".." / "in" / "a.jpg")
        for path in ("file.jpg", "folder/a.jpg", "../out/a.jpg", ".."):
            assert not boundary.has(inside / path)
    assert Boundary([]).has(outside)
