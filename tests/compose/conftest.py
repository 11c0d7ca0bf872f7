"""The engine, the images and the archive; what cannot be had skips the tests with its reason."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import re
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest
import yaml

from halftone.archive import sample
from halftone.vision.reprinting import reprint
from tests.compose.bases import Bases
from tests.compose.engine import MissingError, open_engine
from tests.compose.stack import ROOT, Stack
from tests.support.outside import find_reason

TAG = "compose-test"
PYTHON = "python:3.12-slim-bookworm"
"""Dockerfile's PYTHON_IMAGE; tests/unit/deploy/test_compose.py compares."""


_BUILD_SECONDS = 3600


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item):
    """Skips a test whose engine, images or space cannot be had."""
    del item
    return (yield from _skip_without())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Skips a test from which they were taken while it ran."""
    del item
    return (yield from _skip_without())


def _skip_without():
    try:
        return (yield)
    except MissingError as missing:
        pytest.skip(str(missing))
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            pytest.skip(str(error))
        raise


@pytest.fixture(scope="session")
def say(pytestconfig):
    """Prints a line with the time that has passed."""
    started = time.monotonic()
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")

    def say(text: str) -> None:
        with capture.global_and_fixture_disabled():
            print(f"[{time.monotonic() - started:5.0f} s] {text}", flush=True)

    return say


@pytest.fixture(scope="session")
def engine(say):
    data = ROOT / "build/compose" / str(os.getpid())
    with open_engine(data, say=say) as running:
        yield running


@pytest.fixture(scope="session")
def bases(engine, say, tmp_path_factory):
    made = Bases(engine, directory=tmp_path_factory.mktemp("bases"), say=say)
    yield made
    made.remove()


@pytest.fixture(scope="session")
def images(engine, bases, say):
    """The images of `make images` with the tag `compose-test`; a dictionary from target to name."""
    python = bases.get("PYTHON_IMAGE", public=PYTHON, make=bases.make_python)
    _check_that_packages_can_be_had(engine, python=python)
    command = ["make", "images", f"DOCKER={engine.docker}", f"HALFTONE_TAG={TAG}"]
    command += [f"PYTHON_IMAGE={python}", f"DOCKER_BUILD_ARGS={' '.join(engine.build_options)}"]
    say("Building the images …")
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=engine.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as make:
        lines = []
        late = threading.Timer(_BUILD_SECONDS, os.killpg, (make.pid, signal.SIGKILL))
        late.daemon = True
        late.start()
        for line in make.stdout:
            lines.append(line)
            if built := re.match(r"Built (\S+)", line):
                size = int(engine.read("image", "inspect", "--format", "{{.Size}}", built[1]))
                say(f"{built[1]}: {size / 1e6:,.0f} MB")
        make.wait()
        late.cancel()
    if make.returncode == -signal.SIGKILL:
        raise MissingError(f"The images were not built within {_BUILD_SECONDS} s.")
    if make.returncode and (reason := find_reason("".join(lines[-200:]))):
        raise MissingError(f"The images cannot be built: {reason}")
    assert make.returncode == 0, "".join(lines[-200:])
    base = int(engine.read("image", "inspect", "--format", "{{.Size}}", python))
    say(f"of which {base / 1e6:,.0f} MB are {python}")
    return {
        target: f"halftone-{target}:{TAG}"
        for target in ("search", "embedder", "web", "trainer", "embedder-gpu")
    }


def _check_that_packages_can_be_had(engine, *, python):
    file = f"FROM {python}\nRUN pip download --no-cache-dir --no-deps --dest /tmp/one click\n"
    options = ("--no-cache", *engine.build_options, "--tag", "halftone-compose-test/probe:local")
    done = engine.run("build", *options, "-", input=file, seconds=600)
    with contextlib.suppress(MissingError):
        engine.run("image", "rm", "--force", "halftone-compose-test/probe:local")
    if done.returncode != 0:
        last = [line for line in done.stdout.splitlines() if "error" in line.lower()][-1:]
        raise MissingError(f"A build finds no packages: {' '.join(last)}")


@pytest.fixture(scope="session")
def archive(tmp_path_factory):
    """The sample archive, as `halftone demo` makes it, below a folder of data sets."""
    folder = tmp_path_factory.mktemp("datasets")
    folder.chmod(0o755)  # containers read it as another user
    sample.make(folder / "sample", reprint=functools.partial(reprint, side=640))
    return folder / "sample"


@pytest.fixture(params=["edge", "qdrant"])
def stack(request, engine, bases, images, archive):
    """A stack of the built images that is not running; removed at the end of the test."""
    del images
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    public = {name: _find_default(services[name]["image"]) for name in ("redis", "qdrant")}
    files = ["docker-compose.yml"]
    variables = {"HALFTONE_TAG": TAG, "HALFTONE_DATASETS": str(archive.parent)}
    variables["REDIS_IMAGE"] = bases.get(
        "REDIS_IMAGE", public=public["redis"], make=bases.make_redis
    )
    if request.param == "edge":
        files.append("docker-compose.edge.yml")
    else:
        make = functools.partial(_make_qdrant, bases)
        variables["QDRANT_IMAGE"] = bases.get("QDRANT_IMAGE", public=public["qdrant"], make=make)
    name = f"halftone-test-{request.param}-{os.getpid()}"
    running = Stack(engine, name=name, files=tuple(files), variables=variables)
    yield running
    running.remove()


def _make_qdrant(bases: Bases) -> str:
    binary = os.environ.get("QDRANT_BIN")
    if not binary:
        raise MissingError("Qdrant's image cannot be pulled, and QDRANT_BIN names no binary of it.")
    return bases.make_qdrant(Path(binary))


def _find_default(value: str) -> str:
    """Return the default of a variable of compose: `x` for `${NAME:-x}`."""
    return re.fullmatch(r"\$\{\w+:-(.+)\}", value)[1]
