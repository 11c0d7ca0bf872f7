"""The embedded stack: each service's own entry point as a child process, in one data directory.

`LocalStack` holds the ports, describes the children and hands them to a `Supervisor`. The files of
the data directory are described in `data_directory`.
"""

from __future__ import annotations

import contextlib
import os
import time
from concurrent import futures
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from halftone.core import errors
from halftone.core.settings import (
    AccessSettings,
    EmbedderSettings,
    ModelSettings,
    SearchSettings,
    StackSettings,
)
from halftone.service import probe
from halftone.service.access import find_metrics_host
from halftone.stack import data_directory, running
from halftone.stack import page as local_page
from halftone.stack import training as local_training
from halftone.stack.access import SERVICE_KEY, make_environment, share_environment
from halftone.stack.parts import HeldPorts, make_address, make_command
from halftone.stack.running import Addresses
from halftone.stack.supervisor import Child, RestartPolicy, Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from halftone.core.settings import ServerSettings
    from halftone.stack.training import Training


@dataclass(frozen=True, kw_only=True)
class Ports:
    """Ports to listen on. None stands for the port in the settings, 0 for any free port."""

    search: int | None = None
    embedder: int | None = None
    search_metrics: int | None = None
    embedder_metrics: int | None = None
    trainer: int | None = None
    trainer_metrics: int | None = None
    worker_metrics: int | None = None
    broker: int | None = None
    page: int | None = None
    page_metrics: int | None = None

    @classmethod
    def any_free(cls) -> Ports:
        """Return ports that are all 0, for any free port."""
        return cls(**{field.name: 0 for field in fields(cls)})


class LocalStack:
    """Runs the stack while its context is entered.

    Args:
        data: The data directory; created if it is missing.
        ports: The ports to listen on.
        report: Called with a sentence about each thing that happens after the start.
        prepare: Called with the models' directory before the services start; None calls
            `data_directory.prepare_models`.
        policy: The rules for restarting a child and for giving up; None takes the defaults and the
            settings of `halftone up`.
        training: The data sets that training jobs may use; None runs the stack without training.
        with_page: Whether to run the page for browsers.

    Raises (on entering):
        errors.DataDirectoryError: Another process uses the directory, or a newer release wrote it.
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
        with_page: bool = False,
    ) -> None:
        self._data = data.absolute()
        self._ports = ports or Ports()
        self._report = report
        self._prepare = prepare or data_directory.prepare_models
        self._policy = policy or RestartPolicy(hang_seconds=StackSettings().hang_seconds)
        self._training = training
        self._with_page = with_page
        self._resources = contextlib.ExitStack()
        # Signal handlers write these, so they are plain values without locks; see `Supervisor`.
        self._stop_requests = 0
        self._leaving = False
        self._failure: Exception | None = None
        self._addresses: Addresses | None = None
        self._supervisor: Supervisor | None = None

    @property
    def addresses(self) -> Addresses:
        """Return the addresses at which the stack listens.

        Raises:
            errors.FailedPrecondition: The context is not entered.
        """
        if self._addresses is None:
            raise errors.FailedPrecondition("The stack is not running.", subject="stack")
        return self._addresses

    @property
    def processes(self) -> dict[str, int]:
        """Return the process ids of the children that run."""
        return {} if self._supervisor is None else self._supervisor.processes

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as resources:
            is_new = not self._data.exists()
            data_directory.make_private(self._data)
            resources.enter_context(data_directory.lock_directory(self._data))
            refused = resources.enter_context(contextlib.ExitStack())
            if is_new:
                refused.callback(data_directory.remove_unused, self._data)
            data_directory.check_format(self._data)
            held = resources.enter_context(HeldPorts())
            settings = _read_settings(self._data, ports=self._ports, held=held)
            self._addresses = settings.addresses()
            shared = make_environment(self._data)
            key = shared[SERVICE_KEY]
            children = _make_children(settings, logs=self._data / "logs", key=key)
            if self._training is not None:
                try:
                    children += self._make_training_children(
                        self._training, settings=settings, held=held, key=key
                    )
                except errors.FailedPrecondition as error:
                    if error.reason != local_training.NOT_INSTALLED:
                        raise
                    # A stack without training can still search.
                    self._report(f"Starting without training jobs. {error.message}")
            if self._with_page:
                try:
                    children.append(self._make_page(held))
                except errors.FailedPrecondition as error:
                    if error.reason != local_page.NOT_INSTALLED:
                        raise
                    self._report(f"Starting without the page. {error.message}")
            # This comes after the ports, so that a refused start has copied nothing.
            self._prepare(settings.models.directory)
            refused.pop_all()
            held.let_children_in()
            self._supervisor = Supervisor(
                share_environment(children, shared=shared),
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
            resources.enter_context(running.announce(self._data, self._addresses))
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
        """Make `wait` return; may be called by a signal handler.

        A second call kills the children instead of waiting for them.
        """
        self._stop_requests += 1

    def wait(self) -> None:
        """Wait until a stop is requested.

        Raises:
            errors.Unavailable: A child died too often.
        """
        while not self._is_stopping():
            time.sleep(0.1)
        if self._failure is not None:
            raise self._failure

    def _make_training_children(
        self, training: Training, *, settings: _Settings, held: HeldPorts, key: str
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
            key=key,
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

    def _make_page(self, held: HeldPorts) -> Child:
        page = local_page.prepare(
            data=self._data,
            port=self._ports.page,
            metrics_port=self._ports.page_metrics,
            addresses=self.addresses,
            hold_port=held.hold,
        )
        self._addresses = replace(self.addresses, page=page.address, page_metrics=page.metrics)
        return page.child

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


@dataclass(frozen=True, kw_only=True)
class _Settings:
    """The services' settings with the ports and directories of this stack."""

    embedder: EmbedderSettings
    search: SearchSettings
    models: ModelSettings

    def addresses(self) -> Addresses:
        return Addresses(
            search=make_address(self.search.host, self.search.port),
            embedder=make_address(self.embedder.host, self.embedder.port),
            search_metrics=make_address(_find_metrics_host(self.search), self.search.metrics_port),
            embedder_metrics=make_address(
                _find_metrics_host(self.embedder), self.embedder.metrics_port
            ),
            pid=os.getpid(),
        )


def _read_settings(data: Path, *, ports: Ports, held: HeldPorts) -> _Settings:
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
        host=_find_metrics_host(embedder),
        variable="HALFTONE_EMBEDDER_METRICS_PORT",
    )
    search_port = port(
        "search service",
        asked=ports.search,
        default=search.port,
        host=search.host,
        variable="--port (HALFTONE_SEARCH_PORT)",
    )
    search_metrics = port(
        "search service's metrics",
        asked=ports.search_metrics,
        default=search.metrics_port,
        host=_find_metrics_host(search),
        variable="HALFTONE_SEARCH_METRICS_PORT",
    )
    # Explicit settings of the operator are kept, for example blobs in an object store.
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
                "embedder": make_address(embedder.host, embedder_port),
                **where,
            }
        ),
        models=models,
    )


def _find_metrics_host(settings: ServerSettings) -> str:
    return find_metrics_host(settings, AccessSettings())


def _find_metrics_address(settings: ServerSettings) -> str:
    return make_address(_find_metrics_host(settings), settings.metrics_port)


def _make_children(settings: _Settings, *, logs: Path, key: str) -> list[Child]:
    addresses = settings.addresses()
    embedder, search = settings.embedder, settings.search
    return [
        Child(
            name="embedder",
            command=make_command("halftone.services.embedder"),
            log=logs / "embedder.log",
            is_ready=lambda: probe.is_serving(addresses.embedder, timeout_seconds=1, key=key),
            is_alive=lambda: probe.is_answering(addresses.embedder, key=key),
            environment={
                "HALFTONE_MODELS_DIRECTORY": str(settings.models.directory.absolute()),
                "HALFTONE_EMBEDDER_PORT": str(embedder.port),
                "HALFTONE_EMBEDDER_METRICS_PORT": str(embedder.metrics_port),
            },
            stop_seconds=embedder.drain_seconds + 10,
            phases={"": "starting", "listening": "loading the model version"},
            hopeless=frozenset({"no_model_version"}),
        ),
        # The search service is started last and stopped first: while it drains, it still needs the
        # embedder.
        Child(
            name="search",
            command=make_command("halftone.services.search"),
            log=logs / "search.log",
            is_ready=lambda: probe.is_serving(addresses.search, timeout_seconds=1, key=key),
            is_alive=lambda: probe.is_answering(addresses.search, key=key),
            environment={
                "HALFTONE_MODELS_DIRECTORY": str(settings.models.directory.absolute()),
                "HALFTONE_SEARCH_PORT": str(search.port),
                "HALFTONE_SEARCH_METRICS_PORT": str(search.metrics_port),
                "HALFTONE_SEARCH_EMBEDDER": search.embedder,
                "HALFTONE_SEARCH_DATA_DIRECTORY": str(search.data_directory),
                "HALFTONE_SEARCH_BLOBS": search.blobs,
            },
            stop_seconds=search.drain_seconds + 10,
            phases={
                "": "starting",
                "listening": "opening the archive",
                "waiting_for_store": "waiting for the Qdrant server",
                "waiting_for_embedder": "waiting for the embedder",
                "collection_opened": "opening the archive",
            },
        ),
    ]
