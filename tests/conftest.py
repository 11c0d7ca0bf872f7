"""Fixtures for all tests."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

# Two workers and their services share two cores, and a thread that waits for another one spins.
# Torch reads this when it is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import pytest

from tests.support.system import memory_folder

# The same examples each time, so that a run is red for what was changed and for nothing else, and
# without bounds on their time, which a busy machine exceeds.
hypothesis.settings.register_profile(
    "halftone",
    deadline=None,
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("halftone")

# Commands say which stack they ask if several run; those of the developer are none of the tests'.
os.environ["HALFTONE_STACKS"] = tempfile.mkdtemp(prefix="halftone-test-stacks-")
atexit.register(shutil.rmtree, os.environ["HALFTONE_STACKS"], ignore_errors=True)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    """Of several workers none is left with a long file at the end: those go first."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: "component" not in item.path.parts)


@pytest.fixture(scope="session")
def memory_path_factory():
    """Makes directories in memory where there are any: Edge syncs a hundred files at a time."""
    made = []

    def make() -> Path:
        made.append(Path(tempfile.mkdtemp(prefix="halftone-test-", dir=memory_folder())))
        return made[-1]

    yield make
    for path in made:
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def memory_path(memory_path_factory):
    """A directory of the test's own, in memory where that is possible."""
    path = memory_path_factory()
    yield path
    shutil.rmtree(path, ignore_errors=True)
