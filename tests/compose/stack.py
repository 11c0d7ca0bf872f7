"""A project of `docker compose`: started, waited for, and removed with all that it kept."""

from __future__ import annotations

import contextlib
import json
import random
import re
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.compose.engine import MissingError, run_within
from tests.support.outside import find_reason

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping

    from tests.compose.engine import Engine

ROOT = Path(__file__).parents[2]
_HEALTHY_SECONDS = 900
"""Loading torch on a busy machine takes minutes; a service that fails ends the wait at once."""
_LOG_LINES = 60
_MAX_RESTARTS = 5
_TAKEN = re.compile(r"address already in use|port is already allocated", re.IGNORECASE)
_TRIES = 5


class Stack:
    """The stack of docker-compose.yml, with ports, volumes and networks of its own."""

    def __init__(
        self, engine: Engine, *, name: str, files: tuple[str, ...], variables: Mapping[str, str]
    ) -> None:
        """Create a stack that is not running.

        Args:
            engine: What runs it.
            name: The project, from which volumes and containers have their names.
            files: Compose files of the repository.
            variables: Variables of the compose files.
        """
        self._engine = engine
        self._name = name
        self._options = [option for file in files for option in ("--file", str(ROOT / file))]
        self._variables = {**engine.environment, **variables}
        self._ports = _find_free_ports()

    @property
    def has_qdrant(self) -> bool:
        """Whether a Qdrant server is a part of it."""
        return not any("edge" in option for option in self._options)

    def address(self, service: str) -> str:
        """Return where a service answers on this host."""
        return f"127.0.0.1:{self._ports[service]}"

    def compose(self, *arguments: str, seconds: float = 1800) -> str:
        """Run a command of compose and return what it printed.

        Raises:
            MissingError: The command failed for a reason outside the project, or took too long.
            AssertionError: It failed for another one; the message is what it and the services
                printed.
        """
        return self._check(arguments, self._run(*arguments, seconds=seconds))

    def up(self) -> None:
        """Start it from images that are there, and wait until all of it is healthy.

        Ports that were taken in the meantime are chosen anew, so ask for addresses afterwards.
        """
        up = ("up", "--detach", "--no-build")
        done = self._run(*up, seconds=1800)
        for _ in range(_TRIES - 1):
            if not (done.returncode and _TAKEN.search(done.stdout)):
                break
            self._ports = _find_free_ports()
            done = self._run(*up, seconds=1800)
        self._check(up, done)
        deadline = time.monotonic() + _HEALTHY_SECONDS
        while waiting := self._list_waiting():
            assert time.monotonic() < deadline, f"Not healthy: {waiting}\n{self.logs()}"
            time.sleep(0.5)

    def down(self) -> None:
        """Stop it and remove its containers; its volumes stay."""
        self.compose("down")

    def remove(self) -> None:
        """Remove everything of it."""
        with contextlib.suppress(MissingError):
            self._run("down", "--volumes", "--remove-orphans", "--timeout", "10", seconds=600)

    def services(self) -> set[str]:
        """Return the services that have a container."""
        return {_find_service(container) for container in self._inspect()}

    def logs(self) -> str:
        """Return the last lines that each service printed."""
        tail = f"--tail={_LOG_LINES}"
        return self._run("logs", "--no-color", tail, seconds=120).stdout

    def _check(self, arguments: tuple[str, ...], done: subprocess.CompletedProcess[str]) -> str:
        if done.returncode and (_TAKEN.search(done.stdout) or find_reason(done.stdout)):
            last = done.stdout.strip().splitlines()[-1:]
            raise MissingError(f"compose {arguments[0]}: {' '.join(last)}")
        assert done.returncode == 0, f"{' '.join(arguments)}\n{done.stdout}\n{self.logs()}"
        return done.stdout

    def _run(self, *arguments: str, seconds: float) -> subprocess.CompletedProcess[str]:
        ports = {f"{service.upper()}_PORT": str(port) for service, port in self._ports.items()}
        command = [*self._engine.compose, *self._options, "--project-name", self._name, *arguments]
        return run_within(seconds, command, cwd=ROOT, env={**self._variables, **ports})

    def _inspect(self) -> list[dict]:
        label = f"label=com.docker.compose.project={self._name}"
        found = self._engine.read("ps", "--all", "--quiet", "--filter", label).split()
        return json.loads(self._engine.read("inspect", *found)) if found else []

    def _list_waiting(self) -> list[str]:
        waiting = []
        for container in self._inspect():
            service, state = _find_service(container), container["State"]
            restarts = container["RestartCount"]
            failed = state["Status"] == "exited" and state["ExitCode"] != 0
            assert not failed or restarts, f"{service} has failed.\n{self.logs()}"
            assert restarts < _MAX_RESTARTS, f"{service} fails again and again.\n{self.logs()}"
            if "Health" in state:
                done = state["Health"]["Status"] == "healthy"
            else:  # it runs once
                done = state["Status"] == "exited"
            if not done:
                waiting.append(service)
        return waiting


def _find_service(container: dict) -> str:
    return container["Config"]["Labels"]["com.docker.compose.service"]


def _find_free_ports() -> dict[str, int]:
    """Return a port of this host for each service.

    They are bound minutes later, so they lie below those that the kernel gives to connections.
    """
    ports = random.sample(range(*_PORTS), k=min(1000, _PORTS[1] - _PORTS[0]))
    free = filter(_is_free, ports)
    return {service: next(free) for service in ("embedder", "search", "trainer", "web")}


def _find_first_ephemeral_port() -> int:
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except OSError:
        return 32768


# Some hosts give almost all ports to connections; `up` tries again then.
_PORTS = (10240, max(_find_first_ephemeral_port(), 20000))


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
