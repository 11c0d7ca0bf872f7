"""Building a part in a process of its own: whole, cancelled, killed, cut off."""

from __future__ import annotations

import contextlib
import io
import pickle
import subprocess
import sys
import uuid

import numpy as np
import psutil
import pytest

from halftone.services.search.store.edge import build
from halftone.services.search.store.edge.part import Part
from halftone.services.search.store.port import Stored, Words, to_pdq

DIMENSION = 8


def points(count):
    random = np.random.default_rng(1)
    for number in range(count):
        vector = random.standard_normal(DIMENSION).astype(np.float32)
        yield Stored(
            id=uuid.UUID(int=number + 1),
            payload={"journal": "L'Illustration", "labels": {"medium": ["photo"]}, "year": "1914"},
            vector=vector / np.linalg.norm(vector),
            pdq=to_pdq(random.standard_normal(256)) if number % 3 else None,
            words=Words(np.array([3, number + 10], np.uint32), np.array([0.6, 0.8], np.float32))
            if number % 2
            else None,
        )


def children() -> list[psutil.Process]:
    """The processes that this one has started and that have not ended."""
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if child.status() != psutil.STATUS_ZOMBIE and build.__name__ in child.cmdline():
                found.append(child)
    return found


def test_a_part_holds_what_was_sent(tmp_path):
    sent = list(points(150))
    assert build.build(tmp_path / "part", dimension=DIMENSION, points=sent)
    part = Part.load(tmp_path / "part")
    found = part.retrieve([each.id for each in sent], vectors=True)
    part.close()
    assert found.keys() == {each.id for each in sent}
    for each in sent:
        stored = found[each.id]
        assert stored.payload == each.payload
        np.testing.assert_allclose(stored.vector, each.vector, atol=1e-6)
        assert (stored.pdq is None) == (each.pdq is None)
        if each.pdq is not None:
            np.testing.assert_array_equal(stored.pdq, each.pdq)
        assert (stored.words is None) == (each.words is None)
        if each.words is not None:
            np.testing.assert_array_equal(stored.words.indices, each.words.indices)
            np.testing.assert_allclose(stored.words.values, each.words.values, atol=1e-6)


def test_points_are_read_page_by_page(tmp_path, monkeypatch):
    """Not all at once: a part may be larger than the memory."""
    pages = []
    dump = pickle.dump

    def note(page, stream, *, protocol):
        pages.append(len(page))
        dump(page, stream, protocol=protocol)

    monkeypatch.setattr(build.pickle, "dump", note)
    assert build.build(tmp_path / "part", dimension=DIMENSION, points=points(150))
    assert pages == [64, 64, 22, 0]


def test_a_cancelled_build_is_given_up(tmp_path):
    asked = []

    def cancelled():
        asked.append(True)
        return len(asked) > 2

    assert not build.build(
        tmp_path / "part", dimension=DIMENSION, points=points(1_000), cancelled=cancelled
    )
    assert not children()


def test_a_process_that_is_killed_builds_nothing(tmp_path):
    def killing():
        for number, each in enumerate(points(200_000)):
            if number == 200:
                (building,) = children()
                building.kill()
            yield each

    assert not build.build(tmp_path / "part", dimension=DIMENSION, points=killing())
    assert not children()


def test_a_failure_while_reading_ends_the_process(tmp_path):
    def failing():
        yield from points(100)
        raise OSError("the disk")

    with pytest.raises(OSError, match="the disk"):
        build.build(tmp_path / "part", dimension=DIMENSION, points=failing())
    assert not children()


@pytest.mark.parametrize("at", [-1, -40, 0])
def test_a_stream_that_is_cut_off_is_no_end(at):
    """Between two pages as well as within one."""
    page = pickle.dumps([(bytes(16), {"page": "1" * 50}, None, None, None)], protocol=5)
    stream = io.BytesIO((page + page)[: 2 * len(page) + at])
    with pytest.raises((EOFError, pickle.UnpicklingError)):
        list(build._receive(stream))


def test_a_process_whose_stream_is_cut_off_fails(tmp_path):
    command = [sys.executable, "-m", build.__name__, str(tmp_path / "part"), "8"]
    ended = subprocess.run(
        command, input=pickle.dumps([], protocol=5)[:-1], capture_output=True, check=False
    )
    assert ended.returncode != 0
    assert b"EOFError" in ended.stderr or b"truncated" in ended.stderr
