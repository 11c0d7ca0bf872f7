"""The programs of docs/clients.md in other languages, built and run by the commands of that page.

They need the tools of their language and its packages, which come from the network, so they are no
part of `make test`. What is missing skips a test.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from halftone.archive import sample

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "clients.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
FILE = re.compile(r"^`([\w.]+)`:$", re.MULTILINE)
# What npm and Go say where a registry cannot be reached.
NO_NETWORK = re.compile(
    r"EAI_AGAIN|ENOTFOUND|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH|ERR_SOCKET_TIMEOUT"
    r"|no such host|connection refused|i/o timeout|network is unreachable|TLS handshake timeout"
    r"|module lookup disabled|server misbehaving"
)
PATIENCE = 1200.0

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]


class Workshop:
    """A folder as the page describes it: `protos/`, `found.jpg`, and the section's commands."""

    def __init__(self, folder, *, address):
        self.folder = folder
        self._address = address
        self._tools = folder / "bin"
        self._tools.mkdir()
        # Ours, where there is no other one.
        compiler = self._tools / "protoc"
        compiler.write_text(f'#!/bin/sh\nexec {sys.executable} -m grpc_tools.protoc "$@"\n')
        compiler.chmod(0o755)
        self.environment = {
            **os.environ,
            "PATH": f"{os.environ['PATH']}:{self._tools}",
            # Go's own tools go where this test looks for them.
            "GOBIN": str(self._tools),
            "npm_config_fetch_timeout": "60000",
            "npm_config_fetch_retries": "1",
            "npm_config_update_notifier": "false",
        }

    def run(self, command):
        """Runs a command of the shell and gives its end and its outputs."""
        try:
            return subprocess.run(
                ["bash", "-euo", "pipefail", "-c", command],
                cwd=self.folder,
                env=self.environment,
                capture_output=True,
                text=True,
                timeout=PATIENCE,
                check=False,
            )
        except subprocess.TimeoutExpired:
            pytest.skip(f"took longer than {PATIENCE:g} s: {command}")

    def run_section(self, title):
        """Writes the files of a section, runs its commands, and gives what the last one prints."""
        text = PAGE.read_text().replace("127.0.0.1:7102", self._address)
        section = text.split(f"\n## {title}\n")[1].split("\n## ")[0]
        done = None
        for block in BLOCK.finditer(section):
            if block[1] != "sh":
                (name,) = FILE.findall(section[: block.start()])
                (self.folder / name).write_text(block[2])
                continue
            done = self.run(block[2])
            if done.returncode and NO_NETWORK.search(done.stderr):
                pytest.skip(f"a registry cannot be reached: {done.stderr[-300:]}")
            assert done.returncode == 0, (block[2], done.stdout, done.stderr)
        return done


@pytest.fixture
def workshop(stack, press, tmp_path):
    shutil.copytree(ROOT / "protos", tmp_path / "protos")
    shutil.copy(sample.query_path(press, "astronaut"), tmp_path / "found.jpg")
    return Workshop(tmp_path, address=stack.addresses.search)


def need(*programs):
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")


def check_report(printed):
    """What each program prints: two acknowledgements, hits, an error and its reason."""
    lines = printed.splitlines()
    created = {f"archives/press/images/desk/1 {state}" for state in ("CREATED", "UNCHANGED")}
    assert lines[0] in created
    assert lines[1] == "archives/press/images/desk/2 REJECTED"
    assert "last week" in lines[2]
    assert lines[3] == "INVALID_DATE"
    assert "1.000 SAME_SCAN The Larkhaven Courier 1974-08" in lines[4:-2]
    assert lines[-2:] == ["There is no image archives/press/images/nothing.", "NOT_FOUND"]


def test_typescript(workshop):
    need("node", "npm")
    check_report(workshop.run_section("TypeScript").stdout)


def test_go(workshop):
    need("go")
    check_report(workshop.run_section("Go").stdout)
    # As editors would leave it.
    assert workshop.run("gofmt -l .").stdout == ""


def test_grpcurl(workshop):
    if shutil.which("grpcurl") is None:
        need("go")
        (command,) = re.findall(r"`(go install \S+/grpcurl@\S+)`", PAGE.read_text())
        done = workshop.run(command)
        if done.returncode:
            pytest.skip(f"grpcurl cannot be built: {done.stderr[-300:]}")
    done = workshop.run_section("grpcurl")
    assert '"reason": "NOT_FOUND"' in done.stderr


def test_buf(workshop):
    need("buf")
    done = workshop.run("cd protos && buf lint && buf build")
    assert done.returncode == 0, (done.stdout, done.stderr)
