"""Accepts jobs, over gRPC and from the clients' queue: checks, records and queues them."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from halftone.core import errors, files, telemetry, training
from halftone.registry.versions import Registry
from halftone.services.trainer.jobs import door
from halftone.services.trainer.jobs.job import State, TrainingJob

if TYPE_CHECKING:
    from pathlib import Path

    from halftone.core.settings import TrainerSettings
    from halftone.core.training import TrainingSpec
    from halftone.services.trainer.jobs.queue import JobQueue
    from halftone.services.trainer.jobs.store import JobStore

_log = telemetry.get_logger(__name__)

# The namespace of derived ids: for tasks with unusual ids, and for jobs whose id was taken.
_NAMESPACE: Final = uuid.UUID("6d2f5a0e-6a54-4c0c-9a5b-0c8b1f5f4f0a")


@dataclass(frozen=True, kw_only=True)
class Message:
    """A job from the clients' queue: the id of its Celery task and the keyword arguments."""

    task_id: str
    arguments: dict[str, Any]


class Intake:
    """Accepts jobs.

    Args:
        store: The store in which jobs are recorded.
        queue: The queue on which they wait for a worker.
        settings: The settings with the data roots and the limit of waiting jobs.
        models: The registry's directory, which has the parent versions.
    """

    def __init__(
        self, *, store: JobStore, queue: JobQueue, settings: TrainerSettings, models: Path
    ) -> None:
        self._store, self._queue = store, queue
        self._settings, self._registry = settings, Registry(models)
        self._intact: dict[str, object] = {}  # the stamps of versions that were verified

    def is_full(self, *, extra: int = 0) -> bool:
        """Return whether `max_queued_jobs` + `extra` jobs or more are waiting.

        Args:
            extra: The number of jobs that may wait beyond the setting `max_queued_jobs`.

        Raises:
            errors.Unavailable: The broker does not answer.
        """
        return self._store.counts()[State.QUEUED] >= self._settings.max_queued_jobs + extra

    def submit(self, spec: TrainingSpec, *, request_id: str) -> TrainingJob:
        """Record and queue a job that came over gRPC, and return it.

        Repeating a request id with the same specification returns the same job.

        Raises:
            errors.InvalidArgument: A field is wrong, or a data set does not exist.
            errors.NotFound: The parent version does not exist.
            errors.AlreadyExists: The request id was used with another specification.
            errors.ResourceExhausted: `max_queued_jobs` jobs are waiting.
            errors.Unavailable: The broker does not answer.
            errors.StorageFull: The broker cannot write, or a job would have too little room.
        """
        job_id = training.check_request_id(request_id) if request_id else uuid.uuid4().hex
        values = spec.to_json()
        if request_id and (known := self._find(job_id)) is not None:
            return _require_same(known, values)
        self.check(spec)
        if self.is_full():
            raise errors.ResourceExhausted(
                f"{self._settings.max_queued_jobs} training jobs are waiting.",
                reason="QUEUE_FULL",
                retry_after=60.0,
            )
        door.check_room(self._settings.work_directory, least=self._settings.min_free_bytes)
        job, created = self._store.create(TrainingJob.new(job_id, spec=values))
        if not created:
            return _require_same(job, values)
        self._send(job)
        _log.info("job_created", job=job.id, objective=spec.objective, model=spec.model_name)
        return job

    def receive(self, message: Message) -> TrainingJob:
        """Record and queue a job that came as a message. Returns it, or the existing job.

        Nobody waits for an answer, so an invalid message becomes a failed job with the reason as
        its error.

        Raises:
            errors.Unavailable: The broker does not answer.
            errors.StorageFull: The broker cannot write.
        """
        if not _is_text(message.arguments):
            error = errors.InvalidArgument(
                "The arguments are no JSON, or hold half a character (a lone surrogate).",
                field="spec",
            )
            return self._refuse(_derive_id("task", message.task_id), spec={}, error=error)
        spec = message.arguments.get("spec")
        values: dict[str, Any] = spec if isinstance(spec, dict) else {}
        request_id = message.arguments.get("request_id", message.task_id)
        try:
            job_id = training.check_request_id(str(request_id))
        except errors.InvalidArgument as wrong:
            if "request_id" in message.arguments:
                return self._refuse(_derive_id("task", message.task_id), spec=values, error=wrong)
            job_id = _derive_id("task", message.task_id)
        try:
            if unknown := sorted(set(message.arguments) - {"spec", "request_id"}):
                raise errors.InvalidArgument(  # noqa: TRY301  # ends like any other wrong field
                    f"{unknown[0]}: There is no such argument.", field=unknown[0]
                )
            parsed = training.parse_spec(spec)
        except errors.InvalidArgument as error:
            # Use the requested id unless it belongs to another job.
            known = self._find(job_id)
            if known is not None and known.spec != values:
                job_id = _derive_id(job_id, message.task_id)
            return self._refuse(job_id, spec=values, error=error)
        wanted = parsed.to_json()
        job, created = self._store.create(TrainingJob.new(job_id, spec=wanted))
        if created:
            self._send(job)
        try:
            return _require_same(job, wanted)
        except errors.AlreadyExists as error:
            return self._refuse(_derive_id(job_id, message.task_id), spec=wanted, error=error)

    def check(self, spec: TrainingSpec) -> tuple[tuple[Path, ...], Path | None]:
        """Return the paths of a job's data sets and of its evaluation archive, if it has one.

        Everything that can be known without opening a picture is checked.

        Raises:
            errors.InvalidArgument: A data set does not exist, lies outside the data roots, or
                cannot be trained on.
            errors.NotFound: The parent version does not exist.
            errors.DataLoss: The parent version is damaged.
            errors.FailedPrecondition: The weights to start from are not there.
        """
        if spec.parent:
            self._check_parent(spec.parent)
        self._check_weights(spec)
        roots = self._settings.data_roots
        datasets, archive = training.locate(spec, roots=roots)
        door.check_data_sets(spec, paths=datasets, roots=roots)
        if archive is not None:
            door.check_archive(spec.evaluation_archive, path=archive, roots=roots)
        return datasets, archive

    def _check_parent(self, reference: str) -> None:
        """Compare a parent version with its manifest, unless that was done and nothing has changed.

        Hashing it takes seconds, which every submission and every try of it would cost. The worker
        hashes it once more before it starts.
        """
        version = self._registry.resolve(reference)
        stamp = _read_stamp(version.directory)
        if stamp is None or self._intact.get(version.id) != stamp:
            self._registry.verify(version)
            self._intact[version.id] = stamp

    def _check_weights(self, spec: TrainingSpec) -> None:
        weights = self._settings.imagenet_weights
        if spec.initial_weights == "imagenet" and weights is not None and not weights.is_file():
            raise errors.FailedPrecondition(
                "The file of ImageNet weights that HALFTONE_TRAINER_IMAGENET_WEIGHTS names is not "
                "there.",
                subject="spec.initial_weights",
                reason="WEIGHTS_MISSING",
            )

    def _send(self, job: TrainingJob) -> None:
        try:
            self._queue.send(job)
        except errors.Unavailable:
            # The job is recorded. The reaper will send it.
            _log.warning("not_sent", job=job.id)

    def _find(self, job_id: str) -> TrainingJob | None:
        try:
            return self._store.get(job_id)
        except errors.NotFound:
            return None

    def _refuse(
        self, job_id: str, *, spec: dict[str, Any], error: errors.HalftoneError
    ) -> TrainingJob:
        failed = TrainingJob.new(job_id, spec=spec).over(State.FAILED, error=error)
        job, created = self._store.create(failed)
        if created:
            _log.warning("message_refused", job=job_id, reason=error.reason, error=error.message)
        return job


def _read_stamp(directory: Path) -> object:
    """Return the names, sizes and times of all files below a directory; None if one is not there.

    The time of a file's last change of any kind is among them, which no program can set back.
    """
    try:
        stats = [(path, path.stat()) for path in files.files_below(directory)]
    except OSError:
        return None
    return [
        (path, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        for path, stat in stats
    ]


def _require_same(job: TrainingJob, spec: dict[str, Any]) -> TrainingJob:
    if job.spec != spec:
        raise errors.AlreadyExists(
            f"The request id {job.id} was used before, for another specification.",
            resource_type="halftone.v1.TrainingJob",
            resource_name=training.job_name(job.id),
        )
    return job


def _is_text(arguments: dict[str, Any]) -> bool:
    """Return whether the arguments survive being stored as JSON.

    JSON's escapes can encode half a character (a lone surrogate), and Celery's dates and other
    types.
    """
    try:
        json.dumps(arguments, ensure_ascii=False).encode()
    except (UnicodeEncodeError, TypeError, ValueError):
        return False
    return True


def _derive_id(*parts: str) -> str:
    name = "/".join(parts).encode("utf-8", "replace").decode()
    return uuid.uuid5(_NAMESPACE, name).hex
