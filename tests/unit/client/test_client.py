"""The clients against a real gRPC server that misbehaves on command."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from concurrent import futures

import grpc
import pytest
from PIL import Image

from halftone import client as public
from halftone.client import (
    AsyncClient,
    Client,
    Embedding,
    Filter,
    NewImage,
    Region,
    Relation,
    RetryPolicy,
    Search,
    VerificationState,
)
from halftone.client.retry import Attempts
from halftone.core import errors
from tests.support.fake_search import FakeSearch, fails, sleeps

NAME = "archives/a/images/one"
QUICK = RetryPolicy(first_pause=0.01, longest_pause=0.05, import_patience=5)


@pytest.fixture
def fake():
    with FakeSearch() as server:
        yield server


@pytest.fixture
def client(fake):
    with Client(fake.address, embedder=fake.address, retries=QUICK, timeout=10) as connected:
        yield connected


def images(count, **fields):
    for number in range(count):
        yield NewImage(image_id=f"{number:04}", archive="a", content=b"x", row=number, **fields)


class TestCalls:
    def test_get_gives_a_typed_record(self, fake, client):
        fake.add(
            NAME,
            journal="The Sphere",
            date="1914-08",
            earliest_date="1914-08-01",
            latest_date="1914-08-31",
        )
        record = client.get(NAME)
        assert (record.archive, record.image_id) == ("a", "one")
        assert record.journal == "The Sphere"
        assert record.latest_date.isoformat() == "1914-08-31"

    def test_an_unknown_name_is_not_found(self, client):
        with pytest.raises(errors.NotFound) as caught:
            client.get("archives/a/images/none")
        assert caught.value.resource_name == "archives/a/images/none"
        assert caught.value.request_id

    @pytest.mark.parametrize(
        ("query", "field", "value"),
        [
            (NAME, "image", NAME),
            (b"bytes", "content", b"bytes"),
            (Embedding(values=b"1234", dimension=1, model_version="m/1"), "embedding", None),
        ],
    )
    def test_search_by_anything(self, fake, client, query, field, value):
        client.search(
            query,
            crop=(1, 2, 3, 4),
            limit=7,
            min_similarity=0.5,
            min_probability=0.75,
            verify_count=0,
            mirrored=False,
            rotated=False,
        )
        request = fake.requests[-1]
        assert request.WhichOneof("query") == field
        assert value is None or getattr(request, field) == value
        assert (request.region.x, request.region.height, request.limit) == (1, 4, 7)
        assert request.skip_mirrored
        assert request.skip_rotated
        assert request.min_similarity == 0.5
        assert request.min_probability == 0.75
        assert request.HasField("verify_count")
        assert request.verify_count == 0

    def test_what_is_not_said_is_left_to_the_service(self, fake, client):
        client.search(NAME)
        request = fake.requests[-1]
        assert not request.HasField("verify_count")
        assert not request.HasField("min_probability")

    def test_hits_say_how_probable_they_are_and_why(self, fake, client):
        fake.add(NAME)
        fake.add(NAME + "2")
        page = client.search(b"x")
        first, second = page
        assert (page.verified_count, page.out_of_time_count) == (1, 1)
        assert first.probability == pytest.approx(0.987)
        assert first.relation is Relation.CROP_OF
        assert first.verification.state is VerificationState.OVERLAPPING
        (overlap,) = first.overlaps
        assert (overlap.inlier_count, overlap.scale) == (42, 0.5)
        assert overlap.image_polygon[2] == (50, 40)
        assert len(overlap.homography) == 9
        assert (first.pdq_distance, first.words_similarity) == (40, 0.25)
        assert second.relation is Relation.NOT_COMPARED
        assert second.verification.state is VerificationState.OUT_OF_TIME
        assert not second.overlaps

    def test_compare(self, fake, client):
        fake.add(NAME)
        fake.add(NAME + "2")
        found = client.compare(client.get(NAME), NAME + "2", crop=(1, 2, 3, 4))
        assert found.hit.image.name == NAME + "2"
        assert found.model_version == "fake/1"
        request = fake.requests[-1]
        assert (request.query, request.image) == (NAME, NAME + "2")
        assert request.query_region.width == 3
        with pytest.raises(errors.NotFound):
            client.compare(NAME, "archives/a/images/none")

    def test_search_by_file_and_by_picture(self, fake, client, tmp_path):
        (tmp_path / "x.jpg").write_bytes(b"from a file")
        client.search(tmp_path / "x.jpg")
        assert fake.requests[-1].content == b"from a file"
        client.search(Image.new("CMYK", (4, 4)))
        assert fake.requests[-1].content.startswith(b"\x89PNG")

    def test_search_by_a_missing_file_says_so(self, client, tmp_path):
        with pytest.raises(errors.InvalidArgument, match=r"gone\.jpg: No such file"):
            client.search(tmp_path / "gone.jpg")

    def test_an_image_that_is_too_large_is_not_sent(self, fake, client):
        with pytest.raises(errors.ImageRejected, match=r"33\.0 MiB"):
            client.search(b"0" * (33 * 2**20))
        assert not fake.calls

    def test_filters_travel(self, fake, client):
        where = Filter(
            journals=["J"],
            start="1914",
            end="1918",
            caption="ship",
            labels={"k": ["v"]},
            exclude=Filter(languages=["de"]),
        )
        client.search(NAME, filter=where)
        sent = fake.requests[-1].filter
        assert list(sent.journals) == ["J"]
        assert (sent.date.start, sent.date.end, sent.caption_text) == ("1914", "1918", "ship")
        assert list(sent.labels["k"].values) == ["v"]
        assert list(sent.exclude.languages) == ["de"]

    def test_pages_are_followed(self, fake, client):
        for number in range(7):
            fake.add(f"archives/a/images/{number}")
        pages = list(client.search_pages(b"query", limit=3))
        assert [len(page) for page in pages] == [3, 3, 1]
        assert len({hit.image.name for page in pages for hit in page}) == 7
        assert len(list(client.list(page_size=2))) == 7

    def test_update_sends_a_mask(self, fake, client):
        fake.add(NAME, journal="old", caption="kept", page="9")
        record = client.update(
            NAME, journal="new", labels={"k": ["v"]}, page_region=Region(1, 2, 3, 4), page=""
        )
        assert (record.journal, record.caption, record.page) == ("new", "kept", "")
        assert record.labels == {"k": ("v",)}
        assert record.page_region == (1, 2, 3, 4)

    @pytest.mark.parametrize("fields", [{"sha": "x"}, {"caption": 5}, {"labels": 3}])
    def test_update_refuses_what_it_cannot_write(self, fake, client, fields):
        with pytest.raises(errors.InvalidArgument) as caught:
            client.update(NAME, **fields)
        assert caught.value.field == next(iter(fields))
        assert not fake.calls

    def test_delete_facets_thumbnail_embed_models(self, fake, client):
        fake.add(NAME, journal="J", date="1914", language="de")
        fake.add(NAME + "2", journal="J", date="1915", language="en")
        assert client.facets().journals == {"J": 2}
        assert client.facets(filter=Filter(languages=["de"])).total == 1
        assert client.thumbnail(NAME).content_type == "image/jpeg"
        assert client.delete(NAME, dry_run=True) == 1
        assert client.delete(filter=Filter(journals=["J"])) == 2
        good, bad = client.embed([b"x", b"broken"], mirrored=True)
        assert good.embedding.vector.tolist() == [1, 0]
        assert set(good.oriented) == {(True, 0)}
        assert isinstance(bad, errors.ImageRejected)
        assert client.models()[0].active

    def test_batch_search_gives_a_page_or_an_error_each(self, fake, client):
        fake.add(NAME)
        page, error = client.batch_search([Search(query=b"x"), Search(query=b"broken")])
        assert page.hits[0].image.name == NAME
        assert isinstance(error, errors.ImageRejected)

    def test_a_closed_client_says_so(self, fake):
        client = Client(fake.address)
        client.close()
        with pytest.raises(errors.FailedPrecondition, match="closed"):
            client.get(NAME)


class TestRetries:
    def test_unavailable_twice_is_survived_under_one_request_id(self, fake, client):
        fake.add(NAME)
        fake.faults["GetImage"].extend([fails(errors.Unavailable("draining"))] * 2)
        assert client.get(NAME).name == NAME
        assert client.retry_count == 2
        assert len(fake.calls) == 3
        assert len({request_id for _, request_id, _ in fake.calls}) == 1

    def test_retry_info_is_honoured(self, fake, client):
        fake.add(NAME)
        full = errors.ResourceExhausted("full", retry_after=0.05)
        fake.faults["GetImage"].append(fails(full))
        client.get(NAME)
        (_, _, first), (_, _, second) = fake.calls
        assert second - first >= 0.05

    @pytest.mark.parametrize(
        "error",
        [
            errors.ResourceExhausted("your quota"),
            errors.StorageFull("disk", retry_after=0.01),
            errors.InvalidArgument("no"),
            errors.Internal("bug"),
        ],
    )
    def test_what_waiting_does_not_help_is_not_tried_again(self, fake, client, error):
        fake.faults["GetImage"].append(fails(error))
        with pytest.raises(type(error)):
            client.get(NAME)
        assert len(fake.calls) == 1

    def test_tries_are_bounded(self, fake, client):
        fake.faults["GetImage"].extend([fails(errors.Unavailable("down"))] * 20)
        with pytest.raises(errors.Unavailable):
            client.get(NAME)
        assert len(fake.calls) == QUICK.attempts

    def test_no_pause_goes_past_the_deadline(self, fake, client):
        fake.faults["GetImage"].append(fails(errors.Unavailable("later", retry_after=30)))
        started = time.monotonic()
        with pytest.raises(errors.Unavailable, match="later"):
            client.get(NAME, timeout=20)
        assert time.monotonic() - started < 20

    def test_the_deadline_ends_a_slow_call(self, fake, client):
        over = threading.Event()
        fake.faults["GetImage"].append(lambda: over.wait(100))
        with pytest.raises(errors.DeadlineExceeded):
            client.get(NAME, timeout=0.2)
        assert not over.is_set()
        over.set()

    def test_the_deadline_covers_all_tries_together(self, fake, client):
        slow_failure = fails(errors.Unavailable("down"))

        def fault():
            time.sleep(0.2)
            slow_failure()

        fake.faults["GetImage"].extend([fault] * 10)
        with pytest.raises((errors.DeadlineExceeded, errors.Unavailable)):
            client.get(NAME, timeout=0.5)
        # Each takes 0.2 s at least.
        assert len(fake.calls) <= 3 < QUICK.attempts

    def test_the_jitter_is_full(self):
        policy = RetryPolicy(first_pause=1, longest_pause=4)
        error = errors.Unavailable("down")
        drawn = [
            [policy.pause(failures=n, error=error, draw=draw) for n in (1, 2, 3, 4)]
            for draw in (0.0, 0.5, 1.0)
        ]
        assert drawn == [[0, 0, 0, 0], [0.5, 1, 2, 2], [1, 2, 4, 4]]

    def test_attempts_without_a_clock_of_their_own(self):
        now = [0.0]
        attempts = Attempts(
            policy=RetryPolicy(first_pause=1),
            timeout=10,
            on_retry=lambda: None,
            clock=lambda: now[0],
            draw=lambda: 1.0,
        )
        assert attempts.pause_after(errors.Unavailable("x")) == 1
        now[0] = 9.5
        assert attempts.remaining() == 0.5
        with pytest.raises(errors.Unavailable):
            attempts.pause_after(errors.Unavailable("x"))

    def test_a_roll_back_is_tried_once(self):
        """Nobody knows whether it was carried out, and the one after it would undo it."""
        tried = []

        def roll_back(_request, context):
            tried.append(1)
            context.abort(grpc.StatusCode.UNAVAILABLE, "gone")

        server = grpc.server(futures.ThreadPoolExecutor(1))
        handler = grpc.unary_unary_rpc_method_handler(roll_back)
        server.add_generic_rpc_handlers(
            [
                grpc.method_handlers_generic_handler(
                    "halftone.v1.ModelService", {"RollBackModelVersion": handler}
                )
            ]
        )
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        with Client(f"127.0.0.1:{port}") as client, pytest.raises(errors.Unavailable, match="gone"):
            client.roll_back()
        server.stop(None)
        assert len(tried) == 1

    def test_nobody_listening_is_unavailable(self):
        with (
            Client("127.0.0.1:1", retries=QUICK) as client,
            pytest.raises(errors.Unavailable),
        ):
            client.get(NAME)


class TestImport:
    def test_each_record_is_acknowledged_once_in_order(self, fake, client):
        acks = []
        summary = client.import_images(images(600), on_progress=acks.append)
        assert [ack.row for ack in acks] == list(range(600))
        assert (summary.created, summary.total, summary.reconnects) == (600, 600, 0)
        assert client.import_images(images(600)).unchanged == 600

    def test_nothing_to_import(self, client):
        assert client.import_images([]).total == 0

    def test_bad_records_do_not_end_it(self, fake, client, tmp_path):
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
    def test_a_lost_stream_is_taken_up_again(self, fake, client, error):
        fake.import_faults = {50: fails(error), 150: fails(error), 151: fails(error)}
        acks = []
        summary = client.import_images(images(200), on_progress=acks.append)
        assert [ack.row for ack in acks] == list(range(200))
        assert len(fake.records) == 200
        assert summary.reconnects == 3
        assert client.retry_count == 3

    def test_a_stalled_stream_is_taken_up_again(self, fake, client):
        fake.import_faults = {5: sleeps(3)}
        summary = client.import_images(images(20), stall_timeout=0.3)
        assert summary.total == 20
        assert summary.reconnects >= 1

    def test_a_slow_source_is_no_stall(self, client):
        def slowly():
            first, second = images(2)
            yield first
            time.sleep(3.5)
            yield second

        assert client.import_images(slowly(), stall_timeout=3).reconnects == 0

    def test_a_full_disk_ends_it(self, fake, client):
        fake.import_faults = {10: fails(errors.StorageFull("No space left."))}
        acks = []
        with pytest.raises(errors.StorageFull):
            client.import_images(images(100), on_progress=acks.append)
        assert {ack.name for ack in acks} <= set(fake.records)

    def test_it_gives_up_when_nothing_moves(self, fake):
        impatient = RetryPolicy(first_pause=0.01, longest_pause=0.05, import_patience=0.5)
        fake.faults["ImportImages"].extend([fails(errors.Unavailable("down"))] * 1000)
        with Client(fake.address, retries=impatient) as client:
            started = time.monotonic()
            with pytest.raises(errors.Unavailable):
                client.import_images(images(10))
        assert 0.3 < time.monotonic() - started < 20

    def test_records_are_pulled_only_as_fast_as_they_are_taken(self, fake, client):
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

    def test_an_error_of_the_source_is_raised_after_what_came_before_is_stored(self, fake, client):
        def failing():
            yield from images(10)
            raise LookupError("no more")

        with pytest.raises(LookupError):
            client.import_images(failing())
        assert len(fake.records) == 10

    def test_an_error_of_the_callback_ends_it(self, fake, client):
        def on_progress(_ack):
            raise KeyboardInterrupt

        before = threading.active_count()
        with pytest.raises(KeyboardInterrupt):
            client.import_images(images(10_000), on_progress=on_progress)
        # The server's eight and gRPC's own.
        assert threading.active_count() < before + 20


class TestAsync:
    async def test_the_same_calls(self, fake):
        fake.add(NAME, journal="J")
        fake.faults["GetImage"].extend([fails(errors.Unavailable("down"))] * 2)
        async with AsyncClient(fake.address, embedder=fake.address, retries=QUICK) as client:
            assert (await client.get(NAME)).journal == "J"
            assert client.retry_count == 2
            assert [record.name async for record in client.list()] == [NAME]
            pages = [page async for page in client.search_pages(b"x")]
            assert pages[0].hits[0].image.name == NAME
            assert (await client.facets()).total == 1
            assert (await client.update(NAME, caption="c")).caption == "c"
            assert (await client.thumbnail(NAME)).content
            assert len(await client.embed([b"x"])) == 1
            assert (await client.models())[0].active
            assert len(await client.batch_search([Search(query=b"x")])) == 1
            with pytest.raises(errors.NotFound):
                await client.get("archives/a/images/none")
            assert await client.delete(NAME) == 1

    async def test_calls_run_at_the_same_time(self, fake):
        fake.add(NAME)
        meeting = threading.Barrier(4, timeout=60)
        fake.faults["GetImage"].extend([meeting.wait] * 4)
        async with AsyncClient(fake.address, timeout=60) as client:
            await asyncio.gather(*(client.get(NAME) for _ in range(4)))
        assert not meeting.broken

    async def test_import_from_an_asynchronous_source(self, fake):
        async def source():
            for image in images(100):
                await asyncio.sleep(0)
                yield image

        fake.import_faults = {30: fails(errors.Unavailable("going away"))}
        rows = []
        async with AsyncClient(fake.address, retries=QUICK) as client:
            summary = await client.import_images(
                source(), on_progress=lambda ack: rows.append(ack.row)
            )
            assert client.retry_count == 1
        assert rows == list(range(100))
        assert summary.created == 100

    async def test_a_cancelled_import_stops(self, fake):
        fake.delay_acks = 0.01
        async with AsyncClient(fake.address) as client:
            importing = asyncio.create_task(client.import_images(images(100_000)))
            async with asyncio.timeout(60):
                while not fake.records:
                    await asyncio.sleep(0.01)
            importing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await importing
        stored = 0
        while stored != len(fake.records):
            stored = len(fake.records)
            await asyncio.sleep(0.3)
        # It would take a quarter of an hour to its end.
        assert stored < 10_000


def test_importing_the_client_imports_no_heavy_package():
    code = (
        "import sys, halftone.client;"
        "bad = {'torch', 'qdrant_client', 'structlog', 'skimage'} & set(sys.modules);"
        "sys.exit(str(bad) if bad else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_public_names():
    assert sorted(public.__all__) == sorted(
        [
            *("AsyncClient", "Client", "Embedding", "Facets", "Filter", "Hit", "ImageEmbeddings"),
            *("ImageRecord", "ImportAck", "ImportState", "ImportSummary", "LoadedModel"),
            *("NewImage", "Orientation", "Query", "Region", "RetryPolicy", "Search"),
            *("SearchOptions", "SearchPage", "Thumbnail"),
            *("JobState", "TrainingJob", "TrainingOptions", "TrainingProgress", "TrainingSpec"),
            *(
                "Compared",
                "Comparison",
                "ModelVersion",
                "Promotion",
                "PromotionState",
                "RetrievalFigures",
            ),
            *("Overlap", "Relation", "Verification", "VerificationState"),
            *("Cluster", "ClusterJob", "ClusterJobState", "ClusterMember", "ClusterOrder"),
            *("ClusterPage", "Decision", "Link", "Verdict"),
        ]
    )
    methods = {name for name in dir(Client) if not name.startswith("_")}
    assert methods == {name for name in dir(AsyncClient) if not name.startswith("_")}
