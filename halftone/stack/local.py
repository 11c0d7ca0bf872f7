"""The embedded stack: the services' own entry points as child processes, in one data directory.

data/
  format.json      the layout's version, checked before anything is touched
  lock             held while a stack runs
  stack.json       where the running stack listens, for the command line to find it
  logs/            the children's output
  models/          model versions
  search/          vectors and records
  blobs/           the pictures' bytes
  datasets/        what models are trained on
  training/        the queue, checkpoints and logs of training jobs
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from concurrent import futures
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import halftone
from halftone.core import errors, files
from halftone.core.locks import FileLock, LockHeldError, locked
from halftone.core.settings import EmbedderSettings, ModelSettings, SearchSettings
from halftone.registry.version import newest_version
from halftone.registry.versions import Registry
from halftone.service import probe
from halftone.stack import running
from halftone.stack import training as local_training
from halftone.stack.parts import HeldPorts, command, reachable
from halftone.stack.running import Addresses
from halftone.stack.supervisor import Child, RestartPolicy, Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from halftone.stack.training import Training

FORMAT: Final = 1
"""Version of the data directory's layout. A newer one is refused."""

# In a checkout; a wheel carries none.
_STARTER: Final = Path(__file__).resolve().parents[2] / "models" / "starter"


@dataclass(frozen=True, kw_only=True)
class Ports:
    """Ports to listen on; None takes the setting's, 0 a free one."""

    search: int | None = None
    embedder: int | None = None
    search_metrics: int | None = None
    embedder_metrics: int | None = None
    trainer: int | None = None
    trainer_metrics: int | None = None
    worker_metrics: int | None = None
    broker: int | None = None

    @classmethod
    def any_free(cls) -> Ports:
        """Free ports everywhere."""
        return cls(**{field.name: 0 for field in fields(cls)})


class LocalStack:
    """Runs the stack while its context is entered.

    Args:
        data: The data directory; made if it is missing.
        ports: Where to listen.
        report: Is given a sentence about each thing that happens later on.
        prepare: Called with the models' directory before the services start.
        policy: When to restart a child and when to give up.
        training: Whether training jobs are run as well, and on what; None leaves it out.

    Raises (on entering):
        errors.DataDirectoryError: In use by another process, or written by a newer release.
        errors.Unavailable: A port is in use, or a service did not start.
    """

    def __init__(
        self,
        data: Path,
        *,
        ports: Ports | None = None,
        report: Callable[[str], None],
        prepare: Callable[[Path], None] | None = None,
        policy: RestartPolicy | None = None,
        training: Training | None = None,
    ) -> None:
        self._data = data.absolute()
        self._ports = ports or Ports()
        self._report = report
        self._prepare = prepare or prepare_models
        self._policy = policy
        self._training = training
        self._resources = contextlib.ExitStack()
        # Written by signal handlers, so plain values and no locks; see `Supervisor`.
        self._stop_requests = 0
        self._leaving = False
        self._failure: Exception | None = None
        self._addresses: Addresses | None = None
        self._supervisor: Supervisor | None = None

    @property
    def addresses(self) -> Addresses:
        """Where the stack listens, once it is entered."""
        if self._addresses is None:
            raise errors.FailedPrecondition("The stack is not running.", subject="stack")
        return self._addresses

    @property
    def processes(self) -> dict[str, int]:
        """The process ids of the children that run."""
        return {} if self._supervisor is None else self._supervisor.processes

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as resources:
            is_new = not self._data.exists()
            self._data.mkdir(parents=True, exist_ok=True)
            resources.enter_context(_lock(self._data))
            refused = resources.enter_context(contextlib.ExitStack())
            if is_new:
                refused.callback(_remove_unused, self._data)
            check_format(self._data)
            held = resources.enter_context(HeldPorts())
            settings = _settings(self._data, ports=self._ports, held=held)
            self._addresses = settings.addresses()
            children = _children(settings, logs=self._data / "logs")
            if self._training is not None:
                try:
                    children += self._training_children(
                        self._training, settings=settings, held=held
                    )
                except errors.FailedPrecondition as error:
                    if error.reason != local_training.NOT_INSTALLED:
                        raise
                    # Searching needs none of it.
                    self._report(f"Starting without training jobs. {error.message}")
            # After the ports, so that a start that is refused has copied nothing.
            self._prepare(settings.models.directory)
            refused.pop_all()
            held.let_children_in()
            self._supervisor = Supervisor(
                children,
                report=self._report,
                policy=self._policy,
            )
            # Children are killed when the thread that spawned them ends (`halftone.service.child`),
            # so this one spawns them all and ends after they were stopped.
            spawner = resources.enter_context(
                futures.ThreadPoolExecutor(1, thread_name_prefix="supervisor")
            )
            resources.callback(self._supervisor.stop, lambda: self._stop_requests > 1)
            work = [spawner.submit(self._supervisor.start, self._is_stopping)]
            resources.callback(futures.wait, work)
            resources.callback(self._leave)
            work[0].result()
            if self._is_stopping():
                raise errors.Cancelled("Stopped before the services were ready.")
            resources.enter_context(running.announced(self._data, self._addresses))
            work.append(spawner.submit(self._watch))
            self._resources = resources.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._resources.close()

    def request_stop(self) -> None:
        """Makes `wait` return, from a signal handler; asked twice, the children are killed."""
        self._stop_requests += 1

    def wait(self) -> None:
        """Waits until a stop is requested.

        Raises:
            errors.Unavailable: A child died too often.
        """
        while not self._is_stopping():
            time.sleep(0.1)
        if self._failure is not None:
            raise self._failure

    def _training_children(
        self, training: Training, *, settings: _Settings, held: HeldPorts
    ) -> list[Child]:
        parts = local_training.prepare(
            training,
            data=self._data,
            ports=local_training.TrainingPorts(
                broker=self._ports.broker,
                trainer=self._ports.trainer,
                trainer_metrics=self._ports.trainer_metrics,
                worker_metrics=self._ports.worker_metrics,
            ),
            models=settings.models.directory.absolute(),
            search=settings.addresses().search,
            hold_port=held.hold,
        )
        self._addresses = replace(
            self.addresses,
            trainer=parts.trainer,
            trainer_metrics=parts.trainer_metrics,
            worker_metrics=parts.worker_metrics,
            broker=parts.broker,
        )
        return parts.children

    def _watch(self) -> None:
        if self._supervisor is None:
            return
        try:
            self._supervisor.watch(self._is_stopping)
        except Exception as error:  # noqa: BLE001  # raised again by `wait`
            self._failure = error

    def _is_stopping(self) -> bool:
        return self._leaving or self._stop_requests > 0 or self._failure is not None

    def _leave(self) -> None:
        self._leaving = True


def _remove_unused(data: Path) -> None:
    """Removes the data directory of a start that was refused, unless something is kept in it."""
    found = sorted(data.rglob("*"), reverse=True)  # what lies in a directory before it
    ours = {data / "format.json", data / "lock"}
    if all(path in ours or path.is_dir() for path in found):
        # Whatever somebody puts there meanwhile keeps its directory.
        with contextlib.suppress(OSError):
            for path in (*found, data):
                path.unlink() if path in ours else path.rmdir()


def prepare_models(models: Path) -> None:
    """Puts the starter version into an empty models' directory and checks what will be served.

    The embedder checks as well; here an error ends the start at once and with its reason.

    Raises:
        errors.FailedPrecondition: No version is active, or there is none at all.
        errors.DataLoss: A file of the active version does not match its hash.
    """
    registry = Registry(models)
    if not registry.list():
        registry.install(_starter(models))
    active = registry.active
    if active is None:
        raise errors.FailedPrecondition(
            f"No model version in {models} is active; choose one with `halftone models promote`.",
            subject=str(models),
            reason="NO_MODEL",
        )
    registry.verify(active)


def _starter(models: Path) -> Path:
    newest = newest_version(_STARTER)
    if newest is not None:
        return newest
    raise errors.FailedPrecondition(
        f"There is no model version in {models}, and this installation carries no starter "
        "version. Make one with `halftone models import`, or copy one with `halftone models "
        "install`.",
        subject=str(models),
        reason="NO_MODEL",
    )


def check_format(data: Path) -> None:
    """Writes the layout's version into a new data directory and checks an existing one.

    Raises:
        errors.DataDirectoryError: A newer release wrote it, or the file makes no sense.
    """
    path = data / "format.json"
    if not path.exists():
        files.write_json(path, {"format": FORMAT, "written_by": halftone.__version__})
        return
    try:
        content = json.loads(path.read_text())
        found, writer = int(content["format"]), str(content.get("written_by", "unknown"))
    except (ValueError, KeyError, TypeError) as error:
        raise errors.DataDirectoryError(
            f"{path} cannot be understood; is {data} a data directory of Halftone?",
            subject=str(data),
            reason="DATA_DIRECTORY_DAMAGED",
        ) from error
    if found > FORMAT:
        raise errors.DataDirectoryError(
            f"{data} was written by a newer release (Halftone {writer}, format {found}); this is "
            f"Halftone {halftone.__version__}, which knows formats up to {FORMAT}. Upgrade, or "
            "choose another directory with --data.",
            subject=str(data),
            reason="DATA_DIRECTORY_NEWER",
        )


@dataclass(frozen=True, kw_only=True)
class _Settings:
    embedder: EmbedderSettings
    search: SearchSettings
    models: ModelSettings

    def addresses(self) -> Addresses:
        return Addresses(
            search=reachable(self.search.host, self.search.port),
            embedder=reachable(self.embedder.host, self.embedder.port),
            search_metrics=reachable(self.search.host, self.search.metrics_port),
            embedder_metrics=reachable(self.embedder.host, self.embedder.metrics_port),
            pid=os.getpid(),
        )


def _settings(data: Path, *, ports: Ports, held: HeldPorts) -> _Settings:
    embedder, search, models = EmbedderSettings(), SearchSettings(), ModelSettings()

    def port(what: str, *, asked: int | None, default: int, host: str, variable: str) -> int:
        number = default if asked is None else asked
        return held.hold(host, number, what=what, variable=variable)

    embedder_port = port(
        "embedder",
        asked=ports.embedder,
        default=embedder.port,
        host=embedder.host,
        variable="--embedder-port (HALFTONE_EMBEDDER_PORT)",
    )
    embedder_metrics = port(
        "embedder's metrics",
        asked=ports.embedder_metrics,
        default=embedder.metrics_port,
        host=embedder.host,
        variable="HALFTONE_EMBEDDER_METRICS_PORT",
    )
    search_port = port(
        "search service",
        asked=ports.search,
        default=search.port,
        host=search.host,
        variable="HALFTONE_SEARCH_PORT",
    )
    search_metrics = port(
        "search service's metrics",
        asked=ports.search_metrics,
        default=search.metrics_port,
        host=search.host,
        variable="HALFTONE_SEARCH_METRICS_PORT",
    )
    # What the operator set explicitly is kept, for example blobs in an object store.
    where: dict[str, Any] = {}
    if "data_directory" not in search.model_fields_set:
        where["data_directory"] = data / "search"
    if "blobs" not in search.model_fields_set:
        where["blobs"] = str(data / "blobs")
    if "directory" not in models.model_fields_set:
        models = models.model_copy(update={"directory": data / "models"})
    return _Settings(
        embedder=embedder.model_copy(
            update={"port": embedder_port, "metrics_port": embedder_metrics}
        ),
        search=search.model_copy(
            update={
                "port": search_port,
                "metrics_port": search_metrics,
                "embedder": reachable(embedder.host, embedder_port),
                **where,
            }
        ),
        models=models,
    )


def _children(settings: _Settings, *, logs: Path) -> list[Child]:
    addresses = settings.addresses()
    embedder, search = settings.embedder, settings.search
    return [
        Child(
            name="embedder",
            command=command("halftone.services.embedder"),
            log=logs / "embedder.log",
            is_ready=lambda: probe.is_serving(addresses.embedder, timeout_seconds=1),
            environment={
                "HALFTONE_MODELS_DIRECTORY": str(settings.models.directory.absolute()),
                "HALFTONE_EMBEDDER_PORT": str(embedder.port),
                "HALFTONE_EMBEDDER_METRICS_PORT": str(embedder.metrics_port),
            },
            stop_seconds=embedder.drain_seconds + 10,
        ),
        # Started last and stopped first: while it drains, it still needs the embedder.
        Child(
            name="search",
            command=command("halftone.services.search"),
            log=logs / "search.log",
            is_ready=lambda: probe.is_serving(addresses.search, timeout_seconds=1),
            environment={
                "HALFTONE_MODELS_DIRECTORY": str(settings.models.directory.absolute()),
                "HALFTONE_SEARCH_PORT": str(search.port),
                "HALFTONE_SEARCH_METRICS_PORT": str(search.metrics_port),
                "HALFTONE_SEARCH_EMBEDDER": search.embedder,
                "HALFTONE_SEARCH_DATA_DIRECTORY": str(search.data_directory),
                "HALFTONE_SEARCH_BLOBS": search.blobs,
            },
            stop_seconds=search.drain_seconds + 10,
        ),
    ]


def _lock(directory: Path) -> FileLock:
    """Take the data directory's lock, or say which process has it."""
    try:
        lock = locked(directory / "lock")
    except LockHeldError as error:
        raise errors.DataDirectoryError(
            f"{directory} is in use by another stack (process {error.note or 'unknown'}). Stop "
            "it, or choose another directory with --data.",
            subject=str(directory),
            reason="DATA_DIRECTORY_IN_USE",
        ) from error
    lock.write_note(str(os.getpid()))
    return lock
