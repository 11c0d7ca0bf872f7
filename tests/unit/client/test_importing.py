"""The import stream of both clients, against a real gRPC server that misbehaves on command."""

from __future__ import annotations

import contextlib
import threading
import time

import pytest

from halftone.archive.manifests import Row
from halftone.client import (
    Client,
    NewImage,
    RetryPolicy,
)
from halftone.core import errors
from halftone.v1 import search_pb2
from tests.support.client.fake_search import FakeSearch, fails, sleeps
from tests.support.held_port import hold_port
from tests.support.pictures.image_corpus import pages

NAME = "archives/a/images/one"
QUICK = RetryPolicy(first_pause=0.01, longest_pause=0.05, import_patience=5)
PATIENT = RetryPolicy(first_pause=0.01, longest_pause=0.05, import_patience=100)


def images(count, **fields):
    for number in range(count):
        yield NewImage(image_id=f"{number:04}", archive="a", content=b"x", row=number, **fields)


def test_each_record_is_acknowledged_once_in_order(fake, client):
    acks = []
    summary = client.import_images(images(600), on_progress=acks.append)
    assert [ack.row for ack in acks] == list(range(600))
    assert (summary.created, summary.total, summary.reconnects) == (600, 600, 0)
    assert client.import_images(images(600)).unchanged == 600


def test_what_was_not_imported_of_a_file_is_noted(fake, client):
    acks = []
    records = [
        NewImage(image_id="one", content=b"x", row=1),
        NewImage(image_id="pages", content=pages(), row=2),
    ]
    client.import_images(records, on_progress=acks.append)
    assert [ack.notes for ack in acks] == [(), ("Only the first page.",)]


def test_rows_say_themselves_what_their_content_is(fake, client, tmp_path):
    """A part of a file is sent instead of the file, and a part that cannot be had is refused."""

    def refuse() -> bytes:
        raise errors.InvalidArgument("There is no page 3.", field="file")

    whole = tmp_path / "pages.pdf"
    whole.write_bytes(b"broken")
    rows = [
        Row(
            number=number,
            image_id=str(number),
            image=search_pb2.Image(name=f"archives/a/images/{number}"),
            path=whole,
            content=content,
        )
        for number, content in ((1, lambda: b"page"), (2, refuse), (3, None))
    ]
    summary = client.import_images(rows)
    assert summary.created == 1
    assert [(ack.row, ack.error.message) for ack in summary.rejected] == [
        (2, "There is no page 3."),
        (3, "Not an image."),
    ]


def test_nothing_to_import(client):
    assert client.import_images([]).total == 0


def test_bad_records_do_not_end_it(fake, client, tmp_path):
    records = [
        NewImage(image_id="good", content=b"x", row=1),
        NewImage(image_id="broken", content=b"broken", row=2),
        NewImage(image_id="gone", content=tmp_path / "gone.jpg", row=3),
        NewImage(image_id="neither", row=4),
        NewImage(image_id="last", content=b"y", row=5),
    ]
    summary = client.import_images(records)
    assert summary.created == 2
    assert sorted(ack.row for ack in summary.rejected) == [2, 3, 4]
    assert all(ack.error is not None for ack in summary.rejected)


@pytest.mark.parametrize(
    "error",
    [errors.Unavailable("going away"), errors.ResourceExhausted("full", retry_after=0.05)],
)
def test_a_lost_stream_is_taken_up_again(fake, client, error):
    fake.import_faults = {50: fails(error), 150: fails(error), 151: fails(error)}
    acks = []
    summary = client.import_images(images(200), on_progress=acks.append)
    assert [ack.row for ack in acks] == list(range(200))
    assert len(fake.records) == 200
    # Nothing came between the second and the third loss, so they are one.
    assert summary.reconnects == 2
    assert client.retry_count == 3


def test_a_service_that_starts_late_is_waited_for_and_not_called_lost(fake, connect):
    """The caller is told at once that nobody answers; that is no lost connection."""
    waits = []
    with contextlib.ExitStack() as servers:
        port = servers.enter_context(hold_port())
        client = connect(f"127.0.0.1:{port}", retries=PATIENT)

        def on_wait(error, seconds):
            waits.append((error.message, seconds))
            if len(waits) == 3:
                servers.enter_context(FakeSearch(port=port))

        summary = client.import_images(images(20), on_wait=on_wait)
    assert (summary.created, summary.reconnects) == (20, 0)
    assert waits[0][0] == f"No service answers at 127.0.0.1:{port} (connection refused)."
    assert PATIENT.import_patience >= waits[0][1] > waits[2][1] > 0


def test_whoever_waits_is_told_why(fake, client):
    fake.import_faults = {5: fails(errors.Unavailable("The service is shutting down."))}
    waits = []
    client.import_images(images(20), on_wait=lambda error, seconds: waits.append(error.message))
    # grpc.aio may lose the status of a stream that is being written to.
    (said,) = waits
    assert said in {"The service is shutting down.", "The service ended the stream."}


def test_a_stalled_stream_is_taken_up_again(fake, client):
    fake.import_faults = {5: sleeps(3)}
    summary = client.import_images(images(20), stall_timeout=0.3)
    assert summary.total == 20
    assert summary.reconnects >= 1


def test_a_slow_source_is_no_stall(client):
    def slowly():
        first, second = images(2)
        yield first
        time.sleep(3.5)
        yield second

    assert client.import_images(slowly(), stall_timeout=3).reconnects == 0


def test_a_full_disk_ends_it(fake, client):
    fake.import_faults = dict.fromkeys(range(10, 2000), fails(errors.StorageFull("No space left.")))
    acks = []
    with pytest.raises(errors.StorageFull):
        client.import_images(images(100), on_progress=acks.append)
    assert {ack.name for ack in acks} <= set(fake.records)


def test_it_gives_up_when_nothing_moves(fake, connect):
    impatient = RetryPolicy(first_pause=0.01, longest_pause=0.05, import_patience=0.5)
    fake.faults["ImportImages"].extend([fails(errors.Unavailable("down"))] * 1000)
    client = connect(fake.address, retries=impatient)
    started = time.monotonic()
    with pytest.raises(errors.Unavailable):
        client.import_images(images(10))
    assert 0.3 < time.monotonic() - started < 20


def test_records_are_pulled_only_as_fast_as_they_are_taken(fake, client):
    fake.delay_acks = 0.002
    pulled = 0
    furthest = 0

    def counted():
        nonlocal pulled
        for image in images(1000):
            pulled += 1
            yield image

    def on_progress(ack):
        nonlocal furthest
        furthest = max(furthest, pulled - ack.row)

    client.import_images(counted(), on_progress=on_progress)
    assert furthest <= 260


def test_an_error_of_the_source_is_raised_after_what_came_before_is_stored(fake, client):
    def failing():
        yield from images(10)
        raise LookupError("no more")

    with pytest.raises(LookupError):
        client.import_images(failing())
    assert len(fake.records) == 10


def test_an_error_of_the_callback_ends_it(fake, client):
    def on_progress(_ack):
        raise LookupError("enough")

    before = threading.active_count()
    with pytest.raises(LookupError, match="enough"):
        client.import_images(images(10_000), on_progress=on_progress)
    # The server's eight and gRPC's own.
    assert threading.active_count() < before + 20


def test_ctrl_c_ends_it(fake):
    def on_progress(_ack):
        raise KeyboardInterrupt

    with Client(fake.address) as client, pytest.raises(KeyboardInterrupt):
        client.import_images(images(10_000), on_progress=on_progress)


def test_closing_ends_an_import_that_is_under_way(fake, client):
    fake.delay_acks = 0.01

    def on_progress(ack):
        if ack.row == 3:
            closer.start()

    closer = threading.Thread(target=client.close)
    started = time.monotonic()
    with pytest.raises(errors.Cancelled):
        client.import_images(images(10_000), on_progress=on_progress)
    closer.join()
    assert time.monotonic() - started < 5  # the policy's patience


def test_the_source_is_pulled_in_one_thread_that_ends(client):
    """A generator may hold what belongs to one thread, for example a connection to SQLite."""
    threads = set()

    def source():
        for image in images(300):
            threads.add(threading.current_thread())
            yield image

    client.import_images(source())
    (thread,) = threads
    assert thread is not threading.current_thread()
    thread.join(10)
    assert not thread.is_alive()
