"""Runs one job at a time: takes its lease, starts the training process, records the events.

Only the holder of a job's lease runs it. If a lease could not be renewed for most of its time, the
process is stopped well before another worker may take over. `jobs/transitions` says what follows
from an event; `Runner` finds out which events happened.
"""

from __future__ import annotations

import dataclasses
import errno
import functools
import shutil
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from halftone.core import errors, telemetry, training
from halftone.services.trainer.jobs.job import (
    LOG_LINES,
    Progress,
    State,
    TrainingJob,
    locate_folder,
)
from halftone.services.trainer.jobs.store import FencedError
from halftone.services.trainer.jobs.transitions import (
    Event,
    Happening,
    RefusedError,
    Report,
    Then,
    count_kill,
)
from halftone.services.trainer.worker import run_config
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
        store: The store of jobs and their leases.
        queue: The queue for messages of jobs that this worker releases.
        intake: Checks again that a job's data exists.
        settings: The settings of the trainer.
        models: The registry's directory.
        holder: Prefix of this worker's leases. It is the same for every worker that ever had this
            device of this machine, and for no other.
        metrics: The counters of this worker.
        promote: Promotes a version and returns a sentence about the outcome.
        module: The module that the training process runs.
        inherited: File descriptors that the training process keeps open, such as the device's
            lock.
        stopping: Set this to True to stop the worker; its job goes back to the queue.
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
    stopping: bool = False

    def run(self, job_id: str) -> None:
        """Work on a job until it is over, another worker takes it over, or this worker stops.

        Does nothing if the job is over or another worker has its lease.

        Raises:
            errors.Unavailable: The broker is away. The reaper takes care of the job.
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
            while self._attempt(lease) is Then.START_AGAIN:
                time.sleep(_PAUSE_SECONDS)
        except FencedError:
            self.metrics.leases_lost.inc()
            _log.warning("lease_lost", job=job_id, fence=lease.fence)
            return
        except RefusedError as error:
            # Somebody cancelled it between the last read and this write.
            _log.info("not_run", job=job_id, why=error.message)
            self._clear(self.store.get(job_id))
        self.store.release(lease)

    def _attempt(self, lease: Lease) -> Then:
        """Run a job's training process once, as far as it gets. Returns the next action."""
        watch = Watch(store=self.store, lease=lease, settings=self.settings)
        job, then = self._record(lease, _begin)
        if then is Then.GO_ON and not job.model_version:
            job, then = self._record(lease, self._train(job, watch=watch))
        if then is Then.GO_ON:
            job, then = self._record(lease, _turn_to_promotion)
        if then is Then.GO_ON:
            job, then = self._record(lease, self._promote(job, watch=watch))
        return then

    def _train(self, job: TrainingJob, *, watch: Watch) -> Callable[[TrainingJob], Happening]:
        """Run the training process until it ends. Returns what that means for the job.

        Raises:
            FencedError: Another worker has the job.
        """
        folder = locate_folder(job.id, work_directory=self.settings.work_directory.absolute())
        try:
            config = run_config.write(
                job,
                folder=folder,
                intake=self.intake,
                settings=self.settings,
                models=self.models,
            )
            process = TrainingProcess(
                config,
                log=folder / "log.txt",
                module=self.module,
                environment=run_config.make_environment(self.settings.device),
                inherited=self.inherited,
                nice=self.settings.nice,
            )
        except (errors.HalftoneError, OSError) as error:
            failed = Happening(Event.FAILED, Report(error=_translate(error)))
            return lambda _job: failed
        fence = watch.lease.fence
        _log.info("started", job=job.id, pid=process.pid, attempt=job.attempts, fence=fence)
        started = time.monotonic()
        try:
            ending = watch.follow(
                process, started=started, ran=job.ran_seconds, stopping=lambda: self.stopping
            )
        finally:
            process.close()
            self.metrics.seconds.inc(time.monotonic() - started)
        _log.info("ended", job=job.id, status=ending.status, why=ending.why)
        if ending.why == "lost":
            raise FencedError(job.id)
        return functools.partial(self._interpret, ending=ending)

    def _interpret(self, job: TrainingJob, *, ending: Ending) -> Happening:
        """Return what the end of a training process means for its job."""
        report = ending.report
        if ending.status == 0 and report.model_version:
            return Happening(Event.PUBLISHED, report)
        if report.error is not None:
            return Happening(Event.FAILED, report)
        if ending.why in {"stopping", "away"}:
            return Happening(Event.GIVEN_BACK, report)
        if ending.was_killed:
            return count_kill(
                job,
                report,
                max_crashes=self.settings.max_crashes,
                max_attempts=self.settings.max_attempts,
            )
        return Happening(Event.FAILED, dataclasses.replace(report, error=_explain_crash(ending)))

    def _promote(self, job: TrainingJob, *, watch: Watch) -> Callable[[TrainingJob], Happening]:
        """Ask for the promotion of the published version and wait for its end."""
        outcome = self.promote(job.model_version, lambda: self.stopping or watch.is_unwanted())
        if self.store.state(job.id) is State.CANCELLING:
            self.promote.cancel(job.model_version)
        if self.stopping:
            return lambda _job: Happening(Event.GIVEN_BACK)
        _log.info("promotion", job=job.id, outcome=outcome)
        return lambda found: Happening(
            Event.PROMOTION_ENDED, Report(log_tail=(*found.log_tail, outcome)[-LOG_LINES:])
        )

    def _record(
        self, lease: Lease, interpret: Callable[[TrainingJob], Happening]
    ) -> tuple[TrainingJob, Then]:
        """Record an event and do what follows from it. Returns the job and the next action.

        If the broker does not answer, it is tried again for as long as the lease may last.

        Args:
            lease: The lease of the job.
            interpret: Returns the event, given the stored job. Called again if somebody else
                changes the job meanwhile.

        Raises:
            FencedError: Another worker has the job.
            RefusedError: The job is over.
            errors.Unavailable: The broker does not answer.
        """
        until = time.monotonic() + self.settings.lease_seconds
        while True:
            try:
                job, row = self.store.record(lease.job_id, interpret, lease=lease)
                break
            except errors.Unavailable:
                if time.monotonic() > until:
                    raise
                time.sleep(_LAST_WRITE_SECONDS)
        then = Then.LET_GO if row is None else row.then
        if then is Then.SEND:
            # First, so that the worker that gets the message gets the lease, too.
            self.store.release(lease)
            self.queue.send(job)
        if job.state.is_over:
            self.metrics.jobs.labels(job.state.value).inc()
            _log.info(
                "job_over", job=job.id, state=job.state.value, model_version=job.model_version
            )
            self._clear(job)
        return job, then

    def _clear(self, job: TrainingJob) -> None:
        """Remove the checkpoints of a job that succeeded or was cancelled.

        The checkpoints of a failed job are kept as evidence.
        """
        if job.state in {State.SUCCEEDED, State.CANCELLED}:
            folder = locate_folder(job.id, work_directory=self.settings.work_directory)
            shutil.rmtree(folder / "run", ignore_errors=True)


def _begin(job: TrainingJob) -> Happening:
    if job.model_version:
        return Happening(Event.RESUMED)
    # The remaining time and the speed are unknown until the process reports them.
    progress = Progress(
        phase="reading", fraction=job.progress.fraction, metrics=job.progress.metrics
    )
    return Happening(Event.STARTED, Report(progress=progress))


def _turn_to_promotion(job: TrainingJob) -> Happening:
    if not training.parse_spec(job.spec).promote:
        return Happening(Event.FINISHED)
    progress = job.progress.model_copy(update={"phase": "promoting"})
    return Happening(Event.PROMOTION_STARTED, Report(progress=progress))


def _explain_crash(ending: Ending) -> errors.HalftoneError:
    lines = [line for line in ending.report.log_tail or () if line.strip()]
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


def _translate(error: errors.HalftoneError | OSError) -> errors.HalftoneError:
    if isinstance(error, errors.HalftoneError):
        return error
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return errors.StorageFull("The disk of the trainer's work directory is full.")
    return errors.Unavailable(
        f"The training process could not be started: {error}", reason="CANNOT_START"
    )
