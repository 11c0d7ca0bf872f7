"""The page as a process: how it stops, what it sends with each call, what it refuses to start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request

from tests.support.client.served_page import Served


def test_it_stops_when_it_is_told_to(fake, tmp_path):
    with Served(tmp_path, search=fake.address) as served:
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(60) == 0


def test_the_services_are_called_with_their_own_secret(fake, tmp_path):
    """And not with the key of whoever starts the page."""
    secret = "k" * 40
    environment = {
        "HALFTONE_SERVICE_KEY": secret,
        "HALFTONE_KEYS_FILE": str(tmp_path / "keys.json"),
        "HALFTONE_KEY": "mine",
    }
    with Served(tmp_path, search=fake.address, **environment) as served:
        urllib.request.urlopen(f"{served.address}/images", timeout=60).read()  # noqa: S310 - http
    assert ("authorization", f"Bearer {secret}") in fake.metadata[-1]


def test_an_open_address_is_refused_at_the_start(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "halftone.services.web"],
        env=os.environ | {"HALFTONE_WEB_HOST": "0.0.0.0", "HALFTONE_WEB_PORT": "0"},  # noqa: S104
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 1
    assert "OPEN_ADDRESS" in done.stderr
