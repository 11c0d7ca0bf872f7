"""Which failures of builds and registries skip a test, and which are faults of the project."""

from __future__ import annotations

import sys

import pytest

from tests.compose.engine import Engine, MissingError, run_within
from tests.compose.stack import Stack
from tests.support.outside import find_reason


@pytest.mark.parametrize(
    "line",
    [
        "npm error code E503",
        "npm error code E404",
        "npm error code SELF_SIGNED_CERT_IN_CHAIN",
        "npm error network request failed, reason: socket hang up",
        "go: reading https://proxy.golang.org/x/@v/list: 502 Bad Gateway",
        'go: Get "https://proxy.golang.org": proxyconnect tcp: dial tcp: i/o timeout',
        "tls: failed to verify certificate: x509: certificate signed by unknown authority",
        'go: Get "https://proxy.golang.org/x.zip": unexpected EOF',
        "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
        "pip._vendor.urllib3.exceptions.ReadTimeoutError: Read timed out.",
        "E: Failed to fetch http://deb.debian.org/x.deb  503  Service Unavailable",
        "ERROR: HTTP error 503 while getting https://pypi.org/x.whl",
        "Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?",
    ],
)
def test_the_network_and_the_machine_lie_outside(line):
    assert find_reason(f"Step 1/9\n  {line}\nmore") == line


@pytest.mark.parametrize(
    "line",
    [
        "search.ts(12,5): error TS2322: Type 'string' is not assignable to type 'number'.",
        "./main.go:12:2: undefined: client",
        "ERROR: No matching distribution found for nosuch==1",
        "ModuleNotFoundError: No module named 'halftone'",
        "AssertionError: 502 images, 504 gone",
        "COPY failed: file not found in build context: stat thepipe",
    ],
)
def test_faults_of_the_project_do_not(line):
    assert find_reason(line) == ""


def test_a_command_that_takes_too_long_is_ended_with_its_children():
    nested = f"{sys.executable} -c 'import time; time.sleep(3600)' & wait"
    with pytest.raises(MissingError, match="took longer"):
        run_within(0.2, ["sh", "-c", nested])


def test_an_engine_fails_a_test_only_for_what_is_the_projects(tmp_path):
    docker = tmp_path / "docker"
    docker.write_text('#!/bin/sh\necho "$2"\nexit "$1"\n')
    docker.chmod(0o755)
    engine = Engine(docker=str(docker), compose=())
    assert engine.read("0", "no space left on device") == "no space left on device"
    with pytest.raises(MissingError, match="no space left"):
        engine.read("1", "write /x: no space left on device")
    with pytest.raises(AssertionError, match="no such file"):
        engine.read("1", "no such file")


def test_ports_that_were_taken_are_chosen_anew(tmp_path):
    docker = tmp_path / "docker"
    docker.write_text(
        f"""#!/bin/sh
case "$*" in *" up "*) ;; *) exit 0 ;; esac
echo "$SEARCH_PORT" >> {tmp_path}/ports
test "$(wc -l < {tmp_path}/ports)" -gt "$FAILURES" && exit 0
echo "listen tcp4 127.0.0.1:$SEARCH_PORT: bind: address already in use"
exit 1
"""
    )
    docker.chmod(0o755)
    engine = Engine(docker=str(docker), compose=(str(docker), "compose"))
    stack = Stack(engine, name="x", files=("docker-compose.yml",), variables={"FAILURES": "2"})
    stack.up()
    ports = (tmp_path / "ports").read_text().split()
    assert len(ports) == 3
    assert stack.address("search") == f"127.0.0.1:{ports[-1]}"
    never = Stack(engine, name="x", files=("docker-compose.yml",), variables={"FAILURES": "99"})
    with pytest.raises(MissingError, match="address already in use"):
        never.up()
