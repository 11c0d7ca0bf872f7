"""What belongs together, and what is said about data that is odd."""

import shutil

import numpy as np
import pytest
from PIL import Image

from halftone.services.trainer.data.dataset import read_scenes
from halftone.vision.preprocessing import Preprocessing


@pytest.fixture
def make(tmp_path):
    """Writes a manifest of (id, file, group); each file gets pixels of its own."""
    generator = np.random.default_rng(0)

    def write(*rows: tuple[str, str, str], column: str = "group", journals=None):
        lines = [f"image_id,file,{column},journal"]
        for image_id, file, group in rows:
            if not (tmp_path / file).exists():
                pixels = generator.integers(0, 255, (30, 40), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / file)
            journal = (journals or {}).get(image_id, "")
            lines.append(f"{image_id},{file},{group},{journal}")
        (tmp_path / "manifest.csv").write_text("\n".join(lines))
        return tmp_path

    return write


def read(folder, **settings):
    return read_scenes([folder], preprocessing=Preprocessing(size=24), **settings)


def kinds(data):
    return sorted(finding.kind for finding in data.findings)


def matches(data):
    return {(data.ids[a], data.ids[b]) for a, b in data.truth.matches}


def test_groups_and_pictures_on_their_own(make):
    data = read(make(("a", "a.png", "x"), ("b", "b.png", "x"), ("c", "c.png", "")))

    assert data.ids == ("a", "b", "c")
    assert data.groups == ("x", "x", "")
    assert data.pixels.shape == (3, 24, 24)
    assert len(data.classes) == 1
    assert matches(data) == {("a", "b")}
    assert data.findings == ()


def test_groups_that_share_an_image_stay_together_and_are_no_class(make):
    data = read(
        make(
            ("a", "a.png", "x"),
            ("b", "b.png", "x"),
            ("b", "b.png", "y"),
            ("c", "c.png", "y"),
            ("d", "d.png", "z"),
            ("e", "e.png", "z"),
        )
    )

    assert kinds(data) == ["image in two groups", "repeated name"]
    assert len(set(data.families[:3])) == 1
    assert [data.names[family] for family in data.classes] == ["z"]
    assert matches(data) == {("a", "b"), ("b", "c"), ("d", "e")}
    assert [tuple(pair) for pair in data.truth.ignored] == [(0, 2)]  # neither alike nor different


def test_files_with_the_same_bytes_are_used_once_and_join_their_groups(make, tmp_path):
    folder = make(
        ("a", "a.png", "x"), ("b", "b.png", "x"), ("c", "c.png", "y"), ("d", "d.png", "y")
    )
    shutil.copy(tmp_path / "b.png", tmp_path / "c.png")

    data = read(folder)

    assert data.ids == ("a", "b", "d")
    assert kinds(data) == ["image in two groups", "same bytes"]
    assert len(set(data.families)) == 1
    assert matches(data) == {("a", "b"), ("b", "d")}


def test_broken_files_are_reported_and_groups_of_one_are_no_groups(make, tmp_path):
    folder = make(("a", "a.png", "x"), ("b", "b.png", "x"), ("c", "c.png", "y"))
    (tmp_path / "b.png").write_bytes(b"no picture")

    data = read(folder)

    assert data.ids == ("a", "c")
    assert kinds(data) == ["broken file", "group of one", "group of one"]
    assert data.groups == ("", "")


def test_pairs_within_a_journal_are_left_out_unless_there_are_no_others(make):
    rows = (("a", "a.png", "x"), ("b", "b.png", "x"), ("c", "c.png", "x"))

    across = read(make(*rows, journals={"a": "M", "b": "M", "c": "N"}))
    within = read(make(*rows, journals={"a": "M", "b": "M", "c": "M"}))

    assert matches(across) == {("a", "c"), ("b", "c")}
    assert [tuple(pair) for pair in across.truth.ignored] == [(0, 1)]
    assert matches(within) == {("a", "b"), ("a", "c"), ("b", "c")}


def test_a_selection_keeps_what_belongs_together(make):
    data = read(
        make(
            ("a", "a.png", ""),
            ("b", "b.png", "x"),
            ("c", "c.png", "x"),
            ("c", "c.png", "y"),
            ("d", "d.png", "y"),
        )
    )

    chosen = data.select([3, 2, 0])

    assert chosen.ids == ("d", "c", "a")
    assert matches(chosen) == {("d", "c")}
    assert chosen.groups == ("x + y", "x + y", "")
    assert np.array_equal(chosen.pixels[1], data.pixels[2])


def test_ids_and_names_of_several_data_sets_stay_apart(make, tmp_path):
    folder = make(("a", "a.png", "x"), ("b", "b.png", "x"))
    other = tmp_path / "other"
    other.mkdir()
    for number, name in enumerate("ab"):
        Image.effect_noise((40, 30), 20 + 50 * number).save(other / f"{name}.png")
    (other / "manifest.csv").write_text("image_id,file,group\na,a.png,x\nb,b.png,x\n")

    data = read_scenes([folder, other], preprocessing=Preprocessing(size=24))

    assert data.ids == ("a", "b", "a (2)", "b (2)")
    assert data.groups == ("x", "x", "x (2)", "x (2)")
