"""The table of a promotion's steps, row by row, and everything that is not in it."""

from __future__ import annotations

import itertools

import pytest

from halftone.services.search.promotion.transitions import (
    RUNNING,
    STEPS,
    TRANSITIONS,
    Event,
    State,
    Step,
    is_running,
    next_step,
    resume,
)
from halftone.v1 import models_pb2

ENDS = {step for step, facts in STEPS.items() if facts.resumes is None}
EXPECTED = """
    EMBEDDING    EMBEDDED         COMPARING
    EMBEDDING    ANSWERS_ALREADY  CATCHING_UP
    EMBEDDING    CANCEL           CANCELLED
    EMBEDDING    FAIL             FAILED
    COMPARING    ACCEPTED         CATCHING_UP
    COMPARING    WORSE            REFUSED
    COMPARING    CANCEL           CANCELLED
    COMPARING    FAIL             FAILED
    CATCHING_UP  IN_STEP          MOVING
    CATCHING_UP  CANCEL           CANCELLED
    CATCHING_UP  FAIL             FAILED
    MOVING       MOVED            GATHERING
    MOVING       MOVED_BACK       CATCHING_UP
    MOVING       SENT_BACK        EMBEDDING
    GATHERING    GATHERED         SUCCEEDED
    GATHERING    CANCEL           SUCCEEDED
    GATHERING    FAIL             SUCCEEDED
"""
ROWS = [
    (Step[step], Event[event], Step[after])
    for step, event, after in (line.split() for line in EXPECTED.strip().splitlines())
]
REFUSED = sorted(
    set(itertools.product(Step, Event)) - {(step, event) for step, event, _ in ROWS},
    key=lambda pair: (pair[0].value, pair[1].value),
)


def ends_from(step: Step) -> set[Step]:
    """The ends that can be reached from a step."""
    seen, waiting = set(), [step]
    while waiting:
        at = waiting.pop()
        if at not in seen:
            seen.add(at)
            waiting += [after for (before, _), after in TRANSITIONS.items() if before is at]
    return seen & ENDS


@pytest.mark.parametrize(("step", "event", "after"), ROWS)
def test_each_row(step, event, after):
    assert next_step(step, event) is after


@pytest.mark.parametrize(("step", "event"), REFUSED)
def test_each_pair_that_is_no_row_is_refused(step, event):
    with pytest.raises(ValueError, match=f"{event.name} cannot happen in {step.name}"):
        next_step(step, event)


def test_ends_have_no_way_on():
    assert {Step.SUCCEEDED, Step.FAILED, Step.CANCELLED, Step.REFUSED} == ENDS
    assert not {step for step, _ in TRANSITIONS} & ENDS


def test_each_event_happens_somewhere():
    assert {event for _, event in TRANSITIONS} == set(Event)


def test_what_has_switched_can_only_succeed():
    for step, facts in STEPS.items():
        if step not in ENDS:
            assert (ends_from(step) == {Step.SUCCEEDED}) is not facts.reversible, step


def test_what_can_be_cancelled_ends_cancelled_at_once():
    for step, facts in STEPS.items():
        if facts.cancellable:
            assert next_step(step, Event.CANCEL) is Step.CANCELLED, step
            assert facts.reversible
    # The contract's `CancelPromotion` goes by the state.
    assert {STEPS[step].state for step in Step if STEPS[step].cancellable} == {
        State.EMBEDDING,
        State.COMPARING,
    }


@pytest.mark.parametrize("step", sorted(set(Step) - ENDS, key=lambda step: step.value))
def test_after_a_kill_a_step_is_taken_up_where_its_state_says(step):
    facts = STEPS[step]
    assert resume(facts.state) is facts.resumes
    assert facts.state in RUNNING
    assert is_running(models_pb2.Promotion(state=facts.state))
    if not facts.reversible:
        assert facts.resumes is Step.MOVING, "what has switched is completed"


@pytest.mark.parametrize("state", [STEPS[step].state for step in ENDS] + [0])
def test_an_end_is_not_taken_up(state):
    assert not is_running(models_pb2.Promotion(state=state))
    with pytest.raises(ValueError, match="has ended"):
        resume(state)


def test_no_promotion_runs_where_there_was_none():
    assert not is_running(None)
