"""The steps of a promotion, and what leads from one to the next, as data.

    EMBEDDING -> COMPARING -> CATCHING_UP -> MOVING -> GATHERING -> SUCCEEDED
                 (REFUSED)                      any of the first three: FAILED, CANCELLED

`STEPS` says what each step means, `TRANSITIONS` lists every change of step; a pair that is not in
it is a bug. `job.PromotionJob` walks over them. Nothing has changed for anybody before MOVING, and
nothing can be undone after it.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from halftone.v1 import models_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping

State = models_pb2.Promotion.State


class Step(enum.Enum):
    """Where a promotion stands, in more detail than the contract's `Promotion.State`."""

    EMBEDDING = enum.auto()
    """The archive goes into the version's collection; what is written meanwhile goes to both."""
    COMPARING = enum.auto()
    """Both collections are searched, to refuse a version that finds less."""
    CATCHING_UP = enum.auto()
    """Records that changed meanwhile are embedded, until both collections are in step."""
    MOVING = enum.auto()
    """The intent is on disk; the alias, the registry's pointer and this process move."""
    GATHERING = enum.auto()
    """The version answers. What other processes wrote to the old collection is taken over."""
    SUCCEEDED = enum.auto()
    FAILED = enum.auto()
    CANCELLED = enum.auto()
    REFUSED = enum.auto()


class Event(enum.Enum):
    """What happened in a step."""

    EMBEDDED = enum.auto()
    """Every image that can be embedded is in the version's collection."""
    ANSWERS_ALREADY = enum.auto()
    """The version's collection answers; only the registry's pointer is to be put right."""
    ACCEPTED = enum.auto()
    """The version finds as much as the old one, or is forced."""
    WORSE = enum.auto()
    """The version finds less than the old one."""
    IN_STEP = enum.auto()
    """Both collections hold the same records, and no write can come between."""
    MOVED = enum.auto()
    """Alias, pointer and process have moved."""
    MOVED_BACK = enum.auto()
    """One of them could not be moved, and the others are back where they were."""
    SENT_BACK = enum.auto()
    """A process that found the intent still answers with the old version, and wrote to it."""
    GATHERED = enum.auto()
    """The old collection holds nothing that the new one lacks."""
    CANCEL = enum.auto()
    """Somebody asked to stop the promotion, and its work has ended (with an error or not)."""
    FAIL = enum.auto()
    """The work ended with an error that waiting does not help."""


@dataclass(frozen=True, kw_only=True)
class StepFacts:
    """What a step means.

    Attributes:
        state: The state that the contract shows, and that is kept on disk.
        cancellable: Whether a wish to cancel is looked for, and ends the promotion.
        reversible: Whether it can still end with the old version answering. An irreversible step
            ends in success, whatever happens.
        durable: Whether the step may begin only once its state is on disk. The states of the
            others are written as progress: a write that fails is logged, and the next may succeed.
        resumes: Where a process begins that finds the promotion in this step after a kill; None
            for an end.
    """

    state: State
    cancellable: bool = False
    reversible: bool = True
    durable: bool = False
    resumes: Step | None = None


STEPS: Final[Mapping[Step, StepFacts]] = {
    Step.EMBEDDING: StepFacts(state=State.EMBEDDING, cancellable=True, resumes=Step.EMBEDDING),
    Step.COMPARING: StepFacts(state=State.COMPARING, cancellable=True, resumes=Step.EMBEDDING),
    Step.CATCHING_UP: StepFacts(state=State.COMPARING, cancellable=True, resumes=Step.EMBEDDING),
    Step.MOVING: StepFacts(state=State.SWITCHING, durable=True, resumes=Step.MOVING),
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
    # It neither fails nor is cancelled before everything is known to be back. Where that cannot be
    # known it stays, and the next try completes it.
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
    """Return the step that follows.

    Raises:
        ValueError: The event cannot happen in that step.
    """
    try:
        return TRANSITIONS[step, event]
    except KeyError:
        raise ValueError(f"{event.name} cannot happen in {step.name}.") from None


def resume(state: State) -> Step:
    """Return the step in which a promotion is taken up that was left in a state.

    Raises:
        ValueError: It has ended.
    """
    step = _RESUMPTIONS.get(state)
    if step is None:
        raise ValueError(f"A promotion that is {State.Name(state)} has ended.")
    return step


def is_running(promotion: models_pb2.Promotion | None) -> bool:
    """Whether a promotion has not come to its end; False for None."""
    return promotion is not None and promotion.state in RUNNING
