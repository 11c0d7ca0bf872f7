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
from tests.support.outside import find_reason

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "clients.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
FILE = re.compile(r"^`([\w.]+)`:$", re.MULTILINE)
# Commands that wait for a registry as long as it likes.
FETCHING = re.compile(r"\b(npm install|go (install|get|mod)|buf)\b")
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
        except subprocess.TimeoutExpired as error:
            late = f"took longer than {PATIENCE:g} s: {command}"
            if FETCHING.search(command):
                pytest.skip(late)
            raise AssertionError(late) from error

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
            # A command at a time, so that a program's own failure is not taken for a registry's.
            fetches = FETCHING.search(block[2])
            commands = re.split(r"(?<!\\)\n", block[2].strip()) if fetches else [block[2]]
            for command in commands:
                done = self.check(command)
        return done

    def check(self, command):
        """Runs a command as `run`, which must succeed, unless a registry cannot be reached."""
        done = self.run(command)
        if done.returncode and FETCHING.search(command) and (why := find_reason(done.stderr)):
            pytest.skip(f"a registry cannot be reached: {why}")
        assert done.returncode == 0, (command, done.stdout, done.stderr)
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
        workshop.check(command)
    done = workshop.run_section("grpcurl")
    assert '"reason": "NOT_FOUND"' in done.stderr


def test_buf(workshop):
    need("buf")
    workshop.check("cd protos && buf lint && buf build")
