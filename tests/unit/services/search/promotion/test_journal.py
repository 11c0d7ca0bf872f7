"""The journal: progress never blocks and never fails; what must be on disk is, or refuses."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from prometheus_client import CollectorRegistry, Counter

from halftone.core import errors
from halftone.services.search.promotion.files import PromotionFiles
from halftone.services.search.promotion.journal import Journal
from halftone.services.search.promotion.transitions import State
from halftone.v1 import models_pb2


class Files:
    """Files that note each write and its thread, and wait or fail on command."""

    def __init__(self):
        self.written = []
        self.threads = set()
        self.failing = []
        self.gate = threading.Event()
        self.gate.set()
        self.most_at_once = self._at_once = 0

    def write(self, promotion):
        self.threads.add(threading.current_thread())
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            assert self.gate.wait(10)
            if self.failing:
                raise self.failing.pop(0)
            self.written.append((promotion.revision, promotion.images_done))
        finally:
            self._at_once -= 1


class Bench:
    """A journal, its promotion, and what it was told."""

    def __init__(self, files):
        self.files = files
        self.promotion = models_pb2.Promotion(id="a", state=State.EMBEDDING, revision=3)
        self.told = []
        self.now = 0.0
        self.failures = Counter("failures", "text", registry=CollectorRegistry())
        self.journal = Journal(
            self.promotion,
            files=files,
            tell=lambda told: self.told.append((told.state, told.revision)),
            failures=self.failures,
            clock=lambda: self.now,
        )

    def note(self, images_done):
        self.now += 10.0
        self.promotion.images_done = images_done
        self.journal.note()

    def count_failures(self):
        return self.failures._value.get()


@pytest.fixture
def bench():
    return Bench(Files())


async def test_progress_is_written_in_a_thread_and_the_latest_state_wins(bench):
    """The disk hangs: the loop goes on, one write is under way, and of the others one remains."""
    bench.files.gate.clear()
    started = time.monotonic()
    for images in range(1, 100):
        bench.note(images)
        await asyncio.sleep(0)
    await asyncio.sleep(0.05)
    assert time.monotonic() - started < 5.0
    assert bench.files.most_at_once == 1
    bench.files.gate.set()
    while len(bench.files.written) < 2:
        await asyncio.sleep(0.01)
    await bench.journal.settle()
    assert [images for _, images in bench.files.written] == [1, 99]
    assert threading.main_thread() not in bench.files.threads


async def test_progress_that_cannot_be_written_is_counted_and_the_next_may_succeed(bench):
    bench.files.failing = [errors.StorageFull("full"), OSError("broken"), ZeroDivisionError()]
    for images in range(1, 5):
        bench.note(images)
        await bench.journal._note_task
    assert bench.count_failures() == 3
    assert bench.files.written == [(7, 4)]
    assert len(bench.told) == 4


async def test_too_frequent_progress_is_left_out(bench):
    for _ in range(20):
        bench.journal.note()
        await bench.journal._note_task
        bench.now += 0.2
    # Over 3.8 seconds: told each 0.6 seconds, written at 0 and at 2.2.
    assert len(bench.told) == 7
    assert len(bench.files.written) == 2
    bench.journal.note(at_once=True)
    await bench.journal._note_task
    assert len(bench.files.written) == 3


async def test_what_must_be_on_disk_refuses_when_it_cannot_be_written(bench):
    bench.files.failing = [errors.StorageFull("full"), errors.StorageFull("full")]
    with pytest.raises(errors.StorageFull):
        await bench.journal.save()
    with pytest.raises(errors.StorageFull):
        bench.journal.write()
    assert bench.told == []
    assert bench.count_failures() == 0
    await bench.journal.save()
    assert bench.told == [(State.EMBEDDING, 6)]
    assert bench.files.written == [(6, 0)]
    assert threading.main_thread() in bench.files.threads, "`write` is for those in a thread"


async def test_a_full_disk_is_a_refusal_and_not_a_bug(tmp_path):
    """A file where the directory is to be: the operating system's error becomes Halftone's."""
    (tmp_path / "file").touch()
    bench = Bench(PromotionFiles(tmp_path / "file" / "data"))
    with pytest.raises(errors.Unavailable):
        await bench.journal.save()
    bench.note(1)
    await bench.journal._note_task
    assert bench.count_failures() == 1


async def test_an_old_state_never_replaces_a_new_one(bench):
    """Progress that a slow disk held up comes after the switch was written."""
    old = models_pb2.Promotion(revision=4)
    bench.promotion.revision = 4
    await bench.journal.save()
    bench.journal._replace(old)
    assert [revision for revision, _ in bench.files.written] == [5]


async def test_a_write_whose_caller_is_cancelled_is_waited_for(bench):
    """Or it could come after those of the process that takes the promotion over."""
    bench.files.gate.clear()
    saving = asyncio.create_task(bench.journal.save())
    await asyncio.sleep(0.05)
    saving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await saving
    settling = asyncio.create_task(bench.journal.settle())
    await asyncio.sleep(0.05)
    assert not settling.done()
    bench.files.gate.set()
    await settling
    assert bench.files.written == [(4, 0)]


async def test_an_end_is_seen_with_its_revision(bench):
    """Watching goes by revisions, and ends with the promotion."""
    bench.promotion.state = State.FAILED
    await bench.journal.save()
    assert bench.told == [(State.FAILED, 4)]
