"""Reads the checkpoint of a run; `state.Run.save` writes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch

from halftone.core import errors

if TYPE_CHECKING:
    from halftone.services.trainer.loop.config import TrainingConfig

CHECKPOINT: Final = "checkpoint.pt"


def read_checkpoint(config: TrainingConfig) -> dict[str, Any] | None:
    """Return the checkpoint in the work directory; None if there is none.

    Raises:
        errors.FailedPrecondition: It belongs to a run with other settings, or an older release
            wrote it.
    """
    path = config.work / CHECKPOINT
    if not path.exists():
        return None
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    if "best" not in state:
        raise errors.FailedPrecondition(
            f"{path} was written by an older release; choose another work directory.",
            reason="OTHER_RUN",
        )
    if not config.continues(state["settings"]):
        raise errors.FailedPrecondition(
            f"{path} belongs to a run with other settings; choose another --work or remove it.",
            reason="OTHER_RUN",
        )
    return state
