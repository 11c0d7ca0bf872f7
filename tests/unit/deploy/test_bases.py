"""What stand-ins for base images take over from this host."""

from __future__ import annotations

import os
import sys

import pytest

from tests.compose.bases import find_certificates, parse_pip_options
from tests.compose.engine import MissingError, open_engine

LISTING = """\
:env:.disable-pip-version-check='1'
:env:.extra-index-url='https://one.example/simple\\nhttps://two.example/simple'
global.cert='/etc/ssl/certs/ca-certificates.crt'
global.extra-index-url='https://old.example/simple'
global.index-url='https://pypi.example/simple'
install.index-url='https://other.example/simple'
"""


def test_where_packages_are_found_and_nothing_else():
    assert parse_pip_options(LISTING) == {
        "index-url": "https://pypi.example/simple",
        "extra-index-url": "https://one.example/simple\n    https://two.example/simple",
    }
    assert parse_pip_options("") == {}


def test_certificates_are_those_that_the_environment_names(tmp_path, monkeypatch):
    bundle = tmp_path / "bundle.crt"
    bundle.touch()
    monkeypatch.delenv("PIP_CERT", raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    assert find_certificates() == bundle


def test_what_is_missing_is_said(tmp_path, monkeypatch):
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.delenv("DOCKER", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingError, match="no Docker client"), open_engine(tmp_path, say=print):
        pass
    client = tmp_path / "docker"
    client.write_text(f"#!{sys.executable}\nraise SystemExit(1)\n")
    client.chmod(0o755)
    expected = "dockerd is not installed" if os.geteuid() == 0 else "takes Linux and root"
    if sys.platform != "linux":
        expected = "takes Linux and root"
    with pytest.raises(MissingError, match=expected), open_engine(tmp_path / "data", say=print):
        pass
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere")
    with (
        pytest.raises(MissingError, match="answers at unix:///nowhere"),
        open_engine(tmp_path / "data", say=print),
    ):
        pass
    assert not (tmp_path / "data").exists()
