"""Every case that takes `connect` or `client` runs over both clients."""

from __future__ import annotations

import contextlib

import pytest

from halftone.client import RetryPolicy
from tests.support.client.both_clients import CLIENTS
from tests.support.client.fake_search import FakeSearch

QUICK = RetryPolicy(first_pause=0.01, longest_pause=0.05, import_patience=5)


@pytest.fixture
def fake():
    with FakeSearch() as server:
        yield server


@pytest.fixture(params=CLIENTS)
def connect(request):
    """Makes clients, which are closed at the end."""
    with contextlib.ExitStack() as stack:
        yield lambda *args, **options: stack.enter_context(
            CLIENTS[request.param](*args, **{"retries": QUICK, **options})
        )


@pytest.fixture
def client(fake, connect):
    return connect(fake.address, embedder=fake.address, timeout=10)
