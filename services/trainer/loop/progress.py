"""Measures a run's time and loss, and reports them to people, to programs, and to a tracker."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import torch

from halftone.core import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from halftone.evaluation.tracking import Tracker
    from halftone.services.trainer.loop.events import Events
    from halftone.services.trainer.loop.state import Run

_BEFORE, _AFTER = 0.05, 0.95  # of the whole: what reading ends with, what the end begins with


class Meter:
    """Measures the time and the loss of steps. Time spent on validation or saving does not count.

    Losses stay on the device until they are read, so that a step never waits for the one before.
    """

    def __init__(
        self, run: Run, *, log: Callable[[str], None], events: Events, tracker: Tracker
    ) -> None:
        self.tracker = tracker
        self._run, self._log, self._events = run, log, events
        self._first_step, self._first_elapsed = run.step, run.elapsed
        self._losses: list[torch.Tensor] = []
        self._waited = 0.0
        self._clock = self._reported = time.monotonic()
        log(f"starting at step {run.step}, {_time(run.elapsed)} of training done")

    def waiting(self, batches: Iterator[torch.Tensor]) -> Iterator[torch.Tensor]:
        """Yield the batches, and count the time spent waiting for them."""
        while True:
            begun = time.monotonic()
            rows = next(batches)
            self._waited += time.monotonic() - begun
            yield rows

    def count(self, loss: torch.Tensor) -> None:
        """Count the loss and the time of a step."""
        now = time.monotonic()
        self._run.elapsed += now - self._clock
        self._clock = now
        self._losses.append(loss)
        if self._events.due():
            self._tell({}, loss=self.check())

    def due(self, seconds: float) -> bool:
        """Return whether this many seconds have passed since the last line."""
        return self._clock - self._reported >= seconds

    def restart_clock(self) -> None:
        """Do not count the time since the last step."""
        self._clock = time.monotonic()

    def check(self) -> float:
        """Return the mean loss since the last line; NaN if no step was taken since.

        Raises:
            errors.FailedPrecondition: The loss is infinite or not a number. The last checkpoint was
                written before that.
        """
        if not self._losses:
            return float("nan")
        loss = float(torch.stack(self._losses).mean())
        if not -float("inf") < loss < float("inf"):
            raise errors.FailedPrecondition(
                f"The loss is {loss} at step {self._run.step}. Lower learning_rate, "
                "head_learning_rate or clip, or raise warmup.",
                reason="LOSS_NOT_FINITE",
            )
        return loss

    def report(self, checked: Mapping[str, float]) -> None:
        """Add an entry to the history and report it.

        Args:
            checked: The figures of a validation; empty without one.

        Raises:
            errors.FailedPrecondition: The loss is infinite or not a number.
        """
        run, loss = self._run, self.check()
        entry = {
            "step": float(run.step),
            "epoch": run.step / run.plan.per_epoch,
            "elapsed": run.elapsed,
            "images_per_second": self._speed,
            "waiting": self._waited / max(run.elapsed - self._first_elapsed, 1e-9),
            **checked,
        }
        if self._losses:
            entry["loss"] = loss
        run.history.append(entry)
        self.tracker.log(entry, step=run.step)
        self._tell(checked, loss=loss)
        facts = "".join(f"  {name} {value:.3f}" for name, value in checked.items())
        learned = f"loss {loss:.3f}  " if self._losses else ""
        self._log(
            f"step {run.step}  epoch {entry['epoch']:.1f}  {learned}"
            f"{self._speed:.0f} images/s  {_time(self._left)} left{facts}"
        )
        self._losses.clear()
        self._clock = self._reported = time.monotonic()

    @property
    def _speed(self) -> float:
        run = self._run
        spent = max(run.elapsed - self._first_elapsed, 1e-9)
        return (run.step - self._first_step) * run.config.batch / spent

    @property
    def _left(self) -> float:
        run = self._run
        # A run that is limited by the clock takes a little longer than its limit.
        return max(0.0, run.elapsed / max(run.progress, 1e-9) - run.elapsed)

    def _tell(self, metrics: Mapping[str, float], *, loss: float) -> None:
        run = self._run
        self._events.progress(
            "training",
            fraction=_BEFORE + (_AFTER - _BEFORE) * min(run.progress, 1.0),
            epoch=run.step / run.plan.per_epoch,
            step=run.step,
            loss=loss,
            images_per_second=self._speed,
            seconds_left=self._left,
            metrics=metrics,
        )


def _time(seconds: float) -> str:
    minutes, rest = divmod(max(0, round(seconds)), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
