"""The table of a job's life, row by row, and that nothing else can happen."""

from __future__ import annotations

import pytest

from halftone.core import errors
from halftone.services.trainer.jobs.job import Progress, State, TrainingJob
from halftone.services.trainer.jobs.transitions import (
    TABLE,
    Event,
    RefusedError,
    Report,
    apply,
    count_kill,
)

# Once more, and by hand: state, event, next state, what its holder does, what is recorded (ending:
# progress, last lines, seconds), what counts.
ROWS = """
QUEUED     CANCEL_REQUESTED      CANCELLED  LET_GO      -               nothing
QUEUED     STARTED               RUNNING    GO_ON       progress        attempt
QUEUED     RESUMED               RUNNING    GO_ON       -               nothing
QUEUED     PUBLISHED             RUNNING    GO_ON       ending+version  nothing
QUEUED     FAILED                FAILED     LET_GO      ending+error    nothing
QUEUED     KILLED                QUEUED     START_AGAIN ending          crash
QUEUED     KILLED_TOO_OFTEN      FAILED     LET_GO      ending+error    crash
QUEUED     MESSAGE_LOST          QUEUED     SEND        -               nothing
QUEUED     GIVEN_BACK            QUEUED     SEND        ending          nothing
QUEUED     PROMOTION_STARTED     RUNNING    GO_ON       progress        nothing
QUEUED     PROMOTION_ENDED       SUCCEEDED  LET_GO      outcome         nothing
QUEUED     FINISHED              SUCCEEDED  LET_GO      outcome         nothing
RUNNING    CANCEL_REQUESTED      CANCELLING GO_ON       -               nothing
RUNNING    STARTED               RUNNING    GO_ON       progress        attempt
RUNNING    RESUMED               RUNNING    GO_ON       -               nothing
RUNNING    PUBLISHED             RUNNING    GO_ON       ending+version  nothing
RUNNING    FAILED                FAILED     LET_GO      ending+error    nothing
RUNNING    KILLED                QUEUED     START_AGAIN ending          crash
RUNNING    KILLED_TOO_OFTEN      FAILED     LET_GO      ending+error    crash
RUNNING    WORKER_LOST           QUEUED     SEND        -               crash
RUNNING    WORKER_LOST_TOO_OFTEN FAILED     LET_GO      error           crash
RUNNING    GIVEN_BACK            QUEUED     SEND        ending          nothing
RUNNING    PROMOTION_STARTED     RUNNING    GO_ON       progress        nothing
RUNNING    PROMOTION_ENDED       SUCCEEDED  LET_GO      outcome         nothing
RUNNING    FINISHED              SUCCEEDED  LET_GO      outcome         nothing
CANCELLING CANCEL_REQUESTED      CANCELLING GO_ON       -               nothing
CANCELLING STARTED               CANCELLED  LET_GO      -               nothing
CANCELLING RESUMED               CANCELLED  LET_GO      -               nothing
CANCELLING PUBLISHED             CANCELLING GO_ON       ending+version  nothing
CANCELLING FAILED                CANCELLED  LET_GO      ending          nothing
CANCELLING KILLED                CANCELLED  LET_GO      ending          nothing
CANCELLING KILLED_TOO_OFTEN      CANCELLED  LET_GO      ending          nothing
CANCELLING WORKER_LOST           CANCELLED  LET_GO      -               nothing
CANCELLING WORKER_LOST_TOO_OFTEN CANCELLED  LET_GO      -               nothing
CANCELLING GIVEN_BACK            CANCELLED  LET_GO      ending          nothing
CANCELLING PROMOTION_STARTED     SUCCEEDED  LET_GO      -               nothing
CANCELLING PROMOTION_ENDED       CANCELLED  LET_GO      outcome         nothing
CANCELLING FINISHED              SUCCEEDED  LET_GO      outcome         nothing
"""
TELLS = {
    "-": set(),
    "progress": {"progress"},
    "ending": {"progress", "log_tail", "ran_seconds"},
    "outcome": {"progress", "log_tail"},
    "version": {"model_version"},
    "error": {"error"},
}
EXPECTED = {
    (State[state], Event[event]): (State[to], then, tells, counts)
    for state, event, to, then, tells, counts in map(str.split, ROWS.strip().splitlines())
}
EVERYTHING = Report(
    progress=Progress(phase="new", step=9, fraction=0.5),
    log_tail=("new",),
    ran_seconds=9.0,
    model_version="new/1",
    error=errors.Internal("new"),
)


def make_job(state, **fields):
    job = TrainingJob.new("a", spec={}).having(
        state=state,
        progress=Progress(phase="old", step=5),
        furthest_step=50,
        log_tail=("old",),
        ran_seconds=1.0,
        attempts=1,
        crashes=1,
        queue_time=1.0,
        start_time=2.0,
        **fields,
    )
    return job.over(state) if state.is_over else job


@pytest.mark.parametrize(("state", "event"), [(state, event) for state in State for event in Event])
def test_every_pair(state, event):
    job = make_job(state)
    if (state, event) not in EXPECTED:
        with pytest.raises(RefusedError) as caught:
            apply(job, event, EVERYTHING)
        assert isinstance(caught.value, errors.FailedPrecondition)
        assert (caught.value.reason == "JOB_OVER") == state.is_over
        return
    to, then, tells, counts = EXPECTED[state, event]
    facts = set().union(*(TELLS[name] for name in tells.split("+")))
    after, row = apply(job, event, EVERYTHING)
    assert (after.state, row.to, row.then, row.counts) == (to, to, then, counts)
    assert (after.progress.phase == "new") == ("progress" in facts)
    assert (after.log_tail == ("new",)) == ("log_tail" in facts)
    assert (after.ran_seconds == 9.0) == ("ran_seconds" in facts)
    assert after.model_version == ("new/1" if "model_version" in facts else "")
    assert (after.error is not None) == ("error" in facts)
    assert after.attempts - job.attempts == (counts == "attempt")
    assert after.crashes - job.crashes == (counts == "crash")
    assert (after.queue_time > 1.0) == (to is State.QUEUED)
    assert (after.end_time > 0) == to.is_over
    assert after.start_time == 2.0
    assert (after.progress.fraction == 1.0) == (
        to is State.SUCCEEDED or event is Event.PROMOTION_ENDED
    )


def test_the_table_has_no_other_rows():
    assert set(TABLE) == set(EXPECTED)
    assert not any(state.is_over for state, _ in TABLE)


def test_what_is_not_known_is_left_as_it_was():
    job = make_job(State.RUNNING)
    after, _ = apply(job, Event.GIVEN_BACK)
    assert (after.progress, after.log_tail, after.ran_seconds) == (job.progress, ("old",), 1.0)


def test_asking_twice_for_the_cancellation_changes_nothing():
    job = make_job(State.CANCELLING)
    assert apply(job, Event.CANCEL_REQUESTED)[0] is job


@pytest.mark.parametrize(
    ("crashes", "attempts", "step", "worker_lost", "event", "times"),
    [
        (0, 1, 5, False, Event.KILLED, 0),
        (0, 1, 5, True, Event.WORKER_LOST, 0),
        (1, 2, 5, False, Event.KILLED_TOO_OFTEN, 2),
        (1, 2, 5, True, Event.WORKER_LOST_TOO_OFTEN, 2),
        (1, 2, 51, False, Event.KILLED, 0),  # it got further, which makes up for the crash
        (0, 9, 51, False, Event.KILLED_TOO_OFTEN, 9),  # and yet not for ever
    ],
)
def test_how_often_a_job_may_be_killed(crashes, attempts, step, worker_lost, event, times):
    job = make_job(State.RUNNING).having(crashes=crashes, attempts=attempts)
    report = Report(progress=Progress(step=step), log_tail=("new",))
    happening = count_kill(job, report, max_crashes=2, max_attempts=9, worker_lost=worker_lost)
    assert (happening.event, happening.report.log_tail) == (event, ("new",))
    error = happening.report.error
    assert (f"killed {times} times, last at step {step}" in error.message) if times else not error
