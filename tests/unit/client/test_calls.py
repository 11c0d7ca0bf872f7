"""Single calls of both clients, against a real gRPC server."""

from __future__ import annotations

import threading
from concurrent import futures

import pytest
from PIL import Image

from halftone.client import (
    Embedding,
    Filter,
    NewImage,
    Region,
    Relation,
    RetryPolicy,
    Search,
    VerificationState,
)
from halftone.core import errors
from tests.support.client.fake_search import fails
from tests.support.client.fake_trainer import FakeTrainer

NAME = "archives/a/images/one"
QUICK = RetryPolicy(first_pause=0.01, longest_pause=0.05, import_patience=5)


def test_get_gives_a_typed_record(fake, client):
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


def test_a_new_image_is_named_in_normal_form_c():
    assert NewImage(archive="a", image_id="e\u0301/1").name == "archives/a/images/é/1"


def test_an_unknown_name_is_not_found(client):
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
def test_search_by_anything(fake, client, query, field, value):
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


def test_what_is_not_said_is_left_to_the_service(fake, client):
    client.search(NAME)
    request = fake.requests[-1]
    assert not request.HasField("verify_count")
    assert not request.HasField("min_probability")


def test_hits_say_how_probable_they_are_and_why(fake, client):
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


def test_compare(fake, client):
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


def test_search_by_file_and_by_picture(fake, client, tmp_path):
    (tmp_path / "x.jpg").write_bytes(b"from a file")
    client.search(tmp_path / "x.jpg")
    assert fake.requests[-1].content == b"from a file"
    client.search(Image.new("CMYK", (4, 4)))
    assert fake.requests[-1].content.startswith(b"\x89PNG")


def test_search_by_a_missing_file_says_so(client, tmp_path):
    with pytest.raises(errors.InvalidArgument, match=r"gone\.jpg: No such file"):
        client.search(tmp_path / "gone.jpg")


def test_an_image_that_is_too_large_is_not_sent(fake, client):
    with pytest.raises(errors.ImageRejected, match=r"33\.0 MiB"):
        client.search(b"0" * (33 * 2**20))
    assert not fake.calls


def test_filters_travel(fake, client):
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


def test_pages_are_followed(fake, client):
    for number in range(7):
        fake.add(f"archives/a/images/{number}")
    pages = list(client.search_pages(b"query", limit=3))
    assert [len(page) for page in pages] == [3, 3, 1]
    assert len({hit.image.name for page in pages for hit in page}) == 7
    assert len(list(client.list(page_size=2))) == 7


def test_update_sends_a_mask(fake, client):
    fake.add(NAME, journal="old", caption="kept", page="9")
    record = client.update(
        NAME,
        journal="new",
        labels={"k": ["v"]},
        page_region=Region(1, 2, 3, 4),
        page="",
        page_image="archives/a/images/p",
    )
    assert record.page_image == "archives/a/images/p"
    assert (record.journal, record.caption, record.page) == ("new", "kept", "")
    assert record.labels == {"k": ("v",)}
    assert record.page_region == (1, 2, 3, 4)


@pytest.mark.parametrize("fields", [{"sha": "x"}, {"caption": 5}, {"labels": 3}])
def test_update_refuses_what_it_cannot_write(fake, client, fields):
    with pytest.raises(errors.InvalidArgument) as caught:
        client.update(NAME, **fields)
    assert caught.value.field == next(iter(fields))
    assert not fake.calls


def test_delete_facets_thumbnail_embed_models(fake, client):
    fake.add(NAME, journal="J", date="1914", language="de")
    fake.add(NAME + "2", journal="J", date="1915", language="en")
    fake.records[NAME].labels["place"].values.extend(["Berlin", "Paris"])
    fake.records[NAME + "2"].labels["place"].values.append("Paris")
    counted = client.facets()
    assert (counted.journals, counted.labels) == ({"J": 2}, {})
    assert counted.archives == {NAME.split("/")[1]: 2}
    assert client.facets(labels=True).labels == {"place": {"Paris": 2, "Berlin": 1}}
    assert client.facets(filter=Filter(languages=["de"])).total == 1
    assert client.thumbnail(NAME).content_type == "image/jpeg"
    assert client.delete(NAME, dry_run=True) == 1
    assert client.delete(filter=Filter(journals=["J"])) == 2
    good, bad = client.embed([b"x", b"broken"], mirrored=True)
    assert good.embedding.vector.tolist() == [1, 0]
    assert set(good.oriented) == {(True, 0)}
    assert isinstance(bad, errors.ImageRejected)
    assert client.models()[0].active


def test_batch_search_gives_a_page_or_an_error_each(fake, client):
    fake.add(NAME)
    page, error = client.batch_search([Search(query=b"x"), Search(query=b"broken")])
    assert page.hits[0].image.name == NAME
    assert isinstance(error, errors.ImageRejected)


def test_a_closed_client_says_so(client):
    client.close()
    with pytest.raises(errors.FailedPrecondition, match="closed"):
        client.get(NAME)


def test_closing_ends_a_call_that_is_under_way(fake, client):
    arrived, over = threading.Event(), threading.Event()

    def fault():
        arrived.set()
        over.wait(60)

    def close():
        arrived.wait(60)
        client.close()

    fake.faults["GetImage"].append(fault)
    closer = threading.Thread(target=close)
    closer.start()
    with pytest.raises(errors.Cancelled):
        client.get(NAME)
    closer.join()
    over.set()


def test_closing_ends_what_is_waited_for(fake, connect):
    """A watch has no end of its own."""
    with FakeTrainer() as trainer:
        client = connect(trainer=trainer.address)
        job = client.train(
            {"objective": "metric", "datasets": ["a"], "model_name": "x", "steps": 9}
        )
        trainer.pause = 60
        closer = threading.Timer(0.3, client.close)
        closer.start()
        with pytest.raises(errors.Cancelled):
            list(client.watch_training_job(job.name))
        closer.join()
        trainer.over.set()


def test_threads_may_share_a_client(fake, client):
    for number in range(8):
        fake.add(f"archives/a/images/{number}")
    fake.faults["GetImage"].extend([fails(errors.Unavailable("down"))] * 8)
    with futures.ThreadPoolExecutor(8) as pool:
        records = pool.map(client.get, [f"archives/a/images/{number}" for number in range(8)] * 8)
        assert [record.image_id for record in records] == list("01234567") * 8
    assert client.retry_count == 8


def test_a_part_of_a_picture(fake, client):
    fake.add(NAME, rights="free")
    part = client.region(NAME, region=(1, 2, 3, 4), width=8, quality="gray", format="png")
    assert (part.content_type, part.region, part.rights) == ("image/jpeg", (1, 2, 3, 4), "free")
    request = fake.requests[-1]
    assert (request.width, request.quality, request.format) == (8, request.GRAY, request.PNG)
    assert not request.HasField("height")
    client.region(NAME, share=(0, 0, 0.5, 0.5), height=5, fit=True, rotation=90, mirrored=True)
    request = fake.requests[-1]
    assert (request.share.width, request.fit, request.rotation) == (0.5, True, 90)
    for options in (
        {"quality": "sepia"},
        {"format": "gif"},
        {"region": (0,) * 4, "share": (0,) * 4},
    ):
        with pytest.raises(errors.InvalidArgument):
            client.region(NAME, **options)
