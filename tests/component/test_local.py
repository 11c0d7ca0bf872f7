"""`halftone up` and the commands that talk to it, as real processes."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import grpc
import psutil
import pytest

from halftone.archive import sample
from halftone.archive.manifests import read_manifest
from halftone.client import Client, Filter, RetryPolicy
from halftone.core import errors, wire
from halftone.stack import running
from halftone.v1 import search_pb2, search_pb2_grpc
from tests.support.system import is_alive

if TYPE_CHECKING:
    from pathlib import Path

HALFTONE = (sys.executable, "-m", "halftone.cli")


class Up:
    """A `halftone up` of one's own."""

    def __init__(self, data: Path, *, training: bool = False) -> None:
        arguments = () if training else ("--no-trainer",)
        self.data = data
        self.output = data.parent / "up.txt"
        with self.output.open("w") as file:
            self.process = subprocess.Popen(
                [*HALFTONE, "up", "--data", str(data), "--port", "0", *arguments],
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self):
        try:
            until(lambda: running.find(self.data) or self.process.poll() is not None, seconds=240)
            assert self.process.poll() is None
        except AssertionError:
            self.__exit__()
            raise AssertionError(self.output.read_text()) from None
        self.addresses = running.find(self.data)
        return self

    def client(self, **options) -> Client:
        return Client(self.addresses.search, embedder=self.addresses.embedder, **options)

    def children(self) -> dict[str, int]:
        found = {}
        for child in psutil.Process(self.process.pid).children():
            # One that was killed a moment ago has no command line.
            with contextlib.suppress(psutil.Error):
                *_, last = child.cmdline() or [""]
                if last.startswith("halftone.services."):
                    found[last.removeprefix("halftone.services.")] = child.pid
                # A program of its own, which was given its settings as arguments.
                elif child.name() == "valkey-server":
                    found["queue"] = child.pid
        return found

    def stop(self, *, number: int = signal.SIGTERM) -> str:
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.wait(150)
        return self.output.read_text()

    def __exit__(self, *_: object) -> None:
        try:
            self.stop()
        finally:
            self.process.kill()
            self.process.wait()


def until(condition, *, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.05)


def halftone(*arguments, **options):
    return subprocess.run(
        [*HALFTONE, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        **options,
    )


def events_of(data: Path, service: str, *, request_id: str) -> list[dict]:
    lines = (data / "logs" / f"{service}.log").read_text().splitlines()
    return [json.loads(line) for line in lines if request_id in line]


@pytest.mark.soak
def test_what_cannot_start_ends_the_start(tmp_path):
    """No model version has an int8 form here, so the embedder would wait for one for ever."""
    failed = halftone(
        *("up", "--data", tmp_path / "data", "--port", "0", "--no-trainer"),
        env={**os.environ, "HALFTONE_EMBEDDER_BACKEND": "int8"},
    )
    log = tmp_path / "data" / "logs" / "embedder.log"
    assert failed.returncode == 1
    last = failed.stderr.splitlines()[-1]
    assert last.startswith("Error: embedder does not become ready: No model version can be loaded;")
    assert "has no int8 form" in last
    assert last.endswith(f" Its log is {log}.")


@pytest.mark.slow
def test_up_import_search_and_what_is_in_the_way(tmp_path, press):
    data = tmp_path / "data"
    query = sample.query_path(press, "astronaut")
    with Up(data) as up:
        imported = halftone("import", press, "--data", data, cwd=tmp_path)
        assert imported.returncode == 0, imported.stderr
        found = halftone("search", query, "--data", data, "--json", "--limit", 3)
        hits = json.loads(found.stdout)["hits"]
        assert [hit["image"]["labels"]["photograph"] for hit in hits] == [["astronaut"]] * 3

        second = halftone("up", "--data", data, "--port", "0")
        assert second.returncode == 1
        where = f"process {up.process.pid}, searches are answered at {up.addresses.search}"
        assert f"in use by another stack ({where})" in second.stderr
        port = up.addresses.search.rpartition(":")[2]
        # The other ports of its own may be someone else's on this machine.
        free = {f"HALFTONE_EMBEDDER_{name}": "0" for name in ("PORT", "METRICS_PORT")}
        other = ("--data", tmp_path / "other", "--port", port)
        third = halftone("up", *other, env=os.environ | free)
        assert third.returncode == 1
        assert f"Port {port} on 127.0.0.1, for the search service, is in use" in third.stderr

        with grpc.insecure_channel(up.addresses.search) as channel:
            search_pb2_grpc.SearchServiceStub(channel).SearchImages(
                search_pb2.SearchImagesRequest(content=query.read_bytes()),
                metadata=((wire.REQUEST_ID_KEY, "followed-by-the-test"),),
                timeout=100,
            )
        for service, method in (("search", "SearchImages"), ("embedder", "EmbedImages")):
            events = events_of(data, service, request_id="followed-by-the-test")
            (call,) = [event for event in events if event["event"] == "call"]
            assert call["method"].endswith(method)
            assert (call["service"], call["code"]) == (service, "OK")

        text = up.stop()
        assert up.process.returncode == 0, text
        assert up.addresses.search in text
        assert up.addresses.embedder_metrics in text
        assert "killed" not in text
    assert running.find(data) is None
    gone = halftone("search", query, "--server", up.addresses.search)
    assert gone.returncode == 1
    assert "`halftone up`" in gone.stderr


@pytest.mark.soak
def test_children_that_are_killed_during_an_import(tmp_path, press):
    """Both are killed with SIGKILL; the import goes on, and nothing acknowledged is lost."""
    with Up(tmp_path / "data") as up, up.client() as client:
        victims = ["search", "embedder"]
        acknowledged = []
        are_killed = threading.Event()

        def on_progress(ack):
            acknowledged.append(ack.name)
            if victims and len(acknowledged) in {20, 100}:
                os.kill(up.children()[victims.pop()], signal.SIGKILL)
                if not victims:
                    are_killed.set()

        def sent():
            """What is not sent before the kills cannot be done before them."""
            yield from rows[:150]
            assert are_killed.wait(120)
            yield from rows[150:]

        rows = [
            row
            for archive in ("north", "south", "east", "west")
            for row in read_manifest(press, archive=archive)
        ]
        summary = client.import_images(sent(), on_progress=on_progress)
        assert not victims
        assert summary.total == len(rows) == len(set(acknowledged))
        assert not summary.rejected
        assert summary.reconnects >= 1
        assert {record.name for record in client.list()} == set(acknowledged)
        text = up.stop()
    assert "embedder was killed by SIGKILL; starting it again" in text
    assert "search was killed by SIGKILL; starting it again" in text
    # Those that took their places were asked to stop, like the first ones, and did.
    for name in ("embedder", "search"):
        log = (tmp_path / "data" / "logs" / f"{name}.log").read_text()
        assert '"event": "stopped"' in log.splitlines()[-1]


@pytest.mark.soak
def test_an_embedder_that_hangs_during_an_import(tmp_path, press):
    """It is stopped and never goes on: another one takes its place, and no record is rejected."""
    query = sample.query_path(press, "astronaut")
    with Up(tmp_path / "data") as up, up.client() as client:
        rows = list(read_manifest(press, archive="press"))
        stopped = threading.Event()
        acknowledged = []

        def on_progress(ack):
            acknowledged.append(ack.name)
            if len(acknowledged) == 20:
                os.kill(up.children()["embedder"], signal.SIGSTOP)
                stopped.set()

        def sent():
            """What is not sent before it hangs cannot be done before."""
            yield from rows[:30]
            assert stopped.wait(120)
            yield from rows[30:]

        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            importing = pool.submit(client.import_images, sent(), on_progress=on_progress)
            assert stopped.wait(120)
            started = time.monotonic()
            with (
                up.client(retries=RetryPolicy(attempts=1)) as impatient,
                pytest.raises(errors.Unavailable, match=r"The embedder at .* does not answer"),
            ):
                impatient.search(query, timeout=60)
            assert time.monotonic() - started < 15
            summary = importing.result(240)
        assert not summary.rejected
        assert summary.total == len(rows)
        assert client.search(query, timeout=60).hits
        text = up.stop()
    assert "embedder did not answer for 20 s; starting it again" in text


@pytest.mark.soak
def test_sigterm_and_sigkill_of_the_parent_lose_nothing(tmp_path, press):
    """The stack is asked to stop in the middle of an import, then a second one is killed."""
    data = tmp_path / "data"
    acknowledged = []
    with Up(data) as up:
        with up.client() as client:
            started = threading.Event()

            def on_progress(ack):
                acknowledged.append(ack.name)
                if len(acknowledged) == 20:
                    started.set()
                    up.process.send_signal(signal.SIGTERM)
                if started.is_set() and up.process.poll() is not None:
                    raise InterruptedError

            # It ends as the connection or the stack does; what counts is what was acknowledged.
            thread = threading.Thread(
                target=_import_quietly, args=(client, press, on_progress), daemon=True
            )
            thread.start()
            assert started.wait(150)
            up.stop()
        assert up.process.returncode == 0
        thread.join(10)
    with Up(data, training=True) as up, up.client() as client:
        assert set(acknowledged) <= {record.name for record in client.list()}
        assert client.facets(filter=Filter(archives=["press"])).total >= 20
        children = up.children()
        assert set(children) == {"embedder", "search", "trainer", "trainer.worker", "queue", "web"}
        up.process.kill()
        up.process.wait()
        until(lambda: not any(is_alive(pid) for pid in children.values()))
    assert running.find(data) is None


def _import_quietly(client, press, on_progress):
    try:
        client.import_images(read_manifest(press, archive="press"), on_progress=on_progress)
    except Exception as error:  # noqa: BLE001
        print(error)
