"""Retouches of a known place, and what the difference map makes of them."""

from __future__ import annotations

import numpy as np
import pytest

from halftone.evaluation import retouches
from halftone.evaluation.retouches import KINDS, main, retouch, run, run_press
from tests.support.pictures.printed_pages import scene


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.01, 0.1])
def test_a_retouch_changes_its_share_and_nothing_far_from_it(kind, share):
    picture = scene(1)
    made = retouch(picture, scene(2), kind=kind, share=share, seed=3)
    assert made is not None
    assert made.mask.mean() == pytest.approx(share, rel=0.25)
    changed = np.abs(np.asarray(made.image, dtype=int) - np.asarray(picture, dtype=int))
    assert changed[made.mask].mean() > 5
    rows, columns = np.nonzero(made.mask)
    near = np.zeros_like(made.mask)
    near[
        max(rows.min() - 15, 0) : rows.max() + 15, max(columns.min() - 15, 0) : columns.max() + 15
    ] = 1
    assert not changed[~near].any()
    again = retouch(picture, scene(2), kind=kind, share=share, seed=3)
    assert again.image.tobytes() == made.image.tobytes()


def test_nothing_is_removed_from_a_plain_picture():
    plain = scene(1).point(lambda _: 200)
    assert retouch(plain, scene(2), kind="paint", share=0.03, seed=0) is None


@pytest.fixture
def folder(tmp_path):
    for seed in (1, 2):
        scene(seed).save(tmp_path / f"{seed}.png")
    return tmp_path


def test_faithful_printings_of_the_press_benchmark_are_compared(folder, monkeypatch):
    conditions = (("mirror", 1), ("crop", 1), ("tone", 2))
    monkeypatch.setattr(retouches, "conditions_of", lambda: conditions)
    outcomes = list(run_press(sorted(folder.iterdir()), seed=1))
    assert [each.kind for each in outcomes] == [name for name, _ in conditions] * 2
    assert all(each.registered for each in outcomes)
    assert not any(each.found for each in outcomes)
    assert sum(each.false > 0 for each in outcomes) <= 1


def test_what_does_not_register_is_counted_apart(folder, monkeypatch, capsys):
    blank = scene(1).point(lambda _: 230)
    monkeypatch.setattr(retouches, "reprint", lambda *_, **__: blank)
    monkeypatch.setattr(retouches, "SHARES", (0.1,))
    main([str(folder), "--pictures", "2"])
    printed = capsys.readouterr().out
    assert "faithful" in printed
    assert "0 printings, 2 more did not register" in printed


@pytest.mark.soak
def test_a_large_retouch_is_found_where_it_is(tmp_path, monkeypatch):
    paths = []
    for seed in (1, 2, 4):
        paths.append(tmp_path / f"{seed}.png")
        scene(seed).save(paths[-1])
    monkeypatch.setattr(retouches, "SHARES", (0.1,))
    outcomes = list(run(paths, seed=1))
    found = [each.found for each in outcomes if each.kind == "paste"]
    assert found
    assert sum(found) >= len(found) - 1
    faithful = [each for each in outcomes if each.kind == "faithful"]
    assert not any(each.found for each in faithful)
