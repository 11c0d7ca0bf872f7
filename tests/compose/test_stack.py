"""An archive's life in containers, and what is in the images.

Without a Qdrant server and with one: import, search, train, promote, stop, start again.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from halftone.archive import sample
from halftone.client import Client, JobState

pytestmark = pytest.mark.compose

PHOTOGRAPHS = ("astronaut", "photographer", "cat")
"""Those that `halftone demo` asks about. Each search for one finds another printing of it first."""


def test_everything_is_there_after_the_stack_was_down(stack, archive, say, tmp_path):
    say("Starting the stack …")
    stack.up()
    assert ("qdrant" in stack.services()) is stack.has_qdrant

    say("Importing and searching …")
    imported = run_halftone(stack, tmp_path, "import", archive)
    count = len((archive / "manifest.csv").read_text().splitlines()) - 1
    assert f"sample: {count} created, 0 unchanged, 0 updated, 0 rejected" in imported
    with connect(stack) as client:
        first = search(client, archive)
        assert {version for version, _ in first.values()} == {"starter/1"}
        a, b = (hit for _, hit in list(first.values())[:2])
        verdict = client.judge(a, b, "different", author="A. Archivist")

    say("Training for a minute …")
    words = ("--name", "mine", "--parent", "starter/1", "--minutes", "1", "--option", "batch=32")
    run_halftone(stack, tmp_path, "train", "sample", *words, "--watch")
    with connect(stack) as client:
        (job,) = client.training_jobs()
        assert (job.state, job.model_version) == (JobState.SUCCEEDED, "mine/1")

    say("Promoting …")
    run_halftone(stack, tmp_path, "models", "promote", "mine/1", "--force")
    with connect(stack) as client:
        promoted = search(client, archive)
        assert {version for version, _ in promoted.values()} == {"mine/1"}

    say("Down, and up again …")
    stack.down()
    assert not stack.services()
    stack.up()
    with connect(stack) as client:
        assert search(client, archive) == promoted
        versions = {version.name: version for version in client.model_versions()}
        assert set(versions) == {"starter/1", "mine/1"}
        assert versions["mine/1"].active
        assert versions["mine/1"].image_count == count
        assert [each.name for each in client.verdicts()] == [verdict.name]
        assert [each.name for each in client.training_jobs()] == [job.name]
        assert client.thumbnail(a).content
    again = run_halftone(stack, tmp_path, "import", archive)
    assert f"sample: 0 created, {count} unchanged, 0 updated, 0 rejected" in again
    say("Everything is there.")


def search(client: Client, archive) -> dict[str, tuple[str, str]]:
    """Returns by photograph the version that answered and the first hit, which shows it."""
    answers = {}
    for photograph in PHOTOGRAPHS:
        result = client.search(sample.query_path(archive, photograph))
        hit = result.hits[0]
        assert hit.image.labels[sample.PHOTOGRAPH] == (photograph,)
        assert hit.probability > 0.5
        answers[photograph] = (result.model_version, hit.image.name)
    return answers


def connect(stack) -> Client:
    search_, embedder, trainer = map(stack.address, ("search", "embedder", "trainer"))
    return Client(search_, embedder=embedder, trainer=trainer)


def run_halftone(stack, folder, *arguments) -> str:
    """Runs a command against the stack, as from a terminal of this host in a folder."""
    addresses = {
        f"HALFTONE_{service.upper()}": stack.address(service)
        for service in ("search", "embedder", "trainer")
    }
    done = subprocess.run(
        [sys.executable, "-m", "halftone.cli", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, **addresses},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=1800,
    )
    assert done.returncode == 0, f"halftone {arguments}\n{done.stdout}\n{stack.logs()}"
    return done.stdout


def test_the_search_image_has_neither_torch_nor_cuda(engine, images):
    packages = list_packages(engine, images["search"])
    assert {"halftone-search", "qdrant-edge-py", "qdrant-client"} <= packages
    assert not [name for name in packages if name.startswith(("torch", "nvidia", "triton"))]


def test_the_embedder_image_has_no_torch_and_less_than_a_gigabyte(engine, images):
    packages = list_packages(engine, images["embedder"])
    assert not [name for name in packages if name.startswith(("torch", "nvidia", "triton"))]
    size = engine.read("image", "inspect", "--format", "{{.Size}}", images["embedder"])
    assert int(size) < 1_000_000_000


def test_images_run_as_nobody_and_bring_no_installer(engine, images):
    for image in images.values():
        user = engine.read("image", "inspect", "--format", "{{.Config.User}}", image)
        assert user == "10001:10001", image
        assert "pip" not in list_packages(engine, image), image


def list_packages(engine, image) -> set[str]:
    """Returns the distributions of an image's environment."""
    program = "import importlib.metadata as m; print(*(each.name for each in m.distributions()))"
    options = ("--rm", "--network", "none", "--entrypoint", "python")
    return set(engine.read("run", *options, image, "-c", program).split())
