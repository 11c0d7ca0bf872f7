"""The judge is trained by one command, from a pool, archives, and folders without reprints."""

from __future__ import annotations

import pytest

from halftone.evaluation.judging import __main__ as command
from halftone.evaluation.judging import samples
from halftone.matching.looks.judge import Judge
from tests.support.pictures import printed_archive


@pytest.fixture
def folders(tmp_path):
    made = {name: tmp_path / name for name in ("pool", "archive", "book")}
    for folder in made.values():
        folder.mkdir()
    printed_archive.write_pool(made["pool"], count=12)
    printed_archive.write_archive(made["archive"])
    printed_archive.write_different(made["book"])
    return made


def test_the_true_pairs_of_an_archive_are_seen_in_several_ways(folders):
    (pair,) = samples.see_archive(folders["archive"])
    assert pair.same
    assert pair.group == "again"
    assert len(pair.variants) == 4


def test_pictures_of_a_book_differ_unless_somebody_looked(folders):
    listed = {frozenset(("one", "three")): True}
    by_label = list(samples.see_different(folders["book"], corrections={}))
    corrected = list(samples.see_different(folders["book"], corrections=listed))
    assert len(by_label) == len(corrected) >= 1
    assert not any(pair.same for pair in by_label)
    assert sum(pair.same for pair in corrected) == 1


def test_the_command_writes_a_judge(folders, tmp_path, capsys):
    out = tmp_path / "judge.npz"
    command.main(
        [
            *(str(folders["pool"]), "--out", str(out)),
            *("--archive", str(folders["archive"]), "--different", str(folders["book"])),
            *("--pairs", "0", "--repeats", "0", "--printings", "2", "--epochs", "1"),
            *("--folds", "2"),
        ]
    )
    Judge.from_bytes(out.read_bytes())
    printed = capsys.readouterr().out
    assert "pairs, " in printed
    assert "epoch 1: loss" in printed
    assert printed.count("fold ") == 2


def test_a_pool_that_is_too_small_for_furniture_is_said(folders, tmp_path, capsys):
    out = tmp_path / "judge.npz"
    with pytest.raises(SystemExit):
        command.main([str(folders["pool"]), "--out", str(out)])
    assert "has 12 pictures; it takes 180" in capsys.readouterr().err
    assert not out.exists()
