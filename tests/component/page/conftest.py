"""The page as a process of its own, in a real browser, before a service that is a fake."""

from __future__ import annotations

import pytest

from tests.support.client import chromium
from tests.support.client.chromium import Reader
from tests.support.client.fake_models import METRICS, SPEC, FakeModels
from tests.support.client.served_page import Served


@pytest.fixture(scope="module")
def fake():
    with FakeModels() as server:
        server.names = server.story()
        server.add_version("new/2", spec=SPEC, metrics=METRICS)
        server.add_version("old/1", active=True)
        yield server


@pytest.fixture(scope="module")
def served(fake, tmp_path_factory):
    with Served(tmp_path_factory.mktemp("page"), search=fake.address) as served:
        yield served


@pytest.fixture(scope="module")
def browser():
    with chromium.started() as browser:
        yield browser


@pytest.fixture
def reader(browser, served):
    with Reader(browser, served.address) as reader:
        yield reader
        assert not reader.complaints
        assert reader.hosts <= {served.address.removeprefix("http://")}


@pytest.fixture
def pages(fake):
    first, second = fake.names[:2]
    return {
        "home": "/",
        "search": f"/search?image={first}",
        "browse": "/images",
        "record": f"/image?name={first}",
        "compare": f"/compare?a={first}&b={second}",
        "overlay": f"/compare?a={first}&b={second}&view=overlay",
        "judge": "/judge",
        "clusters": "/clusters",
        "cluster": f"/cluster?name={first}",
        "import": "/import",
        "work": "/work",
        "model": "/model?name=new/2",
        "sign-in": "/sign-in",
        "error": "/nowhere",
    }
