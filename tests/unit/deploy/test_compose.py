"""docker-compose.yml describes the stack that the code expects."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from halftone.core import settings
from halftone.registry.version import newest_version

ROOT = Path(__file__).parents[3]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
GPU = yaml.safe_load((ROOT / "docker-compose.gpu.yml").read_text())
PREFIXES = {
    "HALFTONE_EMBEDDER_": settings.EmbedderSettings,
    "HALFTONE_SEARCH_": settings.SearchSettings,
    "HALFTONE_MODELS_": settings.ModelSettings,
    "HALFTONE_TRAINER_": settings.TrainerSettings,
}
# Where the two stacks are meant to differ; everything else keeps its default.
DIFFERENT_ON_PURPOSE = {
    ("EmbedderSettings", "host"),
    ("EmbedderSettings", "device"),
    ("SearchSettings", "host"),
    ("SearchSettings", "embedder"),
    ("SearchSettings", "store"),
    ("SearchSettings", "qdrant_url"),
    ("SearchSettings", "data_directory"),
    ("SearchSettings", "blobs"),
    ("ModelSettings", "directory"),
    ("TrainerSettings", "host"),
    ("TrainerSettings", "device"),
    ("TrainerSettings", "broker"),
    ("TrainerSettings", "search"),
    ("TrainerSettings", "data_roots"),
    ("TrainerSettings", "work_directory"),
}


def environments():
    for file in (COMPOSE, GPU):
        for name, service in file["services"].items():
            for variable, value in service.get("environment", {}).items():
                if variable.startswith("HALFTONE_"):
                    yield name, variable, value


@pytest.mark.parametrize(("service", "variable", "value"), list(environments()))
def test_every_variable_is_a_setting_and_differs_only_on_purpose(service, variable, value):
    assert isinstance(value, str), f"{service}: quote {variable}"
    prefix = next(prefix for prefix in PREFIXES if variable.startswith(prefix))
    cls, field = PREFIXES[prefix], variable.removeprefix(prefix).lower()
    assert field in cls.model_fields
    parsed = getattr(cls(**{field: value}), field)
    if (cls.__name__, field) not in DIFFERENT_ON_PURPOSE:
        assert parsed == cls.model_fields[field].default


@pytest.mark.parametrize("name", sorted(COMPOSE["services"]))
def test_every_container_is_hardened(name):
    service = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert int(service["user"].split(":")[0]) > 0
    if service["restart"] != "no":
        assert "healthcheck" in service


@pytest.mark.parametrize("name", sorted(COMPOSE["services"]))
def test_ports_stay_on_the_host(name):
    for port in COMPOSE["services"][name].get("ports", ()):
        assert port.startswith("127.0.0.1:")


def test_volumes_are_declared_and_used():
    used = {
        volume.split(":")[0]
        for service in COMPOSE["services"].values()
        for volume in service.get("volumes", ())
        if not volume.startswith("${")  # a directory of the host
    }
    assert used == set(COMPOSE["volumes"])


def test_the_images_targets_exist_and_run_what_the_embedded_stack_runs():
    dockerfile = (ROOT / "deploy/docker/Dockerfile").read_text()
    stages = set(re.findall(r"^FROM \S+ AS (\S+)", dockerfile, flags=re.MULTILINE))
    for service in COMPOSE["services"].values():
        if "build" in service:
            assert service["build"]["target"] in stages
    for module in (
        "halftone.services.embedder",
        "halftone.services.search",
        "halftone.services.trainer",
    ):
        assert f'"-m", "{module}"' in dockerfile
        assert (ROOT / module.replace(".", "/") / "__main__.py").is_file()


def test_the_worker_runs_what_the_embedded_stack_runs_and_has_time_to_write_a_checkpoint():
    worker = COMPOSE["services"]["trainer-worker"]
    assert worker["entrypoint"] == ["python", "-m", "halftone.services.trainer.worker"]
    grace = int(worker["stop_grace_period"].removesuffix("s"))
    assert grace > settings.TrainerSettings().cancel_seconds
    # The service looks at data sets and parents; what a worker publishes, the embedder reads.
    volumes = [COMPOSE["services"][name]["volumes"] for name in ("trainer", "trainer-worker")]
    assert "models:/var/lib/halftone/models" in volumes[1]
    assert {volume.split(":/")[0] for volume in volumes[0]} == {
        volume.split(":/")[0] for volume in volumes[1]
    }


def test_the_starter_is_installed_from_where_the_image_has_it():
    *_, source = COMPOSE["services"]["models"]["entrypoint"]
    dockerfile = (ROOT / "deploy/docker/Dockerfile").read_text()
    assert f"COPY models/starter {source}\n" in dockerfile
    assert newest_version(ROOT / "models/starter") is not None


@pytest.mark.skipif(
    shutil.which("docker-compose") is None, reason="docker-compose is not installed"
)
def test_a_compose_implementation_accepts_it():
    command = ["docker-compose", "-f", "docker-compose.yml", "-f", "docker-compose.gpu.yml"]
    done = subprocess.run(
        [*command, "config", "--quiet"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
