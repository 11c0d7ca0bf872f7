"""Facets of every store, compared with counting the records one by one."""

from __future__ import annotations

import collections
import random

import numpy as np
import pytest

from halftone.archive.records import parse_name
from halftone.core import errors
from halftone.services.search.archive.facets import count_facets, make_histogram
from halftone.services.search.archive.payload import to_payload
from halftone.services.search.store.port import Point
from halftone.v1 import search_pb2
from tests.contract.conftest import DIMENSION

pytestmark = [
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect:UserWarning"),
    pytest.mark.filterwarnings("ignore:Local mode performs exact:UserWarning"),
]


def _records():
    chance = random.Random(7)
    for number in range(80):
        archive = chance.choice(["press", "plates"])
        image = search_pb2.Image(
            name=f"archives/{archive}/images/{number}",
            journal=chance.choice(["Courier", "Rundschau", ""]),
            language=chance.choice(["en", "de", ""]),
            date=chance.choice(["", "1914-08", "1915", "1921-02-03", "1948~"]),
        )
        if desk := chance.choice(["", "north", "south"]):
            image.labels["desk"].values.append(desk)
        if number % 3:
            image.labels["shelf"].values.extend({chance.choice("ab"), chance.choice("ab")})
        yield image


RECORDS = list(_records())
FILTER = search_pb2.Filter(
    archives=["press"],
    journals=["Courier", "Rundschau"],
    languages=["en"],
    date=search_pb2.DateRange(start="1914", end="1930"),
    labels={"desk": search_pb2.Labels(values=["north"])},
)


@pytest.fixture
def filled(collection):
    points = []
    for image in RECORDS:
        name = parse_name(image.name)
        values = np.random.default_rng(len(points)).standard_normal(DIMENSION).astype(np.float32)
        payload = {**to_payload(image, name=name), "sha256": f"{len(points):064x}"}
        points.append(Point(id=name.point_id, vector=values, payload=payload))
    collection.upsert(points)
    return collection


def matches(image, where, *, without="", label=""):
    """Whether a record matches a filter, without one of its fields or labels."""
    year = int(image.date[:4]) if image.date else None
    checks = {
        "archives": image.name.split("/")[1] in where.archives,
        "journals": image.journal in where.journals,
        "languages": image.language in where.languages,
        "date": year is not None
        and int(where.date.start or 0) <= year <= int(where.date.end or 9999),
    }
    asked = {field.name for field, _ in where.ListFields()} - {without}
    return all(passes for field, passes in checks.items() if field in asked) and all(
        set(image.labels[key].values if key in image.labels else ()) & set(values.values)
        for key, values in where.labels.items()
        if key != label
    )


def count(values):
    counts = collections.Counter(value for value in values if value)
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))


@pytest.mark.parametrize("where", [search_pb2.Filter(), FILTER])
@pytest.mark.parametrize("ignored", [False, True])
def test_counts_follow_the_filter_and_their_own_values_if_asked(filled, where, ignored):
    response = count_facets(
        filled,
        search_pb2.CountFacetsRequest(
            filter=where, include_labels=True, ignore_own_values=ignored, year_buckets=500
        ),
    )

    def under(field="", label=""):
        own = {"without": field, "label": label} if ignored else {}
        return [image for image in RECORDS if matches(image, where, **own)]

    def read(facets):
        return [(facet.value, facet.count) for facet in facets]

    assert response.total_count == len([each for each in RECORDS if matches(each, where)])
    assert response.total_count
    archives = count(image.name.split("/")[1] for image in under("archives"))
    assert read(response.archives) == archives
    assert read(response.journals) == count(image.journal for image in under("journals"))
    assert read(response.languages) == count(image.language for image in under("languages"))
    years = count(image.date[:4] for image in under("date"))
    assert read(response.years) == sorted(years)
    bars = {bar.first_year: bar.count for bar in response.year_histogram if bar.count}
    assert bars == {int(year): number for year, number in years}
    assert response.undated_count == len([each for each in under("date") if not each.date])
    labels = {(facet.key, facet.value): facet.count for facet in response.labels}
    wanted = {
        (key, value): number
        for key in ("desk", "shelf")
        for value, number in count(
            value
            for image in under(label=key if key in where.labels else "")
            for value in (image.labels[key].values if key in image.labels else ())
        )
    }
    assert labels == wanted


def test_a_wrong_filter_is_refused_even_where_it_would_be_left_out(filled):
    where = search_pb2.Filter(date=search_pb2.DateRange(start="soon"))
    with pytest.raises(errors.InvalidArgument) as raised:
        count_facets(filled, search_pb2.CountFacetsRequest(filter=where, ignore_own_values=True))
    assert raised.value.field == "filter.date.start"


@pytest.mark.parametrize("bars", [0, 501])
def test_the_number_of_bars_is_bounded(filled, bars):
    with pytest.raises(errors.InvalidArgument) as raised:
        count_facets(filled, search_pb2.CountFacetsRequest(year_buckets=bars))
    assert raised.value.field == "year_buckets"


@pytest.mark.parametrize(
    ("years", "most", "bars"),
    [
        ([], 10, []),
        ([("1914", 3)], 1, [(1914, 1914, 3)]),
        ([("1914", 3), ("1916", 1)], 3, [(1914, 1914, 3), (1915, 1915, 0), (1916, 1916, 1)]),
        ([("1914", 3), ("1916", 1)], 2, [(1914, 1915, 3), (1916, 1917, 1)]),
        ([("1899", 1), ("1914", 3)], 2, [(1880, 1899, 1), (1900, 1919, 3)]),
        ([("0001", 1), ("9999", 2)], 1, [(0, 9999, 3)]),
    ],
)
def test_bars_are_of_equal_length_without_gaps(years, most, bars):
    made = [(bar.first_year, bar.last_year, bar.count) for bar in make_histogram(years, most=most)]
    assert made == bars
