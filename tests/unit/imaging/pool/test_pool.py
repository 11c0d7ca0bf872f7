"""Workers of a pool: what they return, what they may take, and who is left when one is killed."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest

from halftone.core import errors
from halftone.imaging.images import Region
from halftone.imaging.needs import TOO_EXPENSIVE, MemoryBudget
from halftone.imaging.pool.pool import Pool
from halftone.imaging.pool.worker import Limits
from tests.support.pictures import pool_tasks as tasks
from tests.support.system import is_alive

ROOT = Path(__file__).parents[4]
MIB = 1 << 20
TIMEOUT = 60.0
only_linux = pytest.mark.skipif(sys.platform != "linux", reason="macOS does not limit memory")


@contextlib.contextmanager
def running(*, workers: int = 2, memory: int = 128 * MIB, seconds: float = 1.0, budget=None):
    pool = Pool(
        limits=Limits(memory_bytes=memory, seconds=seconds),
        workers=workers,
        modules=(tasks.__name__,),
        budget=budget,
    )
    pool.start()
    try:
        yield pool
    finally:
        pool.close()


@pytest.fixture(scope="module")
def pool():
    with running() as made:
        yield made


def until(condition) -> None:
    ends = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.01)


def test_calls_that_come_before_the_workers_wait_for_them():
    pool = Pool(
        limits=Limits(memory_bytes=128 * MIB, seconds=1.0), workers=1, modules=(tasks.__name__,)
    )
    waits = set()

    def call(content: bytes) -> bytes:
        # `is_over` is asked only while a call waits.
        return pool.run(tasks.echo, content, is_over=lambda: bool(waits.add(content)))

    with ThreadPoolExecutor(2) as threads:
        early = [threads.submit(call, content) for content in (b"one", b"two")]
        until(lambda: len(waits) == 2)
        pool.start()
        try:
            assert [each.result(TIMEOUT) for each in early] == [b"one", b"two"]
            assert pool.run(tasks.echo, b"on") == b"on"
        finally:
            pool.close()


def test_results_come_back_as_they_were(pool):
    array, image, region, plain = pool.run(tasks.make_all, b"some")
    assert np.array_equal(array, np.arange(12).reshape(3, 4)[:, ::2])
    assert (image.mode, image.size, image.getpixel((5, 5))) == ("RGB", (30, 20), (1, 2, 3))
    assert region == Region(1, 2, 3, 4)
    assert isinstance(region, Region)
    assert plain == {"text": b"some", "nothing": None}


@pytest.mark.parametrize("size", [0, 1, 1 << 16, 5 * MIB])
def test_bytes_of_any_length_go_both_ways(pool, size):
    content = os.urandom(size)
    assert pool.run(tasks.echo, content, times=2) == content * 2
    assert pool.run(tasks.echo, b"after") == b"after"


def test_errors_come_back_as_they_were(pool):
    with pytest.raises(errors.ImageRejected, match="Not this one") as raised:
        pool.run(tasks.refuse, b"")
    assert (raised.value.reason, raised.value.metadata) == ("WHY", {"a": "b"})
    with pytest.raises(RuntimeError, match="a bug"):
        pool.run(tasks.fail, b"")
    assert pool.run(tasks.echo, b"on") == b"on"


def test_a_worker_that_was_taken_over_does_not_take_over_the_service(pool, tmp_path):
    with pytest.raises(pickle.UnpicklingError, match="no result"):
        pool.run(tasks.intrude, b"", path=tmp_path / "intruded")
    assert not (tmp_path / "intruded").exists()
    assert pool.run(tasks.echo, b"on") == b"on"


def test_what_takes_too_many_seconds_is_killed(pool):
    with pytest.raises(errors.ImageRejected, match="more time") as raised:
        pool.run(tasks.spin, b"")
    assert raised.value.reason == TOO_EXPENSIVE
    assert pool.run(tasks.echo, b"on") == b"on"


@only_linux
def test_what_takes_too_much_memory_is_refused(pool):
    assert pool.run(tasks.take_memory, b"", size=64 * MIB) == 64 * MIB
    with pytest.raises(errors.ImageRejected, match="more memory") as raised:
        pool.run(tasks.take_memory, b"", size=192 * MIB)
    assert raised.value.reason == TOO_EXPENSIVE


@only_linux
def test_a_large_picture_may_take_what_it_needs_and_no_more(pool):
    size = pool.run(tasks.take_memory, b"", size=192 * MIB, need=192 * MIB)
    assert size == 192 * MIB
    with pytest.raises(errors.ImageRejected, match="more memory"):
        pool.run(tasks.take_memory, b"", size=400 * MIB, need=192 * MIB)


def test_large_pictures_wait_for_each_other_and_small_ones_do_not(tmp_path):
    with running(budget=MemoryBudget(1), workers=3) as pool, ThreadPoolExecutor(2) as threads:
        marks = [(tmp_path / f"started{at}", tmp_path / f"release{at}") for at in range(2)]
        futures = []
        for started, release in marks:
            futures.append(
                threads.submit(
                    pool.run, tasks.hold, b"", started=started, release=release, need=200 * MIB
                )
            )
            if len(futures) == 1:
                until(started.exists)
        assert pool.run(tasks.echo, b"small") == b"small"
        assert not marks[1][0].exists()
        marks[0][1].touch()
        until(marks[1][0].exists)
        marks[1][1].touch()
        for future in futures:
            future.result(TIMEOUT)


def test_a_call_that_waits_for_memory_ends_with_its_caller(tmp_path):
    with running(budget=MemoryBudget(1)) as pool, ThreadPoolExecutor(1) as threads:
        started, release = tmp_path / "started", tmp_path / "release"
        first = threads.submit(
            pool.run, tasks.hold, b"", started=started, release=release, need=200 * MIB
        )
        until(started.exists)
        with pytest.raises(errors.DeadlineExceeded):
            pool.run(tasks.take_memory, b"", size=1, need=200 * MIB, is_over=lambda: True)
        release.touch()
        first.result(TIMEOUT)
        assert pool.run(tasks.take_memory, b"", size=1, need=200 * MIB) == 1


def test_a_worker_is_killed_once_nobody_waits_for_it(pool, tmp_path):
    started = tmp_path / "started"
    with running(seconds=600) as patient:
        with pytest.raises(errors.DeadlineExceeded):
            patient.run(
                tasks.spin,
                b"",
                started=started,
                is_over=lambda: started.exists() and bool(started.read_text()),
            )
        until(lambda: not is_alive(int(started.read_text())))
        assert patient.run(tasks.echo, b"on") == b"on"


def test_who_waits_for_a_worker_gives_up_in_time(tmp_path):
    with running(workers=1) as pool, ThreadPoolExecutor(1) as threads:
        started, release = tmp_path / "started", tmp_path / "release"
        first = threads.submit(pool.run, tasks.hold, b"", started=started, release=release)
        until(started.exists)
        with pytest.raises(errors.DeadlineExceeded):
            pool.run(tasks.echo, b"", is_over=lambda: True)
        release.touch()
        first.result(TIMEOUT)
        assert pool.run(tasks.echo, b"on") == b"on"


def test_a_crash_is_the_picture_s_fault_and_nobody_else_s(tmp_path):
    with running() as pool, ThreadPoolExecutor(1) as threads:
        started, release = tmp_path / "started", tmp_path / "release"
        other = threads.submit(pool.run, tasks.hold, b"", started=started, release=release)
        until(started.exists)
        with pytest.raises(errors.ImageRejected, match="crashes") as raised:
            pool.run(tasks.crash, b"")
        assert raised.value.metadata == {"signal": "SIGSEGV"}
        release.touch()
        assert is_alive(other.result(TIMEOUT))


def test_a_killed_worker_s_call_is_made_again_once(pool, tmp_path):
    assert pool.run(tasks.die_once, b"", mark=tmp_path / "mark") == "alive"
    with pytest.raises(errors.ResourceExhausted) as raised:
        pool.run(tasks.die, b"")
    assert raised.value.retry_after
    assert pool.run(tasks.echo, b"on") == b"on"


def test_an_idle_worker_that_was_killed_is_replaced():
    with running(workers=1) as pool:
        pid = pool.run(tasks.find_pid, b"")
        os.kill(pid, signal.SIGKILL)
        until(lambda: not is_alive(pid))
        assert pool.run(tasks.find_pid, b"") != pid


def test_without_its_nursery_the_pool_starts_another():
    with running() as pool:
        nursery = psutil.Process(pool.run(tasks.find_pid, b"")).parent()
        assert nursery is not None
        workers = nursery.children()
        assert len(workers) == 2
        nursery.kill()
        until(lambda: not any(is_alive(each.pid) for each in workers))
        with ThreadPoolExecutor(4) as threads:
            answers = list(threads.map(lambda _: pool.run(tasks.find_pid, b""), range(4)))
        assert not set(answers) & {each.pid for each in workers}


def test_a_pool_that_cannot_start_says_so_and_the_service_is_unavailable():
    pool = Pool(limits=Limits(memory_bytes=MIB, seconds=1), workers=1, modules=("no.such.module",))
    with pytest.raises(errors.Unavailable):
        pool.start()
    pool.close()


def test_a_closed_pool_ends_its_calls_and_leaves_no_process(tmp_path):
    with running(seconds=600) as pool, ThreadPoolExecutor(1) as threads:
        started = tmp_path / "started"
        call = threads.submit(pool.run, tasks.spin, b"", started=started)
        until(lambda: started.exists() and started.read_text())
        children = psutil.Process().children(recursive=True)
        pool.close()
        assert isinstance(call.exception(TIMEOUT), errors.Unavailable)
        with pytest.raises(errors.Unavailable):
            pool.run(tasks.echo, b"")
    assert not any(is_alive(each.pid) for each in children if "nursery" in str(each))
    assert not is_alive(int(started.read_text()))


def test_calls_come_in_turn(tmp_path):
    done: list[int] = []
    with running(workers=1) as pool, contextlib.ExitStack() as stack:
        threads = stack.enter_context(ThreadPoolExecutor(4))
        started, release = tmp_path / "started", tmp_path / "release"
        first = threads.submit(pool.run, tasks.hold, b"", started=started, release=release)
        until(started.exists)
        calls = []
        for number in range(3):
            asked = threading.Event()

            def is_over(asked: threading.Event = asked) -> bool:
                asked.set()
                return False

            def call(number: int = number, is_over=is_over) -> None:
                pool.run(tasks.echo, b"", is_over=is_over)
                done.append(number)

            calls.append(threads.submit(call))
            assert asked.wait(TIMEOUT)
        release.touch()
        for each in (first, *calls):
            each.result(TIMEOUT)
    assert done == [0, 1, 2]


PARENT = """
import sys, threading
from pathlib import Path
from halftone.imaging.pool.pool import Pool
from halftone.imaging.pool.worker import Limits
from tests.support.pictures import pool_tasks as tasks
pool = Pool(limits=Limits(memory_bytes=1 << 27, seconds=600), workers=2, modules=(tasks.__name__,))
pool.start()
threading.Thread(
    target=pool.run, args=(tasks.spin, b""), kwargs={"started": Path(sys.argv[1])}
).start()
print("ready", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_no_worker_outlives_the_service(tmp_path, number):
    started = tmp_path / "started"
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(started)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"ready\n"
        until(lambda: started.exists() and started.read_text())
        children = psutil.Process(parent.pid).children(recursive=True)
        assert len(children) == 3
        if number == signal.SIGINT:
            # A terminal sends it to all of them; they leave the end to the service.
            for child in children:
                child.send_signal(number)
            assert all(is_alive(child.pid) for child in children)
        parent.kill()
        parent.wait(TIMEOUT)
        until(lambda: not any(is_alive(child.pid) for child in children))
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()
