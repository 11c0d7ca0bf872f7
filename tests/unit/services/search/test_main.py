"""The search service's entry point."""

from __future__ import annotations

from halftone.core.settings import SearchSettings
from halftone.services.search.__main__ import LISTS
from halftone.v1 import clusters_pb2, models_pb2, search_pb2


def test_methods_with_a_limit_exist_and_every_list_has_one():
    methods = {
        method.name
        for contract in (clusters_pb2, models_pb2, search_pb2)
        for service in contract.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    assert methods >= LISTS | {"GetThumbnail"}
    assert {method for method in methods if method.startswith("List")} <= LISTS


def test_two_pages_of_cold_thumbnails_are_not_refused():
    assert SearchSettings().max_concurrent_thumbnails >= 200
