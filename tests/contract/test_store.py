"""One suite over every adapter of the store port.

Qdrant Edge and `qdrant-client`'s local mode run always; a Qdrant server where `QDRANT_URL` names
its gRPC address.
"""

from __future__ import annotations

import os
import uuid

import numpy as np
import pytest
from qdrant_client import QdrantClient

from halftone import errors
from halftone.records import Name
from services.search.edge_part import copy_closed
from services.search.listing import list_by_name, order_keys
from services.search.store import EVERYTHING, AnyOf, Between, Filter, Ids, Point, Query
from services.search.store_edge import EdgeStore
from services.search.store_server import ServerStore

# What the local mode says of itself; it is a double for tests.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect:UserWarning"),
    pytest.mark.filterwarnings("ignore:Local mode performs exact:UserWarning"),
]

DIMENSION = 16
VERSION = "model/1"


@pytest.fixture(scope="session")
def edge_directory(memory_path_factory):
    """A data directory with an empty collection; making one syncs many files."""
    directory = memory_path_factory() / "data"
    store = EdgeStore(directory, min_free_bytes=0)
    store.open(VERSION, dimension=DIMENSION)
    store.close()
    return directory


@pytest.fixture(params=["edge", "local", "server"])
def store(request, memory_path):
    if request.param == "edge":
        copy_closed(request.getfixturevalue("edge_directory"), memory_path / "data")
        opened = EdgeStore(memory_path / "data", min_free_bytes=0)
    elif request.param == "local":
        opened = ServerStore(QdrantClient(":memory:"), prefix="test")
    elif "QDRANT_URL" in os.environ:
        opened = ServerStore.connect(
            os.environ["QDRANT_URL"],
            api_key=os.environ.get("QDRANT_API_KEY", ""),
            prefix=f"test-{uuid.uuid4().hex}",
        )
    else:
        pytest.skip("QDRANT_URL names no Qdrant server")
    yield opened
    if request.param == "server":
        opened.set_active(opened.open("last/1", dimension=1).model_version)
        for version in opened.model_versions():
            if version != "last/1":
                opened.drop(version)
    opened.close()


@pytest.fixture
def collection(store):
    return store.open(VERSION, dimension=DIMENSION)


def vector(seed):
    values = np.random.default_rng(seed).standard_normal(DIMENSION).astype(np.float32)
    return values / np.linalg.norm(values)


def point(number, *, image_id=None, archive="press", **payload):
    name = Name(archive=archive, image_id=image_id or f"image-{number:04d}")
    fields = {
        "archive": archive,
        "image_id": name.image_id,
        "sha256": f"{number:064x}",
        **order_keys(name.image_id),
        **payload,
    }
    return Point(id=name.point_id, vector=vector(number), payload=fields)


def numbers(hits):
    return [int(hit.payload["sha256"], 16) for hit in hits]


def found(collection, *, filter=EVERYTHING, at=0, **options):  # noqa: A002 - the port's name
    (hits,) = collection.query([Query(vector=vector(at), limit=50, filter=filter, **options)])
    return numbers(hits)


def test_what_was_stored_is_read_back(collection):
    stored = point(
        1,
        journal="L'Illustration",
        earliest=700_000,
        labels={"medium": ["photo", "halftone"]},
        page_region=[1, 2, 3, 4],
        create_time=1_795_436_284_806_722,
    )
    collection.upsert([stored, point(2)])
    back = collection.retrieve([stored.id, uuid.uuid4()], vectors=True)
    assert list(back) == [stored.id]
    assert back[stored.id].payload == stored.payload
    np.testing.assert_allclose(back[stored.id].vector, stored.vector, atol=1e-6)
    assert collection.retrieve([stored.id])[stored.id].vector is None


def test_upsert_replaces(collection):
    collection.upsert([point(1, journal="old"), point(2)])
    changed = Point(id=point(1).id, vector=vector(9), payload={**point(1).payload, "page": "7"})
    collection.upsert([changed])
    assert collection.count(EVERYTHING) == 2
    back = collection.retrieve([changed.id], vectors=True)[changed.id]
    assert back.payload == changed.payload
    np.testing.assert_allclose(back.vector, vector(9), atol=1e-6)
    assert found(collection, at=9)[0] == 1


def test_payloads_are_overwritten_and_vectors_stay(collection):
    collection.upsert([point(1, journal="old", page="3"), point(2, journal="old")])
    first = point(1).id
    collection.overwrite_payloads({first: {**point(1).payload, "journal": "new"}})
    back = collection.retrieve([first], vectors=True)[first]
    assert back.payload == {**point(1).payload, "journal": "new"}
    np.testing.assert_allclose(back.vector, vector(1), atol=1e-6)
    assert found(collection, filter=Filter(must=(AnyOf("journal", ("new",)),))) == [1]
    assert found(collection, filter=Filter(must=(AnyOf("journal", ("old",)),))) == [2]


def test_deleting(collection):
    collection.upsert([point(number) for number in range(5)])
    collection.delete([point(1).id, point(3).id, uuid.uuid4()])
    assert sorted(found(collection)) == [0, 2, 4]
    assert collection.count(EVERYTHING) == 3


def test_hits_come_most_similar_first_with_cosine_scores(collection):
    collection.upsert([point(number) for number in range(20)])
    (hits,) = collection.query([Query(vector=vector(3), limit=20)])
    expected = {number: float(vector(3) @ vector(number)) for number in range(20)}
    assert numbers(hits) == sorted(expected, key=lambda number: -expected[number])
    for hit in hits:
        assert hit.score == pytest.approx(expected[int(hit.payload["sha256"], 16)], abs=1e-5)


def test_a_batch_of_queries_answers_each(collection):
    collection.upsert([point(number, journal=f"j{number % 2}") for number in range(10)])
    odd = Filter(must=(AnyOf("journal", ("j1",)),))
    answers = collection.query(
        [
            Query(vector=vector(4), limit=1),
            Query(vector=vector(4), limit=3, filter=odd),
            Query(vector=vector(7), limit=2, exact=True),
        ]
    )
    assert [len(hits) for hits in answers] == [1, 3, 2]
    assert numbers(answers[0]) == [4]
    assert all(number % 2 for number in numbers(answers[1]))
    assert numbers(answers[2])[0] == 7


def test_payloads_come_where_they_are_asked_for(collection):
    collection.upsert([point(number, journal="j") for number in range(10)])
    asked, bare = collection.query(
        [Query(vector=vector(4), limit=3), Query(vector=vector(4), limit=3, payloads=False)]
    )
    assert [hit.id for hit in asked] == [hit.id for hit in bare]
    assert [hit.payload["journal"] for hit in asked] == ["j"] * 3
    assert [hit.payload for hit in bare] == [{}] * 3


def test_the_threshold_includes_its_value(collection):
    collection.upsert([point(number) for number in range(10)])
    scores = sorted(float(vector(0) @ vector(number)) for number in range(10))
    assert len(found(collection, min_score=scores[5] - 1e-4)) == 5
    assert found(collection, min_score=0.999) == [0]


@pytest.fixture
def catalogue(collection):
    collection.upsert(
        [
            point(0, journal="A", language="de", earliest=100, latest=200, words=["a", "b"]),
            point(1, journal="B", language="de", earliest=150, latest=150, words=["b"]),
            point(2, journal="B", language="fr", earliest=300, latest=310),
            point(3, journal="C", archive="other", label_values=["medium=photo", "size=big"]),
            point(4, label_values=["medium=wood"]),
        ]
    )
    return collection


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        pytest.param(EVERYTHING, {0, 1, 2, 3, 4}, id="everything"),
        pytest.param(Filter(must=(AnyOf("journal", ("B",)),)), {1, 2}, id="one value"),
        pytest.param(Filter(must=(AnyOf("journal", ("A", "C")),)), {0, 3}, id="values are ORed"),
        pytest.param(Filter(must=(AnyOf("journal", ("unknown",)),)), set(), id="unknown"),
        pytest.param(Filter(must=(AnyOf("archive", ("other",)),)), {3}, id="archive"),
        pytest.param(
            Filter(must=(AnyOf("journal", ("B",)), AnyOf("language", ("de",)))), {1}, id="AND"
        ),
        pytest.param(
            Filter(must=(Between(key="latest", low=150), Between(key="earliest", high=150))),
            {0, 1},
            id="dates overlap",
        ),
        pytest.param(
            Filter(must=(Between(key="latest", low=0),)), {0, 1, 2}, id="without a date never"
        ),
        pytest.param(
            Filter(must=(AnyOf("words", ("a",)), AnyOf("words", ("b",)))), {0}, id="words"
        ),
        pytest.param(
            Filter(must=(AnyOf("label_values", ("medium=photo", "medium=wood")),)),
            {3, 4},
            id="labels",
        ),
        pytest.param(Filter(must=(Ids((point(1).id, point(4).id)),)), {1, 4}, id="ids"),
        pytest.param(Filter(must_not=(Ids((point(1).id,)),)), {0, 2, 3, 4}, id="not an id"),
        pytest.param(
            Filter(must_not=(Filter(must=(AnyOf("journal", ("B",)), AnyOf("language", ("de",)))),)),
            {0, 2, 3, 4},
            id="exclude is ANDed inside",
        ),
        pytest.param(
            Filter(
                must=(AnyOf("language", ("de", "fr")),),
                must_not=(Filter(must=(AnyOf("journal", ("A",)),)),),
            ),
            {1, 2},
            id="both",
        ),
        pytest.param(Filter(must_not=(Filter(),)), set(), id="not everything"),
    ],
)
def test_filters_mean_the_same_everywhere(catalogue, condition, expected):
    assert set(found(catalogue, filter=condition)) == expected
    assert catalogue.count(condition) == len(expected)
    assert set(numbers(catalogue.scan(filter=condition, page=2))) == expected
    facet = catalogue.facet("sha256", filter=condition, limit=100)
    assert {int(str(value), 16) for value, _ in facet} == expected


def test_facets_count_values_under_a_filter(collection):
    collection.upsert(
        [
            point(number, journal=f"j{number % 3}", year=str(1900 + number % 2))
            for number in range(9)
        ]
        + [point(100)]
    )
    journals = collection.facet("journal", filter=EVERYTHING, limit=10)
    assert sorted(journals) == [("j0", 3), ("j1", 3), ("j2", 3)]
    condition = Filter(must=(AnyOf("journal", ("j0", "j1")),))
    years = collection.facet("year", filter=condition, limit=10)
    assert sorted(years) == [("1900", 3), ("1901", 3)]
    assert len(collection.facet("journal", filter=EVERYTHING, limit=2)) == 2


IDS = [
    "a",
    "b",
    "abcdef",
    "abcdefg",
    "abcdef-1",
    "a/b/c",
    "ä",
    "数",
    "z" * 36,
    "z" * 36 + "1",
    "z" * 36 + "2",
    "z" * 80,
    *(f"18880101_{page:03d}_{at:02d}" for page in range(6) for at in range(5)),
]


@pytest.mark.parametrize("page_size", [1, 2, 7, 100])
def test_records_are_listed_in_the_order_of_their_names(collection, page_size):
    points = [
        point(number, image_id=image_id, archive=archive, journal=f"j{number % 2}")
        for number, (archive, image_id) in enumerate(
            (archive, image_id) for archive in ("a", "a-b", "b") for image_id in IDS
        )
    ]
    np.random.default_rng(0).shuffle(points)
    collection.upsert(points)
    condition = Filter(must=(AnyOf("journal", ("j0",)),))
    expected = sorted(
        str(Name(each.payload["archive"], each.payload["image_id"]))
        for each in points
        if each.payload["journal"] == "j0"
    )
    listed = []
    after = None
    while page := list_by_name(collection, condition=condition, after=after, limit=page_size):
        assert len(page) <= page_size
        names = [Name(each.payload["archive"], each.payload["image_id"]) for each in page]
        listed += [str(name) for name in names]
        after = names[-1]
    assert listed == expected


def test_a_listing_is_not_moved_by_insertions(collection):
    collection.upsert([point(number) for number in range(0, 40, 2)])
    first = list_by_name(collection, condition=EVERYTHING, after=None, limit=10)
    collection.upsert([point(number) for number in range(1, 40, 2)])
    after = Name(first[-1].payload["archive"], first[-1].payload["image_id"])
    second = list_by_name(collection, condition=EVERYTHING, after=after, limit=5)
    assert numbers(first) == list(range(0, 20, 2))
    assert numbers(second) == [19, 20, 21, 22, 23]


def test_collections_and_the_active_one(store):
    assert store.active() is None
    first = store.open("model/1", dimension=DIMENSION)
    second = store.open("other.model-x/2", dimension=8)
    assert (first.dimension, second.dimension) == (DIMENSION, 8)
    assert store.model_versions() == ["model/1", "other.model-x/2"]
    store.set_active("model/1")
    store.set_active("other.model-x/2")
    assert store.active() == "other.model-x/2"
    with pytest.raises(errors.FailedPrecondition):
        store.drop("other.model-x/2")
    store.drop("model/1")
    assert store.model_versions() == ["other.model-x/2"]
    with pytest.raises(errors.NotFound):
        store.set_active("model/1")
    with pytest.raises(errors.NotFound):
        store.open("model/1", dimension=None)


def test_a_collection_keeps_its_dimension(store):
    store.open(VERSION, dimension=DIMENSION)
    assert store.open(VERSION, dimension=None).dimension == DIMENSION
    with pytest.raises(errors.FailedPrecondition, match="16 dimensions"):
        store.open(VERSION, dimension=DIMENSION + 1)
