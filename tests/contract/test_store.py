"""One suite over every adapter of the store port.

Qdrant Edge and `qdrant-client`'s local mode run always; a Qdrant server where `QDRANT_URL` names
its gRPC address.
"""

from __future__ import annotations

import dataclasses
import json
import uuid

import numpy as np
import pytest
from qdrant_client import models

from halftone.archive.records import Name
from halftone.core import errors
from halftone.services.search.archive.listing import list_by_name, order_keys
from halftone.services.search.store.edge.store import EdgeStore
from halftone.services.search.store.port import (
    EVERYTHING,
    AnyOf,
    Between,
    Channel,
    Filter,
    Ids,
    Point,
    Query,
    Words,
)
from tests.contract.conftest import DIMENSION, VERSION

# What the local mode says of itself; it is a double for tests.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect:UserWarning"),
    pytest.mark.filterwarnings("ignore:Local mode performs exact:UserWarning"),
]


def vector(seed):
    values = np.random.default_rng(seed).standard_normal(DIMENSION).astype(np.float32)
    return values / np.linalg.norm(values)


def pdq(seed):
    return np.random.default_rng((seed, 1)).choice([-1.0, 1.0], 256).astype(np.float32)


def words(seed, *, count=30):
    chance = np.random.default_rng((seed, 2))
    indices = np.sort(chance.choice(16_384 if seed % 2 else 60, count, replace=False))
    values = chance.uniform(0.5, 2, count).astype(np.float32)
    return Words(indices.astype(np.uint32), values / np.linalg.norm(values))


def overlap(first, second):
    dense = np.zeros((2, 16_384))
    dense[0, first.indices], dense[1, second.indices] = first.values, second.values
    return float(dense[0] @ dense[1])


def point(number, *, image_id=None, archive="press", **payload):
    name = Name(archive=archive, image_id=image_id or f"image-{number:04d}")
    fields = {
        "archive": archive,
        "image_id": name.image_id,
        "sha256": f"{number:064x}",
        **order_keys(name.image_id),
        **payload,
    }
    return Point(
        id=name.point_id,
        vector=vector(number),
        payload=fields,
        pdq=pdq(number),
        words=words(number),
    )


def assert_same_vectors(back, expected):
    np.testing.assert_allclose(back.vector, expected.vector, atol=1e-6)
    np.testing.assert_array_equal(back.pdq, expected.pdq)
    np.testing.assert_array_equal(back.words.indices, expected.words.indices)
    np.testing.assert_allclose(back.words.values, expected.words.values, atol=1e-6)
    assert back.pdq.dtype == back.words.values.dtype == np.float32
    assert back.words.indices.dtype == np.uint32


def numbers(hits):
    return [int(hit.payload["sha256"], 16) for hit in hits]


def found(collection, *, filter=EVERYTHING, at=0, query=None, **options):  # noqa: A002 - the port's name
    asked = vector(at) if query is None else query
    (hits,) = collection.query([Query(vector=asked, limit=50, filter=filter, **options)])
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
    assert_same_vectors(back[stored.id], stored)
    bare = collection.retrieve([stored.id])[stored.id]
    assert (bare.vector, bare.pdq, bare.words) == (None, None, None)


def test_a_point_may_do_without_a_hash_and_words(collection):
    nothing = Words(np.zeros(0, dtype=np.uint32), np.zeros(0, dtype=np.float32))
    plain = [
        dataclasses.replace(point(1), pdq=None, words=None),
        dataclasses.replace(point(2), words=nothing),
    ]
    collection.upsert([*plain, point(3)])
    back = collection.retrieve([each.id for each in plain], vectors=True)
    assert (back[plain[0].id].pdq, back[plain[0].id].words) == (None, None)
    np.testing.assert_array_equal(back[plain[1].id].pdq, plain[1].pdq)
    assert back[plain[1].id].words is None
    assert sorted(found(collection)) == [1, 2, 3]
    assert sorted(found(collection, query=pdq(1), using=Channel.PDQ)) == [2, 3]
    assert found(collection, query=words(3), using=Channel.WORDS) == [3]
    assert found(collection, query=nothing, using=Channel.WORDS) == []


def test_upsert_replaces(collection):
    collection.upsert([point(1, journal="old"), point(2)])
    changed = dataclasses.replace(
        point(9), id=point(1).id, payload={**point(1).payload, "page": "7"}
    )
    collection.upsert([changed])
    assert collection.count(EVERYTHING) == 2
    back = collection.retrieve([changed.id], vectors=True)[changed.id]
    assert back.payload == changed.payload
    assert_same_vectors(back, changed)
    assert found(collection, at=9)[0] == 1
    for using, old, new in ((Channel.PDQ, pdq(1), pdq(9)), (Channel.WORDS, words(1), words(9))):
        assert found(collection, query=new, using=using, min_score=0.99) == [1]
        assert found(collection, query=old, using=using, min_score=0.99) == []


def test_what_a_new_point_lacks_is_gone(collection):
    collection.upsert([point(1), point(2)])
    collection.upsert([dataclasses.replace(point(1), pdq=None, words=None)])
    back = collection.retrieve([point(1).id], vectors=True)[point(1).id]
    assert (back.pdq, back.words) == (None, None)
    assert found(collection, query=pdq(1), using=Channel.PDQ) == [2]
    assert 1 not in found(collection, query=words(1), using=Channel.WORDS)


def test_payloads_are_overwritten_and_vectors_stay(collection):
    collection.upsert([point(1, journal="old", page="3"), point(2, journal="old")])
    first = point(1).id
    collection.overwrite_payloads({first: {**point(1).payload, "journal": "new"}})
    back = collection.retrieve([first], vectors=True)[first]
    assert back.payload == {**point(1).payload, "journal": "new"}
    assert_same_vectors(back, point(1))
    assert found(collection, filter=Filter(must=(AnyOf("journal", ("new",)),))) == [1]
    assert found(collection, filter=Filter(must=(AnyOf("journal", ("old",)),))) == [2]


def test_deleting(collection):
    collection.upsert([point(number) for number in range(5)])
    collection.delete([point(1).id, point(3).id, uuid.uuid4()])
    assert sorted(found(collection)) == [0, 2, 4]
    assert sorted(found(collection, query=pdq(1), using=Channel.PDQ)) == [0, 2, 4]
    assert sorted(found(collection, query=words(0), using=Channel.WORDS)) == [0, 2, 4]
    assert collection.count(EVERYTHING) == 3


def test_hits_come_most_similar_first_with_cosine_scores(collection):
    collection.upsert([point(number) for number in range(20)])
    (hits,) = collection.query([Query(vector=vector(3), limit=20)])
    expected = {number: float(vector(3) @ vector(number)) for number in range(20)}
    assert numbers(hits) == sorted(expected, key=lambda number: -expected[number])
    for hit in hits:
        assert hit.score == pytest.approx(expected[int(hit.payload["sha256"], 16)], abs=1e-5)


def test_hashes_are_found_in_the_order_of_their_bits(collection):
    collection.upsert([point(number) for number in range(40)])
    asked = pdq(7).copy()
    asked[:20] *= -1
    (hits,) = collection.query([Query(vector=asked, limit=40, using=Channel.PDQ)])
    expected = {
        number: 1 - 2 * np.count_nonzero(asked != pdq(number)) / 256 for number in range(40)
    }
    assert numbers(hits)[0] == 7
    assert sorted(numbers(hits)) == list(range(40))
    assert [hit.score for hit in hits] == pytest.approx(
        [expected[number] for number in numbers(hits)], abs=1e-5
    )
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    within = sorted(number for number, score in expected.items() if score > -0.01)
    assert sorted(found(collection, query=asked, using=Channel.PDQ, min_score=-0.01)) == within


def test_words_are_found_by_their_dot_product(collection):
    collection.upsert([point(number) for number in range(40)])
    asked = words(6)
    (hits,) = collection.query([Query(vector=asked, limit=10, using=Channel.WORDS)])
    expected = {number: overlap(asked, words(number)) for number in range(40)}
    best = sorted(expected, key=lambda number: -expected[number])[:10]
    assert numbers(hits) == best
    assert [hit.score for hit in hits] == pytest.approx([expected[each] for each in best], abs=1e-5)
    # What shares no word is not found at all.
    everything = found(collection, query=asked, using=Channel.WORDS)
    assert set(everything) == {number for number, score in expected.items() if score > 0}
    above = {number for number, score in expected.items() if score >= 0.4}
    assert set(found(collection, query=asked, using=Channel.WORDS, min_score=0.4)) == above


def test_the_channels_can_be_asked_together(collection):
    collection.upsert([point(number) for number in range(10)])
    answers = collection.query(
        [
            Query(vector=vector(3), limit=1),
            Query(vector=pdq(4), limit=2, using=Channel.PDQ),
            Query(vector=words(5), limit=1, using=Channel.WORDS, payloads=False),
        ]
    )
    assert [hits[0].id for hits in answers] == [point(number).id for number in (3, 4, 5)]
    assert [len(hits) for hits in answers] == [1, 2, 1]
    assert [bool(hits[0].payload) for hits in answers] == [True, True, False]


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


PAGE = "archives/press/images/1914-08-22/p 1.jpg"


@pytest.fixture
def catalogue(collection):
    collection.upsert(
        [
            point(0, journal="A", language="de", earliest=100, latest=200, words=["a", "b"]),
            point(1, journal="B", language="de", earliest=150, latest=150, words=["b"]),
            point(2, journal="B", language="fr", earliest=300, latest=310),
            point(3, journal="C", archive="other", label_values=["medium=photo", "size=big"]),
            point(4, label_values=["medium=wood"], kind="picture", page_image=PAGE),
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
        pytest.param(Filter(must=(AnyOf("page_image", (PAGE,)),)), {4}, id="on a page"),
        pytest.param(Filter(must=(AnyOf("page_image", (PAGE[:-1],)),)), set(), id="another page"),
        pytest.param(Filter(must=(AnyOf("kind", ("picture",)),)), {4}, id="pictures"),
        pytest.param(Filter(must_not=(AnyOf("kind", ("picture",)),)), {0, 1, 2, 3}, id="pages"),
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
    assert set(found(catalogue, filter=condition, query=pdq(0), using=Channel.PDQ)) == expected
    everything = Words(np.arange(16_384, dtype=np.uint32), np.full(16_384, 0.01, dtype=np.float32))
    by_words = found(catalogue, filter=condition, query=everything, using=Channel.WORDS)
    assert set(by_words) == expected
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


def test_a_facet_of_a_field_with_several_values_counts_each(collection):
    """Labels are such a field; values that differ in case or have an equals sign are two."""
    values = [["place=Berlin", "tag=a=b"], ["place=Berlin"], ["place=berlin", "place=Paris"], []]
    collection.upsert(
        [
            point(number, archive=f"a{number % 2}", label_values=labels)
            for number, labels in enumerate(values)
        ]
    )
    counts = collection.facet("label_values", filter=EVERYTHING, limit=10)
    assert dict(counts) == {
        "place=Berlin": 2,
        "place=berlin": 1,
        "place=Paris": 1,
        "tag=a=b": 1,
    }
    assert counts[0] == ("place=Berlin", 2)
    condition = Filter(must=(AnyOf("label_values", ("place=Paris",)),))
    assert dict(collection.facet("label_values", filter=condition, limit=10)) == {
        "place=Paris": 1,
        "place=berlin": 1,
    }
    assert sorted(collection.facet("archive", filter=EVERYTHING, limit=10)) == [
        ("a0", 2),
        ("a1", 2),
    ]


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


def test_a_dropped_collection_is_not_found(store):
    """Another process may have dropped it."""
    collection = store.open(VERSION, dimension=DIMENSION)
    collection.upsert([point(1)])
    store.drop(VERSION)
    calls = (
        lambda: collection.count(EVERYTHING),
        lambda: collection.delete([point(1).id]),
        lambda: collection.retrieve([point(1).id]),
        lambda: collection.upsert([point(1)]),
        lambda: found(collection),
    )
    for call in calls:
        with pytest.raises(errors.NotFound):
            call()


def test_a_collection_keeps_its_dimension(store):
    store.open(VERSION, dimension=DIMENSION)
    assert store.open(VERSION, dimension=None).dimension == DIMENSION
    with pytest.raises(errors.FailedPrecondition, match="16 dimensions"):
        store.open(VERSION, dimension=DIMENSION + 1)


def test_a_collection_of_other_words_is_refused(store, memory_path):
    assert store.open(VERSION, dimension=DIMENSION).dimension == DIMENSION
    if isinstance(store, EdgeStore):
        store.close()
        marker = memory_path / "data" / "model@1" / "collection.json"
        described = json.loads(marker.read_text())
        marker.write_text(json.dumps(described | {"words": "others-7"}))
        store = EdgeStore(memory_path / "data", min_free_bytes=0)
    else:
        store._client.update_collection(
            store._name(VERSION), metadata={"halftone_words": "others-7"}
        )
    with pytest.raises(errors.FailedPrecondition, match="words of others-7, and this") as caught:
        store.open(VERSION, dimension=None)
    assert caught.value.reason == "COLLECTION_WORDS"
    if isinstance(store, EdgeStore):
        store.close()


@pytest.mark.parametrize("dimension", [None, DIMENSION])
def test_a_collection_of_the_earlier_layout_is_refused(store, memory_path, dimension):
    if isinstance(store, EdgeStore):
        store.open(VERSION, dimension=DIMENSION)
        store.close()
        marker = memory_path / "data" / "model@1" / "collection.json"
        marker.write_text(json.dumps({"model_version": VERSION, "dimension": DIMENSION}))
        store = EdgeStore(memory_path / "data", min_free_bytes=0)
    else:
        vectors = models.VectorParams(size=DIMENSION, distance=models.Distance.COSINE)
        store._client.create_collection(store._name(VERSION), vectors_config=vectors)
    with pytest.raises(errors.FailedPrecondition, match="import the archive again") as caught:
        store.open(VERSION, dimension=dimension)
    assert caught.value.reason == "COLLECTION_LAYOUT"
    if isinstance(store, EdgeStore):
        store.close()
