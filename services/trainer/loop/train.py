"""The training loop: reads pictures and publishes a model version.

Run it with `python -m halftone.services.trainer.loop.train`. There are three objectives
(`objectives`). Without labels, each step prints a batch of pictures with the press simulation,
attracts each printing to its picture's proxy and repels it from all others. With labels, printings
of a group's pictures attract each other, or are classified. In trials on two CPU cores, these made
small networks work from random weights, in the order of effect: a head that keeps the layout, batch
norm calibrated on the data, the projection initialised as the PCA-whitening of its input features,
and each proxy initialised as its picture's embedding.

A run continues from `<work>/checkpoint.pt` if there is one; on the CPU a run of `--steps` or
`--epochs` that was interrupted ends with the same bits as an uninterrupted one. Repeating the
command of a finished run only fits, evaluates and publishes again. `torchrun` starts several
processes that share each batch.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import math
import shlex
import signal
import sys
import time
from typing import TYPE_CHECKING

import torch

from halftone.core import errors
from halftone.evaluation import tracking
from halftone.services.trainer.loop.checkpoint import read_checkpoint
from halftone.services.trainer.loop.config import TrainingConfig, parse
from halftone.services.trainer.loop.events import Events, exclusive
from halftone.services.trainer.loop.finish import find_published, finish
from halftone.services.trainer.loop.initialise import begin
from halftone.services.trainer.loop.judging import read_archive
from halftone.services.trainer.loop.plan import read_plan
from halftone.services.trainer.loop.progress import Meter
from halftone.services.trainer.loop.state import Run
from halftone.services.trainer.loop.world import join_world

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from halftone.registry.version import ModelVersion
    from halftone.services.trainer.loop.plan import TrainingPlan

_READING = 0.05  # its share of the whole, for progress
_UNFINISHED_SECONDS = 5.0  # that a run which ends early waits for its tracker


def train(
    config: TrainingConfig,
    *,
    log: Callable[[str], None] = print,
    stop: Callable[[], bool] = lambda: False,
    events: Events | None = None,
) -> ModelVersion | None:
    """Train a version as `config` says, and publish it.

    Args:
        config: The settings; see its fields.
        log: Called with progress lines.
        stop: Called before each step. If it returns True the run writes a checkpoint and returns
            None.
        events: Receives the progress for programs.

    Returns:
        The version; None if the run was stopped, and in all processes but the first.

    Raises:
        errors.InvalidArgument: The data cannot be used.
        errors.FailedPrecondition: The work directory belongs to a run with other settings or data,
            or to another process; or the loss is not a number any more.
        errors.StorageFull: The disk is full.
    """
    events = events or Events()
    with contextlib.ExitStack() as held:
        world, device = held.enter_context(join_world())
        if world.leads:
            held.enter_context(exclusive(config.work))
        else:
            log, events = _ignore, Events()
        published = find_published(config)
        if published is not None:
            log(f"{published.id} was published by this job already")
            return published
        if config.threads:
            torch.set_num_threads(config.threads)

        events.progress("reading", fraction=0.0)
        if config.evaluate_on is not None:
            read_archive(config.evaluate_on, roots=config.roots)
        state = read_checkpoint(config)
        start = begin(config)
        plan = read_plan(
            config,
            start=start,
            resumes=state is not None,
            writes=world.leads,
            progress=lambda share: events.progress("reading", fraction=_READING * share),
        )
        for said in (*map(str, plan.findings), *_warn_of_seen(plan)):
            log(said)
            events.warning(said)
        log(
            f"{len(plan.training)} pictures to train on, {len(plan.validation)} held out, "
            f"{len(plan.test)} for the test, on {device}"
        )

        run = Run(plan, start=start, device=device, world=world, state=state)
        tracker = tracking.start(
            name=config.name,
            params=config.to_dict(),
            job=config.job,
            warn=log,
            wanted=world.leads,
        )
        # Does nothing if the run had already come to its end.
        held.callback(tracker.finish, succeeded=False, seconds=_UNFINISHED_SECONDS)
        meter = Meter(run, log=log, events=events, tracker=tracker)
        if not take_steps(run, meter=meter, stop=stop):
            log(f"stopped at step {run.step}; the same command continues")
            return None
        if not world.leads:
            return None
        return finish(run, log=log, events=events, stop=stop, tracker=tracker)


def take_steps(run: Run, *, meter: Meter, stop: Callable[[], bool]) -> bool:
    """Take the steps of a run. Checkpoints are written on the way and at the end.

    Args:
        run: The run.
        meter: Measures and reports the steps.
        stop: Called before each step. If it returns True no more steps are taken.

    Returns:
        Whether the run has come to its end. False if it was stopped before.

    Raises:
        errors.FailedPrecondition: The loss is infinite or not a number.
    """
    config, world = run.config, run.world
    between = config.validation_steps(per_epoch=run.plan.per_epoch)
    saved = validated = time.monotonic()
    if between and run.step == 0 and world.leads:
        # The start is the first candidate: worse weights are never published.
        meter.report(run.validate())
    for rows in meter.waiting(run.plan.batches(start=run.step)):
        # The first process decides for all.
        progress, stopped = world.share([run.progress, float(stop())], device=run.device)
        if progress >= 1 or stopped:
            break
        # A warm-up, then half a cosine down to zero.
        warm = min(1.0, (run.step + 1) / config.warmup)
        loss = run.advance(rows, rate=warm * 0.5 * (1 + math.cos(math.pi * progress)))
        meter.count(loss)

        if not world.leads:
            continue
        done = run.progress >= 1
        due = (
            run.step % between == 0
            if between
            else _seconds_since(validated) >= config.validate_seconds
        )
        if done or due:
            meter.check()
            meter.report(run.validate())
            validated = time.monotonic()
        elif meter.due(config.report_seconds):
            meter.report({})
        if _seconds_since(saved) >= config.checkpoint_seconds:
            meter.check()
            run.save()
            saved = time.monotonic()
            meter.restart_clock()
    if world.leads:
        meter.check()
        run.save()
    return progress >= 1


def _seconds_since(since: float) -> float:
    return time.monotonic() - since


def _ignore(_line: str) -> None:
    """Discard a line: the first process logs for all."""


def _warn_of_seen(plan: TrainingPlan) -> list[str]:
    """Return a warning if the run is evaluated on pictures that it trains on."""
    if plan.config.evaluate_on is None:
        return []
    folder = plan.config.evaluate_on.resolve()
    seen = sum(entry.path.resolve().is_relative_to(folder) for entry in plan.training.entries)
    if not seen:
        return []
    return [f"{seen} pictures of {folder.name} are trained on: figures on it will be too good"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Returns 0, 2 for an expected failure, or 128 + signal when stopped."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    # Before everything else, so that wrong settings are reported as an event, too.
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--events-fd", type=int)
    events = Events(first.parse_known_args(given)[0].events_fd)
    asked: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _frame: asked.append(received))

    def log(line: str) -> None:
        print(line, flush=True)

    try:
        config = parse(
            given,
            command=shlex.join(["python", "-m", "halftone.services.trainer.loop.train", *given]),
        )
        version = train(config, log=log, stop=lambda: bool(asked), events=events)
    except errors.HalftoneError as error:
        return _report_failure(error, events=events)
    except torch.OutOfMemoryError as error:
        detail = str(error).partition("\n")[0].partition(". GPU")[0]
        small = errors.ResourceExhausted(
            f"The device's memory is too small for this run ({detail}). Take a smaller batch or "
            "size, or divide the batch with accumulate.",
            reason="DEVICE_MEMORY",
        )
        return _report_failure(small, events=events)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        full = errors.StorageFull(f"The disk is full: {error}.")
        return _report_failure(full, events=events)
    if version is None:
        return 128 + asked[0] if asked else 0
    events.publication(version.id)
    return 0


def _report_failure(error: errors.HalftoneError, *, events: Events) -> int:
    events.error(error)
    print(f"error: {error.message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
