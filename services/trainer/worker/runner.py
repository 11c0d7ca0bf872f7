"""Runs one job at a time: takes its lease, starts the training process, tells what happens.

Whoever holds the lease is the only one that runs the job, and knows when it may no longer be: a
lease that could not be renewed for most of its time stops the process well before another worker
may take over.
"""

from __future__ import annotations

import errno
import shlex
import shutil
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from halftone.core import errors, files, telemetry, training
from halftone.services.trainer.jobs.job import LOG_LINES, Progress, State, TrainingJob
from halftone.services.trainer.jobs.store import FencedError
from halftone.services.trainer.worker.process import TrainingProcess
from halftone.services.trainer.worker.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from halftone.core.settings import TrainerSettings
    from halftone.services.trainer.jobs.intake import Intake
    from halftone.services.trainer.jobs.queue import JobQueue
    from halftone.services.trainer.jobs.store import JobStore, Lease
    from halftone.services.trainer.worker.metrics import WorkerMetrics
    from halftone.services.trainer.worker.promotion import Promoter
    from halftone.services.trainer.worker.watch import Ending

_log = telemetry.get_logger(__name__)

_PAUSE_SECONDS: Final = 1.0
_LAST_WRITE_SECONDS: Final = 0.2
CHILD: Final = "halftone.services.trainer.loop.train"


@dataclass(kw_only=True)
class Runner:
    """Runs jobs on one device.

    Attributes:
        holder: Begins with what tells this device from others (see `worker`).
        promote: Promotes a version and gives a sentence about what became of it.
        module: What the training process runs.
        inherited: File descriptors that the training process keeps open: the device's lock.
        stopping: Set when the worker is to end; the job goes back to the queue.
    """

    store: JobStore
    queue: JobQueue
    intake: Intake
    settings: TrainerSettings
    models: Path
    holder: str
    metrics: WorkerMetrics
    promote: Promoter
    module: str = CHILD
    inherited: Sequence[int] = ()
    stopping: bool = field(default=False)

    def run(self, job_id: str) -> None:
        """Works on a job until it is over, somebody else has it, or the worker is to end.

        Raises:
            errors.Unavailable: The broker went away; the job is taken up again by whoever looks
                after the jobs.
        """
        lease = self.store.acquire(
            job_id,
            holder=f"{self.holder}/{uuid.uuid4().hex}",
            seconds=self.settings.lease_seconds,
        )
        if lease is None:
            _log.info("not_run", job=job_id, why="it is over or runs elsewhere")
            self._clear(self.store.get(job_id))
            return
        _log.info("lease_taken", job=job_id, fence=lease.fence)
        try:
            while not self._attempt(lease):
                time.sleep(_PAUSE_SECONDS)
        except FencedError:
            self.metrics.leases_lost.inc()
            _log.warning("lease_lost", job=job_id, fence=lease.fence)
        else:
            self.store.release(lease)

    def _attempt(self, lease: Lease) -> bool:
        """Runs the process once; gives whether the job is done with here."""
        job = self.store.update(lease.job_id, _begun, lease=lease)
        if job.state is not State.RUNNING:
            self._over(job)
            return True
        watch = Watch(store=self.store, lease=lease, settings=self.settings)
        if job.model_version:
            return self._finish(job, watch=watch)
        folder = self.settings.work_directory.absolute() / job.id
        try:
            config = self._prepare(job, folder=folder)
            process = TrainingProcess(
                config,
                log=folder / "log.txt",
                module=self.module,
                environment=self._environment(),
                inherited=self.inherited,
                nice=self.settings.nice,
            )
        except (errors.HalftoneError, OSError) as error:
            self._fail(lease, error=_outward(error))
            return True
        _log.info("started", job=job.id, pid=process.pid, attempt=job.attempts, fence=lease.fence)
        started = time.monotonic()
        try:
            ending = watch.until_it_ends(
                process, started=started, ran=job.ran_seconds, stopping=lambda: self.stopping
            )
        finally:
            process.close()
            self.metrics.seconds.inc(time.monotonic() - started)
        _log.info("ended", job=job.id, status=ending.status, why=ending.why)
        return self._conclude(lease, ending=ending, watch=watch)

    # ---- before

    def _prepare(self, job: TrainingJob, *, folder: Path) -> Path:
        """Writes the process's settings; checks again what may have vanished since."""
        spec = training.parse_spec(job.spec)
        datasets, archive = self.intake.check(spec)
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
        if free < self.settings.min_free_bytes:
            raise errors.StorageFull(
                f"The disk of {self.settings.work_directory} has {free // 2**20} MiB left; a job "
                f"needs {self.settings.min_free_bytes // 2**20}."
            )
        values: dict[str, Any] = {
            "objective": spec.objective,
            "data": [str(path) for path in datasets],
            "roots": [str(root.resolve()) for root in self.settings.data_roots],
            "evaluate_on": None if archive is None else str(archive),
            "name": spec.model_name,
            "init": spec.parent or ("imagenet" if spec.initial_weights == "imagenet" else ""),
            "epochs": spec.epochs,
            "steps": spec.steps,
            "time_limit": spec.time_limit_minutes,
            "models": str(self.models.absolute()),
            "work": str(folder / "run"),
            "job": job.id,
            "threads": self.settings.threads,
            "command": shlex.join(["halftone", "jobs", "show", job.id]),
        }
        if spec.backbone:
            values["backbone"] = spec.backbone
        if self.settings.imagenet_weights is not None:
            values["weights"] = str(self.settings.imagenet_weights.absolute())
        values |= spec.options.model_dump(mode="json", exclude_none=True)
        if spec.options.splits is not None:
            splits = training.find_data(
                spec.options.splits, roots=self.settings.data_roots, field="spec.options.splits"
            )
            values["splits"] = str(splits)
        config = folder / "config.json"
        files.replace_file(config, files.to_json(values))
        return config

    def _environment(self) -> dict[str, str]:
        kind, _, number = self.settings.device.partition(":")
        if kind == "auto":
            return {}
        return {"CUDA_VISIBLE_DEVICES": "" if kind == "cpu" else (number or "0")}

    # ---- after

    def _conclude(self, lease: Lease, *, ending: Ending, watch: Watch) -> bool:
        """Writes down how the process ended; gives whether the job is done with here."""
        if ending.why == "lost":
            raise FencedError(lease.job_id)
        if ending.status == 0 and ending.model_version:
            job = self._write(
                lease,
                change=lambda job: _told(job, ending).having(model_version=ending.model_version),
            )
            return self._finish(job, watch=watch)
        job = self._write(lease, change=lambda job: self._ended(job, ending))
        if job.state is State.QUEUED:
            if ending.was_killed and ending.why == "ended":
                return False
            self.queue.send(job)
        self._over(job)
        return True

    def _ended(self, job: TrainingJob, ending: Ending) -> TrainingJob:
        """The job after a process that published nothing."""
        job = _told(job, ending)
        if job.state is State.CANCELLING:
            return job.over(State.CANCELLED)
        if ending.error is not None:
            return job.over(State.FAILED, error=ending.error)
        if ending.why in {"stopping", "away"}:
            return _given_back(job)
        if ending.was_killed:
            return job.killed(
                max_crashes=self.settings.max_crashes, max_attempts=self.settings.max_attempts
            )
        return job.over(State.FAILED, error=_crashed(ending))

    def _finish(self, job: TrainingJob, *, watch: Watch) -> bool:
        """After publication: promotes the version if that was asked for."""
        said: tuple[str, ...] = ()
        if training.parse_spec(job.spec).promote and job.state in {State.RUNNING, State.QUEUED}:
            job = self._write(
                watch.lease,
                change=lambda found: found.having(
                    # It is QUEUED where the lease had run out and nobody else took it.
                    state=State.RUNNING if found.state is State.QUEUED else found.state,
                    progress=found.progress.model_copy(update={"phase": "promoting"}),
                ),
            )
            outcome = self.promote(job.model_version, lambda: self.stopping or watch.is_unwanted())
            if self.store.state(job.id) is State.CANCELLING:
                self.promote.cancel()
            if self.stopping:
                job = self._write(watch.lease, change=_given_back)
                if job.state is State.QUEUED:
                    self.queue.send(job)
                self._over(job)
                return True
            said = (outcome,)
            _log.info("promotion", job=job.id, outcome=outcome)
        job = self._write(
            watch.lease,
            change=lambda found: found.having(
                progress=found.progress.model_copy(update={"fraction": 1.0, "seconds_left": 0.0}),
                log_tail=(*found.log_tail, *said)[-LOG_LINES:],
            ).over(
                # Cancelled before its promotion was over. What is published stays.
                State.CANCELLED if said and found.state is State.CANCELLING else State.SUCCEEDED
            ),
        )
        self._over(job)
        return True

    def _fail(self, lease: Lease, *, error: errors.HalftoneError) -> None:
        def change(job: TrainingJob) -> TrainingJob:
            if job.state is State.CANCELLING:
                return job.over(State.CANCELLED)
            return job.over(State.FAILED, error=error)

        self._over(self._write(lease, change=change))

    def _write(self, lease: Lease, *, change: Callable[[TrainingJob], TrainingJob]) -> TrainingJob:
        """Writes what must not get lost, for as long as the lease may hold."""
        until = time.monotonic() + self.settings.lease_seconds
        while True:
            try:
                return self.store.update(lease.job_id, change, lease=lease)
            except errors.Unavailable:
                if time.monotonic() > until:
                    raise
                time.sleep(_LAST_WRITE_SECONDS)

    def _over(self, job: TrainingJob) -> None:
        if not job.state.is_over:
            return
        self.metrics.jobs.labels(job.state.value).inc()
        _log.info("job_over", job=job.id, state=job.state.value, model_version=job.model_version)
        self._clear(job)

    def _clear(self, job: TrainingJob) -> None:
        """Removes the checkpoints of a job that is over; what a failed one left is evidence."""
        if job.state in {State.SUCCEEDED, State.CANCELLED}:
            run = self.settings.work_directory / job.id / "run"
            shutil.rmtree(run, ignore_errors=True)


def _begun(job: TrainingJob) -> TrainingJob:
    if job.state.is_over:
        return job
    if job.state is State.CANCELLING:
        return job.over(State.CANCELLED)
    if job.model_version:
        return job.having(state=State.RUNNING)
    return job.having(
        state=State.RUNNING,
        attempts=job.attempts + 1,
        start_time=job.start_time or time.time(),
        # What is left and how fast it goes is not known before the process says so.
        progress=Progress(
            phase="reading", fraction=job.progress.fraction, metrics=job.progress.metrics
        ),
    )


def _given_back(job: TrainingJob) -> TrainingJob:
    if job.state is State.CANCELLING:
        return job.over(State.CANCELLED)
    return job.having(state=State.QUEUED, queue_time=time.time())


def _told(job: TrainingJob, ending: Ending) -> TrainingJob:
    job = job.having(log_tail=ending.log_tail, ran_seconds=ending.ran_seconds)
    return job if ending.progress is None else job.at(ending.progress)


def _crashed(ending: Ending) -> errors.HalftoneError:
    lines = [line for line in ending.log_tail if line.strip()]
    text = "\n".join(lines)
    if "No space left on device" in text or "Errno 28" in text:
        return errors.StorageFull("The disk became full while the training process ran.")
    last = lines[-1] if lines else "it printed nothing"
    if ending.status == 0:
        last = "it published nothing"
    return errors.Internal(
        f"The training process ended with exit status {ending.status}: {last}",
        reason="TRAINING_CRASHED",
    )


def _outward(error: errors.HalftoneError | OSError) -> errors.HalftoneError:
    if isinstance(error, errors.HalftoneError):
        return error
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return errors.StorageFull("The disk of the trainer's work directory is full.")
    return errors.Unavailable(
        f"The training process could not be started: {error}", reason="CANNOT_START"
    )
