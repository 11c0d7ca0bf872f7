"""The search service as a process: killed, restarted, crowded out, on a full disk."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import signal
import subprocess
import sys
import threading
import time

import grpc
import pytest
from PIL import ImageOps

from halftone.core import errors, wire
from halftone.matching.features import LocalFeatures
from halftone.service.probe import is_serving
from halftone.stack.parts import HeldPorts
from halftone.v1 import search_pb2, search_pb2_grpc
from tests.support.pictures.scenes import png, scene
from tests.support.search.search_service import name, picture, record

State = search_pb2.ImportImagesResponse.State


class Process:
    """A child that is started on a fixed port, and again on the same."""

    def __init__(self, command, *, environment=None):
        self.command = command
        self.environment = os.environ | (environment or {})
        self.running = None

    def start(self):
        self.running = subprocess.Popen(
            self.command, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        # Drained, so that the child never waits for its reader.
        self.log = []
        self.reader = threading.Thread(target=self._read, args=(self.running.stderr,))
        self.reader.start()
        return self

    def _read(self, stream):
        with stream:
            self.log += [line.decode() for line in stream]

    def end(self, number=signal.SIGKILL):
        if self.running is not None:
            self.running.send_signal(number)
            code = self.running.wait(timeout=60)
            self.reader.join()
            self.running = None
            return code
        return None


class Stack:
    """An embedder and a search service."""

    def __init__(self, directory, **settings):
        # Kept between a kill and the next start, too.
        self.ports = HeldPorts()
        self.port, embedder_port = (
            self.ports.hold("127.0.0.1", 0, what="test", variable="") for _ in range(2)
        )
        self.address = f"127.0.0.1:{self.port}"
        self.blobs = directory / "blobs"
        environment = {
            "HALFTONE_SEARCH_PORT": str(self.port),
            "HALFTONE_SEARCH_METRICS_PORT": "0",
            "HALFTONE_SEARCH_EMBEDDER": f"127.0.0.1:{embedder_port}",
            "HALFTONE_SEARCH_DATA_DIRECTORY": str(directory / "search"),
            "HALFTONE_SEARCH_BLOBS": str(directory / "blobs"),
            "HALFTONE_SEARCH_IMPORT_BATCH": "8",
            "HALFTONE_SEARCH_MIN_FREE_BYTES": "0",
            **{f"HALFTONE_SEARCH_{key.upper()}": str(value) for key, value in settings.items()},
        }
        self.search = Process(
            [sys.executable, "-m", "halftone.services.search"], environment=environment
        )
        self.embedder = Process(
            [sys.executable, "-m", "tests.support.embedder.fake_embedder", str(embedder_port)]
        )
        self.channel = None

    def start(self):
        self.embedder.start()
        self.search.start()
        self.wait()
        return self

    def wait(self):
        deadline = time.monotonic() + 120
        while not is_serving(self.address, timeout_seconds=1):
            assert self.search.running.poll() is None, self.search.log
            assert time.monotonic() < deadline, self.search.log
            time.sleep(0.05)
        if self.channel is not None:
            self.channel.close()
        self.channel = grpc.insecure_channel(self.address, options=wire.CHANNEL_OPTIONS)
        self.stub = search_pb2_grpc.SearchServiceStub(self.channel)

    def stop(self):
        if self.channel is not None:
            self.channel.close()
        self.search.end()
        self.embedder.end()
        self.ports.__exit__()

    def total(self):
        return self.stub.CountFacets(search_pb2.CountFacetsRequest(), timeout=60).total_count


@pytest.fixture
def make(tmp_path, memory_path):
    made = []

    def make(**settings):
        made.append(Stack(memory_path, **settings))
        return made[-1]

    yield make
    for stack in made:
        stack.stop()


@pytest.fixture
def stack(make):
    return make().start()


def requests(count):
    return [record(number, row=number, caption=f"caption {number}") for number in range(count)]


AHEAD = 30
"""How many records are sent beyond those that were acknowledged, until the cut."""


def import_until_cut(stack, records, *, cut_after, cut):
    """Imports records; `cut` is called after some acknowledgements. Returns all that came.

    What is not sent before the cut cannot be acknowledged before it, however long this process
    waits for its turn meanwhile.
    """
    acknowledged = []
    is_cut = threading.Event()

    def sent():
        yield from records[: cut_after + AHEAD]
        is_cut.wait()
        yield from records[cut_after + AHEAD :]

    try:
        with contextlib.suppress(grpc.RpcError):
            for answer in stack.stub.ImportImages(sent(), timeout=120):
                acknowledged.append(answer)
                if len(acknowledged) == cut_after:
                    cut()
                    is_cut.set()
    finally:
        is_cut.set()
    return acknowledged


def assert_all_there(stack, acknowledged):
    for answer in acknowledged:
        number = answer.row
        image = stack.stub.GetImage(search_pb2.GetImageRequest(name=answer.name), timeout=60)
        assert image.caption == f"caption {number}"
        assert image.content_sha256 == hashlib.sha256(picture(number)).hexdigest()
        thumbnail = search_pb2.GetThumbnailRequest(name=answer.name)
        assert stack.stub.GetThumbnail(thumbnail, timeout=60).content
        sha256 = image.content_sha256
        (features,) = stack.blobs.glob(f"features/{sha256[:2]}/{sha256[2:4]}/{sha256}.bin")
        # Whole ones: what cannot be read raises.
        LocalFeatures.from_bytes(features.read_bytes())


@pytest.mark.soak
def test_nothing_acknowledged_is_lost_when_the_search_process_is_killed(stack):
    records = requests(200)
    done = 0
    for cut_after in (9, 60, 120):
        acknowledged = import_until_cut(stack, records, cut_after=cut_after, cut=stack.search.end)
        assert cut_after <= len(acknowledged) < 200
        states = [answer.state for answer in acknowledged]
        assert states[:done] == [State.UNCHANGED] * done
        # What was stored but not yet acknowledged at the kill is unchanged too.
        assert set(states[done:]) <= {State.CREATED, State.UNCHANGED}
        assert State.CREATED in states[done:]
        stack.search.start()
        stack.wait()
        assert_all_there(stack, acknowledged)
        done = len(acknowledged)
    states = [answer.state for answer in stack.stub.ImportImages(iter(records), timeout=120)]
    assert states[:done] == [State.UNCHANGED] * done
    assert set(states[done:]) <= {State.CREATED, State.UNCHANGED}
    assert stack.total() == 200
    hits = stack.stub.SearchImages(
        search_pb2.SearchImagesRequest(content=picture(150), limit=1), timeout=60
    ).hits
    assert hits[0].image.name == name(150)


def test_an_import_outlives_a_killed_embedder(stack):
    timers = []

    def cut():
        stack.embedder.end()
        timers.append(threading.Timer(1.0, stack.embedder.start))
        timers[0].start()

    acknowledged = import_until_cut(stack, requests(150), cut_after=20, cut=cut)
    timers[0].join()
    assert [answer.state for answer in acknowledged] == [State.CREATED] * 150
    assert stack.total() == 150
    assert_all_there(stack, acknowledged[::10])


def test_a_terminated_service_acknowledges_what_it_took(stack):
    def cut():
        stack.search.running.send_signal(signal.SIGTERM)

    acknowledged = import_until_cut(stack, requests(400), cut_after=20, cut=cut)
    assert 20 <= len(acknowledged) < 400
    assert all(answer.state == State.CREATED for answer in acknowledged)
    # No further signal; its exit status.
    assert stack.search.end(0) == 0
    stack.search.start()
    stack.wait()
    assert stack.total() == len(acknowledged)


def test_two_processes_do_not_share_a_data_directory(stack, make):
    second = make()
    second.search.start()
    assert second.search.running.wait(timeout=90) == 1
    second.search.reader.join()
    assert re.search("in use by another process", "".join(second.search.log))
    assert "Traceback" not in "".join(second.search.log)
    assert stack.total() == 0


def test_a_port_in_use_is_said(stack, make, tmp_path):
    second = make(port=stack.port, data_directory=tmp_path / "other")
    second.search.start()
    assert second.search.running.wait(timeout=90) == 1
    second.search.reader.join()
    log = "".join(second.search.log)
    assert f"Cannot listen on 127.0.0.1:{stack.port}" in log
    assert "Traceback" not in log


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 340 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = os.geteuid() == 0 and not subprocess.call(
        ["mount", "-t", "tmpfs", "-o", "size=340m", "tmpfs", str(disk)], stderr=subprocess.DEVNULL
    )
    if not mounted:
        pytest.skip("a small file system cannot be mounted here")
    yield disk
    subprocess.check_call(["umount", "--lazy", str(disk)])


@pytest.mark.soak
def test_a_full_disk_refuses_records_and_leaves_the_rest_alone(make, small_disk):
    stack = make(
        data_directory=small_disk / "search",
        blobs=small_disk / "blobs",
        min_free_bytes=48 * 1024 * 1024,
    ).start()

    def large(number):
        return record(number, row=number, content=picture(number) + bytes(4_000_000))

    answers = []
    with pytest.raises(grpc.RpcError) as raised:
        answers.extend(stack.stub.ImportImages((large(n) for n in range(60)), timeout=150))
    # `extend` keeps what came before the error.
    assert isinstance(errors.from_rpc_error(raised.value), errors.StorageFull)
    taken = [answer.row for answer in answers if answer.state == State.CREATED]
    assert len(taken) == len(answers)
    assert 8 <= len(taken) < 60
    # A batch that was stored when the one before it was not may have no acknowledgement.
    assert len(taken) <= stack.total() < 60
    hits = stack.stub.SearchImages(
        search_pb2.SearchImagesRequest(content=picture(taken[0]), limit=1), timeout=60
    ).hits
    assert hits[0].image.name == name(taken[0])
    # The blobs of refused records are gone again, so that what is refused does not fill the disk.
    kept = [path for path in (small_disk / "blobs" / "originals").rglob("*") if path.is_file()]
    assert len(kept) == stack.total()
    features = [path for path in (small_disk / "blobs" / "features").rglob("*") if path.is_file()]
    assert {path.stem for path in features} <= {path.name for path in kept}
    subprocess.check_call(["mount", "-o", "remount,size=700m", str(small_disk)])
    again = list(stack.stub.ImportImages((large(n) for n in range(60)), timeout=150))
    unchanged = [answer.row for answer in again if answer.state == State.UNCHANGED]
    assert set(taken) <= set(unchanged)
    assert {answer.state for answer in again} == {State.UNCHANGED, State.CREATED}


def sent(picture):
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=90)
    return stream.getvalue()


CHANGES = {
    "cropped": (lambda p: p.crop((10, 10, 140, 110)), search_pb2.Hit.CROP_OF, (False, 0)),
    "mirrored": (ImageOps.mirror, search_pb2.Hit.MIRRORED, (True, 0)),
    "sideways": (lambda p: p.rotate(-90, expand=True), search_pb2.Hit.REPRINT, (False, 270)),
    "smaller, in another tone": (
        lambda p: p.resize((180, 135)).point(lambda value: 60 + value // 2),
        search_pb2.Hit.REPRINT,
        (False, 0),
    ),
}


@pytest.mark.soak
def test_changed_printings_are_found_verified_and_named(make):
    stack = make(verify_seconds=50).start()
    records = [record(number, content=png(scene(number))) for number in range(12)]
    acknowledged = list(stack.stub.ImportImages(iter(records), timeout=120))
    assert {answer.state for answer in acknowledged} == {State.CREATED}
    found = {}
    for change, (make_query, relation, lies) in CHANGES.items():
        request = search_pb2.SearchImagesRequest(
            content=sent(make_query(scene(3))), min_probability=0.5
        )
        response = stack.stub.SearchImages(request, timeout=60)
        assert response.verified_count == 12, change
        (hit,) = response.hits
        assert hit.image.name == name(3), change
        assert (hit.mirrored, hit.rotation) == lies, change
        # A copy that is only turned or smaller may be called the same scan.
        same = search_pb2.Hit.SAME_SCAN
        allowed = {relation, same} if relation == search_pb2.Hit.REPRINT else {relation}
        assert hit.relation in allowed, change
        assert hit.verification.state == search_pb2.Verification.OVERLAPPING
        found[change] = response
    # Features are kept beside the pictures: another process says the same of them.
    stack.search.end()
    stack.search.start()
    stack.wait()
    for change, (make_query, _, _) in CHANGES.items():
        request = search_pb2.SearchImagesRequest(
            content=sent(make_query(scene(3))), min_probability=0.5
        )
        assert stack.stub.SearchImages(request, timeout=60) == found[change]
    pair = search_pb2.CompareImagesRequest(query=name(3), image=name(4))
    assert stack.stub.CompareImages(pair, timeout=60).hit.probability < 0.5


def test_a_service_that_has_no_time_says_what_it_left_out(make):
    stack = make(verify_seconds=0.001, verify_threads=1).start()
    records = [record(number, content=png(scene(number))) for number in range(12)]
    list(stack.stub.ImportImages(iter(records), timeout=120))
    request = search_pb2.SearchImagesRequest(content=sent(scene(3)))
    response = stack.stub.SearchImages(request, timeout=60)
    late = search_pb2.Verification.OUT_OF_TIME
    states = [hit.verification.state for hit in response.hits]
    assert states.count(late) == response.out_of_time_count > 5
    assert len(states) == 12
