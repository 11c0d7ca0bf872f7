"""The steps of a promotion and the events that lead from one to the next, as data.

    EMBEDDING -> COMPARING -> CATCHING_UP -> MOVING -> GATHERING -> SUCCEEDED
                 (REFUSED)                      any of the first three: FAILED, CANCELLED

`STEPS` has the properties of each step, `TRANSITIONS` lists every change of step; a pair that is
not in it is a bug. `job.PromotionJob` walks over them. Nothing has changed for anybody before
MOVING, and nothing can be undone after it.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeGuard

from halftone.v1 import models_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping

State = models_pb2.Promotion.State


class Step(enum.Enum):
    """The current step of a promotion, in more detail than the contract's `Promotion.State`."""

    EMBEDDING = enum.auto()
    """The archive is embedded into the version's collection; new writes go to both collections."""
    COMPARING = enum.auto()
    """Both collections are searched, in order to refuse a version that finds less."""
    CATCHING_UP = enum.auto()
    """Records that changed since are embedded, until both collections are in step."""
    MOVING = enum.auto()
    """The intent is on disk. The alias, the registry's pointer and this process switch over."""
    GATHERING = enum.auto()
    """The version is active. Records that went only to the old collection are taken over."""
    SUCCEEDED = enum.auto()
    FAILED = enum.auto()
    CANCELLED = enum.auto()
    REFUSED = enum.auto()


class Event(enum.Enum):
    """An event in a step."""

    EMBEDDED = enum.auto()
    """Every image that can be embedded is in the version's collection."""
    ANSWERS_ALREADY = enum.auto()
    """The version's collection is active already; only the registry's pointer must be corrected."""
    ACCEPTED = enum.auto()
    """The version finds as much as the old one, or its promotion is forced."""
    WORSE = enum.auto()
    """The version finds less than the old one."""
    IN_STEP = enum.auto()
    """Both collections hold the same records, and no write can come between."""
    MOVED = enum.auto()
    """The alias, the pointer and this process have switched over."""
    MOVED_BACK = enum.auto()
    """The alias or the pointer could not be moved, and all are back at the old version."""
    SENT_BACK = enum.auto()
    """A process found the intent while it still used the old version, and has written to it."""
    GATHERED = enum.auto()
    """The old collection holds nothing that the new one lacks."""
    CANCEL = enum.auto()
    """Somebody asked to stop the promotion, and its work has ended, with or without an error."""
    FAIL = enum.auto()
    """The work ended with an error that waiting does not help against."""


@dataclass(frozen=True, kw_only=True)
class StepFacts:
    """The properties of a promotion step.

    Attributes:
        state: The state that the contract shows and that is stored on disk.
        cancellable: Whether a request to cancel is checked for, and ends the promotion.
        reversible: Whether the promotion can still end with the old version active. An irreversible
            step ends in success, whatever happens.
        resumes: The step in which a new process resumes a promotion that was killed in this step;
            None if it has ended.
    """

    state: State
    cancellable: bool = False
    reversible: bool = True
    resumes: Step | None = None


STEPS: Final[Mapping[Step, StepFacts]] = {
    Step.EMBEDDING: StepFacts(state=State.EMBEDDING, cancellable=True, resumes=Step.EMBEDDING),
    Step.COMPARING: StepFacts(state=State.COMPARING, cancellable=True, resumes=Step.EMBEDDING),
    Step.CATCHING_UP: StepFacts(state=State.COMPARING, cancellable=True, resumes=Step.EMBEDDING),
    Step.MOVING: StepFacts(state=State.SWITCHING, resumes=Step.MOVING),
    Step.GATHERING: StepFacts(state=State.SWITCHING, reversible=False, resumes=Step.MOVING),
    Step.SUCCEEDED: StepFacts(state=State.SUCCEEDED, reversible=False),
    Step.FAILED: StepFacts(state=State.FAILED),
    Step.CANCELLED: StepFacts(state=State.CANCELLED),
    Step.REFUSED: StepFacts(state=State.REFUSED),
}

TRANSITIONS: Final[Mapping[tuple[Step, Event], Step]] = {
    (Step.EMBEDDING, Event.EMBEDDED): Step.COMPARING,
    (Step.EMBEDDING, Event.ANSWERS_ALREADY): Step.CATCHING_UP,
    (Step.EMBEDDING, Event.CANCEL): Step.CANCELLED,
    (Step.EMBEDDING, Event.FAIL): Step.FAILED,
    (Step.COMPARING, Event.ACCEPTED): Step.CATCHING_UP,
    (Step.COMPARING, Event.WORSE): Step.REFUSED,
    (Step.COMPARING, Event.CANCEL): Step.CANCELLED,
    (Step.COMPARING, Event.FAIL): Step.FAILED,
    (Step.CATCHING_UP, Event.IN_STEP): Step.MOVING,
    (Step.CATCHING_UP, Event.CANCEL): Step.CANCELLED,
    (Step.CATCHING_UP, Event.FAIL): Step.FAILED,
    # It can fail or be cancelled only after everything is surely back. If that is not sure, the
    # promotion stays in this step, and the next attempt completes it.
    (Step.MOVING, Event.MOVED): Step.GATHERING,
    (Step.MOVING, Event.MOVED_BACK): Step.CATCHING_UP,
    (Step.MOVING, Event.SENT_BACK): Step.EMBEDDING,
    (Step.GATHERING, Event.GATHERED): Step.SUCCEEDED,
    (Step.GATHERING, Event.CANCEL): Step.SUCCEEDED,
    (Step.GATHERING, Event.FAIL): Step.SUCCEEDED,
}

RUNNING: Final = frozenset(facts.state for facts in STEPS.values() if facts.resumes is not None)
"""The states of a promotion that has not ended."""

_RESUMPTIONS: Final = {facts.state: facts.resumes for facts in STEPS.values()}


def next_step(step: Step, event: Event) -> Step:
    """Return the step that follows an event in a step.

    Raises:
        ValueError: The event cannot happen in that step.
    """
    try:
        return TRANSITIONS[step, event]
    except KeyError:
        raise ValueError(f"{event.name} cannot happen in {step.name}.") from None


def resume(state: State) -> Step:
    """Return the step in which to resume a promotion that was interrupted in a state.

    Raises:
        ValueError: A promotion in this state has ended.
    """
    step = _RESUMPTIONS.get(state)
    if step is None:
        raise ValueError(f"A promotion that is {State.Name(state)} has ended.")
    return step


def is_running(promotion: models_pb2.Promotion | None) -> TypeGuard[models_pb2.Promotion]:
    """Return whether a promotion has not ended yet; False for None."""
    return promotion is not None and promotion.state in RUNNING
