"""An archive in memory for the steps of clusters, and a comparer that finds everything alike."""

from __future__ import annotations

import asyncio
import types
import uuid

from halftone.archive import records
from halftone.services.search.archive.pace import Traffic
from halftone.services.search.clusters import pairs as cluster_pairs
from halftone.services.search.clusters.chronology import DatedPrinting
from halftone.services.search.clusters.pairs import PairComparison
from halftone.services.search.clusters.steps import ClusterSteps
from halftone.services.search.store.port import Stored
from halftone.v1 import search_pb2

VERSION = "model/2"


def sha(number: int) -> bytes:
    return bytes([number]) * 32


class Archive:
    """Images by number; stands for the holdings and for their collection."""

    model_version = VERSION

    def __init__(self) -> None:
        self.points: dict[uuid.UUID, Stored] = {}
        self.collection = self
        self.threads = self

    def put(self, number: int, *, shows: int) -> bytes:
        point = records.Name("press", str(number)).point_id
        payload = {
            "archive": "press",
            "image_id": str(number),
            "sha256": sha(shows).hex(),
            "width": 4,
            "height": 3,
            "create_time": 0,
            "update_time": 0,
        }
        self.points[point] = Stored(id=point, payload=payload)
        return point.bytes

    def remove(self, number: int) -> None:
        del self.points[records.Name("press", str(number)).point_id]

    def retrieve(self, ids, *, vectors=False):
        return {each: self.points[each] for each in ids if each in self.points}

    def scan(self, **_condition):
        return iter(list(self.points.values()))

    async def read(self, operation, call, /, *args, **kwargs):
        return await asyncio.to_thread(call, *args, **kwargs)

    read_list = read

    def describe(self, points):
        return {
            each: DatedPrinting.of(each, self.points[uuid.UUID(bytes=each)].payload)
            for each in points
            if uuid.UUID(bytes=each) in self.points
        }


class Comparer:
    """Finds everything alike, and remembers what it was asked."""

    matching = "1"

    def __init__(self) -> None:
        self.rescores = 0

    def compare(self, pairs, *, model_version, alone):
        return [pair(a.sha, b.sha) for a, b in pairs]

    def rescore(self, pairs, *, model_version):
        self.rescores += len(pairs)
        return [(0.5, search_pb2.Hit.REPRINT, b"anew")] * len(pairs)


def pair(a: bytes, b: bytes, *, relation: int = search_pb2.Hit.REPRINT) -> PairComparison:
    return PairComparison(
        a=min(a, b),
        b=max(a, b),
        probability=0.99,
        share=1.0,
        relation=relation,
        evidence=b"",
        verification=b"",
    )


def put(connection, *compared, version=VERSION):
    cluster_pairs.put_pairs(connection, compared, model_version=version, matching="1", job=1)


def steps_of(database, archive, comparer) -> ClusterSteps:
    """The steps over a file and such an archive."""
    counter = types.SimpleNamespace(inc=lambda _count: None)
    parts = types.SimpleNamespace(
        holdings=archive,
        traffic=Traffic(),
        metrics=types.SimpleNamespace(counter=lambda *_words: counter),
    )
    return ClusterSteps(parts, database=database, comparer=comparer)


def count_images(connection) -> int:
    """How many images the table has."""
    return connection.execute("SELECT count(*) FROM images").fetchone()[0]
