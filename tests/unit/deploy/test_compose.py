"""The compose files and the images describe the stack that the code expects."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from halftone.core import settings
from halftone.registry.version import newest_version
from tests.compose.conftest import PYTHON

ROOT = Path(__file__).parents[3]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
EDGE = yaml.safe_load((ROOT / "docker-compose.edge.yml").read_text())
GPU = yaml.safe_load((ROOT / "docker-compose.gpu.yml").read_text())
GUARDED = yaml.safe_load((ROOT / "docker-compose.guarded.yml").read_text())
DOCKERFILE = (ROOT / "deploy/docker/Dockerfile").read_text()
PREFIXES = {
    "HALFTONE_EMBEDDER_": settings.EmbedderSettings,
    "HALFTONE_SEARCH_": settings.SearchSettings,
    "HALFTONE_MODELS_": settings.ModelSettings,
    "HALFTONE_TRAINER_": settings.TrainerSettings,
    "HALFTONE_WEB_": settings.WebSettings,
    "HALFTONE_TLS_": settings.TlsSettings,
    "HALFTONE_MAX_": settings.PictureSettings,
    "HALFTONE_": settings.AccessSettings,
}
# Where the two stacks are meant to differ; everything else keeps its default.
DIFFERENT_ON_PURPOSE = {
    ("AccessSettings", "private_network"),
    ("AccessSettings", "keys_file"),
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
    ("WebSettings", "host"),
    ("WebSettings", "search"),
    ("WebSettings", "embedder"),
    ("WebSettings", "trainer"),
    ("WebSettings", "data_directory"),
}


def environments():
    for file in (COMPOSE, EDGE, GPU, GUARDED):
        for name, service in file["services"].items():
            for variable, value in service.get("environment", {}).items():
                if variable.startswith("HALFTONE_"):
                    yield name, variable, value


@pytest.mark.parametrize(("service", "variable", "value"), list(environments()))
def test_every_variable_is_a_setting_and_differs_only_on_purpose(service, variable, value):
    assert isinstance(value, str), f"{service}: quote {variable}"
    prefix = next(prefix for prefix in PREFIXES if variable.startswith(prefix))
    cls = PREFIXES[prefix]
    field = variable.removeprefix(str(cls.model_config["env_prefix"])).lower()
    assert field in cls.model_fields
    if cls is settings.TlsSettings or ":?" in value:
        return  # files and secrets, of which there is no default
    # What the operator sets takes the place of the default.
    value = re.sub(r"\$\{\w+:-(.*?)\}", r"\1", value)
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
    stages = set(re.findall(r"^FROM \S+ AS (\S+)", DOCKERFILE, flags=re.MULTILINE))
    makefile = (ROOT / "Makefile").read_text()
    (targets,) = re.findall(r"for target in (.+); do", makefile)
    built = set()
    for service in (*COMPOSE["services"].values(), *GPU["services"].values()):
        if "build" in service:
            target = service["build"]["target"]
            assert service["image"] == f"halftone-{target}:${{HALFTONE_TAG:-latest}}"
            assert target in stages
            built.add(target)
    assert built == set(targets.split())
    for module in (
        "halftone.services.embedder",
        "halftone.services.search",
        "halftone.services.trainer",
        "halftone.services.web",
    ):
        assert f'"-m", "{module}"' in DOCKERFILE
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


def test_the_starter_is_a_part_of_the_package_that_images_get():
    assert COMPOSE["services"]["models"]["entrypoint"] == ["halftone", "models", "install"]
    assert "COPY models/starter models/starter\n" in DOCKERFILE
    assert newest_version(ROOT / "models/starter") is not None


def test_without_a_qdrant_server_nothing_else_differs():
    assert EDGE["services"] == {
        "qdrant": {"profiles": ["server"]},
        "search": {"environment": {"HALFTONE_SEARCH_STORE": "edge"}},
    }
    # Compose refuses services that depend on one that is not started.
    assert not any("qdrant" in each.get("depends_on", ()) for each in COMPOSE["services"].values())


def test_beyond_this_host_there_are_keys_and_tls_everywhere():
    """Every service of ours is guarded, with a certificate that the script makes, and no other."""
    ours = {
        name
        for name, service in COMPOSE["services"].items()
        if "HALFTONE_PRIVATE_NETWORK" in service.get("environment", {})
    }
    assert set(GUARDED["services"]) == ours
    for name, service in GUARDED["services"].items():
        environment = service["environment"]
        assert environment["HALFTONE_PRIVATE_NETWORK"] == "0"
        assert environment["HALFTONE_KEYS_FILE"] == "/etc/halftone/keys/keys.json"
        assert ":?" in environment["HALFTONE_SERVICE_KEY"]
        certificate = environment["HALFTONE_TLS_CERTIFICATE"]
        own = name.removesuffix("-worker")
        assert certificate == f"/etc/halftone/certificates/{own}.pem"
        assert environment["HALFTONE_TLS_KEY"] == certificate.replace(".pem", ".key")
        # Files would be mounted as they are at the start, and not as they are renewed.
        targets = {volume.rsplit(":", 2)[1] for volume in service["volumes"]}
        assert targets == {"/etc/halftone/certificates", "/etc/halftone/keys"}
    # What no client calls asks for certificates.
    assert (
        GUARDED["services"]["embedder"]["environment"]["HALFTONE_TLS_REQUIRE_CERTIFICATES"] == "1"
    )
    operations = (ROOT / "docs/operations.md").read_text()
    assert "docker compose -f docker-compose.yml -f docker-compose.guarded.yml up" in operations
    assert "deploy/tls/make-certificates.sh certificates embedder search trainer web" in operations


def test_the_base_image_is_the_same_everywhere():
    assert f"ARG PYTHON_IMAGE={PYTHON}\n" in DOCKERFILE
    for service in COMPOSE["services"].values():
        if "build" in service:
            assert service["build"]["args"]["PYTHON_IMAGE"] == f"${{PYTHON_IMAGE:-{PYTHON}}}"


def test_a_change_of_sources_installs_no_dependency_again():
    """What is installed must not lie above a layer that holds sources."""
    stages = re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)[1:]
    builders = [stage for stage in stages if re.match(r"\S+ AS build-", stage)]
    assert len(builders) == 4
    for stage in builders:
        assert stage.startswith("environment AS ")
        sources = re.findall(r"^COPY (?:--from=\S+ )?(\S+)", stage, flags=re.MULTILINE)
        assert sources[0] == "constraints.txt"
        assert re.fullmatch(r"/requirements/\w+\.txt", sources[1])
        assert len(sources) == 2


def test_no_directive_names_an_image_that_engines_would_have_to_pull():
    assert "syntax=" not in DOCKERFILE
    assert "--mount" not in DOCKERFILE  # the old builder does not know it


@pytest.mark.skipif(
    shutil.which("docker-compose") is None, reason="docker-compose is not installed"
)
@pytest.mark.parametrize(
    "others", [(), ("edge",), ("gpu",), ("edge", "gpu"), ("guarded",), ("edge", "guarded")]
)
def test_a_compose_implementation_accepts_it(others):
    files = ["docker-compose.yml", *(f"docker-compose.{other}.yml" for other in others)]
    command = ["docker-compose", *(word for file in files for word in ("-f", file))]
    done = subprocess.run(
        [*command, "config", "--quiet"],
        cwd=ROOT,
        env=os.environ | {"HALFTONE_SERVICE_KEY": "s" * 40},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
