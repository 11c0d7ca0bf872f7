"""The difference map is trained by one command."""

from __future__ import annotations

import pytest

from halftone.evaluation.differing import __main__ as command
from halftone.evaluation.differing import samples
from halftone.matching.looks.difference_map import DifferenceMap
from halftone.vision.differing import UNKNOWN
from tests.support.pictures import printed_archive


def test_true_pairs_of_an_archive_count_as_faithful_and_less(tmp_path):
    printed_archive.write_archive(tmp_path)
    (printing,) = samples.see_archive(tmp_path)
    assert set(printing.changed.ravel().tolist()) == {UNKNOWN, 0}
    assert printing.weight < 1
    assert printing.group == "again"


@pytest.mark.soak
def test_the_command_writes_a_map_and_says_what_it_finds(tmp_path, capsys):
    printed_archive.write_pool(tmp_path, count=12)
    out = tmp_path / "map.npz"
    command.main([str(tmp_path), "--pictures", "4", "--epochs", "1", "--out", str(out)])
    DifferenceMap.from_bytes(out.read_bytes())
    printed = capsys.readouterr().out
    assert "printings, " in printed
    assert "epoch 1: loss" in printed


def test_a_folder_without_pictures_is_said(tmp_path, capsys):
    with pytest.raises(SystemExit):
        command.main([str(tmp_path), "--out", str(tmp_path / "map.npz")])
    assert "has no pictures" in capsys.readouterr().err
