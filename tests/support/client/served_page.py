"""The page as a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time


class Served:
    """`python -m halftone.services.web` on free ports."""

    def __init__(self, directory, *, search, **environment):
        self.log = directory / "web.log"
        variables = {
            "HALFTONE_WEB_PORT": "0",
            "HALFTONE_WEB_METRICS_PORT": "0",
            "HALFTONE_WEB_SEARCH": search,
            "HALFTONE_WEB_EMBEDDER": search,
            "HALFTONE_WEB_TRAINER": "127.0.0.1:1",
            "HALFTONE_WEB_DATA_DIRECTORY": str(directory / "data"),
        }
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "halftone.services.web"],
                env=os.environ | variables | environment,
                stderr=log,
            )

    def __enter__(self):
        end = time.monotonic() + 120
        while not (found := re.search(r'"port": (\d+)', self.log.read_text())):
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < end, "it does not listen"
            time.sleep(0.02)
        self.address = f"http://127.0.0.1:{found[1]}"
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
