"""The page before a cluster service that keeps the story of a picture in memory."""

from __future__ import annotations

import pytest

from tests.support.client import page
from tests.support.client.fake_clusters import FakeClusters


@pytest.fixture
def fake():
    with FakeClusters() as server:
        server.names = server.story()
        yield server


@pytest.fixture
def browser(fake, tmp_path):
    with page.opened(fake, tmp_path / "web") as browser:
        yield browser
