"""docs/access.md says which scope opens which call and which address."""

from __future__ import annotations

from pathlib import Path

from halftone.service.access import SCOPES
from halftone.services.web.app import ROUTES, GuardedRoute
from tests.support import access_table

PAGE = Path(__file__).parents[3] / "docs/access.md"


def test_the_table_is_complete():
    """`access_table.draw` writes it anew."""
    assert access_table.draw() in PAGE.read_text()


def test_a_call_and_an_address_have_scopes():
    assert {path for path, _ in access_table.list_methods()} == set(SCOPES)
    for route in ROUTES:
        assert isinstance(route, GuardedRoute) is (route.path not in access_table.OPEN), route.path
        assert getattr(route, "scopes", True), route.path
