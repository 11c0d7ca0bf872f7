"""The training loop: pictures in, a model version out. `python -m services.trainer.train`.

Self-supervised: no labels. Each step prints a batch of pictures with the press simulation and
draws each printing to its picture's proxy, away from all others (`objectives.PictureProxies`).
What made small networks work in trials on two CPU cores, in the order of effect: a head that keeps
the layout, batch norm calibrated on the data, the projection initialised as the PCA-whitening of
the features it gets, and each proxy initialised as its picture's own embedding.

A run continues from `<work>/checkpoint.pt` when there is one; on the CPU a run of `--steps` that
was interrupted ends with the same bits as one that was not. Repeating the command of a finished
run only fits, evaluates and publishes again.
"""

from __future__ import annotations

import argparse
import errno
import math
import shlex
import signal
import sys
import time
from typing import TYPE_CHECKING

import torch

from halftone import errors
from halftone.vision.preprocessing import Preprocessing
from services.trainer.config import TrainingConfig, parse
from services.trainer.dataset import batches, hold_out, read_pictures
from services.trainer.events import Events, exclusive
from services.trainer.finish import find_published, finish
from services.trainer.state import Run, shrink

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from halftone.registry import ModelVersion


def train(
    config: TrainingConfig,
    *,
    log: Callable[[str], None] = print,
    stop: Callable[[], bool] = lambda: False,
    events: Events | None = None,
) -> ModelVersion | None:
    """Train as `config` says and publish the version.

    Args:
        config: See its fields.
        log: Takes progress lines.
        stop: Asked after each step; when true the run writes a checkpoint and returns None.
        events: Takes the same for programs.

    Raises:
        errors.InvalidArgument: The data cannot be used.
        errors.FailedPrecondition: The work directory belongs to a run with other settings, or to
            another process.
        errors.StorageFull: The disk is full.
    """
    events = events or Events()
    with exclusive(config.work):
        published = find_published(config)
        if published is not None:
            log(f"{published.id} was published by this job already")
            return published
        events.progress("reading", fraction=0.0)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if config.threads:
            torch.set_num_threads(config.threads)

        # More detail than the network sees, so that a crop stays sharp.
        cached = Preprocessing(size=round(config.size * 1.5), trim=config.trim)
        pictures = read_pictures(config.data, preprocessing=cached)
        for image_id, reason in pictures.rejected:
            log(f"left out {image_id}: {reason}")
            events.warning(f"left out {image_id}: {reason}")
        training, validation = hold_out(pictures, count=config.validation, seed=config.seed)
        needed = max(config.batch, config.dimension + 1)  # whitening needs more than its dimension
        if len(training) < needed:
            raise errors.InvalidArgument(
                f"A batch of {config.batch} and {config.dimension} dimensions need at least "
                f"{needed} pictures to train on; there are {len(training)}.",
                field="data",
            )
        log(f"{len(training)} pictures to train on, {len(validation)} held out, on {device}")

        run = Run(config, pixels=training.pixels, device=device)
        log(f"starting at step {run.step}, {_clock(run.elapsed)} of training done")
        meter = _Meter(run, images=len(training), events=events)
        saved = validated = time.monotonic()
        for rows in batches(len(training), size=config.batch, seed=config.seed, start=run.step):
            if run.progress >= 1:
                break
            # A warm-up, then half a cosine down to zero.
            warm = min(1.0, (run.step + 1) / config.warmup)
            loss = run.advance(rows, rate=warm * 0.5 * (1 + math.cos(math.pi * run.progress)))
            meter.count(loss)

            done = run.progress >= 1
            if done or meter.due(config.report_seconds):
                checked = {}
                if done or time.monotonic() - validated >= config.validate_seconds:
                    checked = run.validate(validation.pixels)
                    validated = time.monotonic()
                log(meter.report(checked))
            if time.monotonic() - saved >= config.checkpoint_seconds:
                run.save()
                saved = time.monotonic()
                meter.restart_clock()
            if stop():
                run.save()
                log(f"stopped at step {run.step}; the same command continues")
                return None
        run.save()

        log("fitting the last layers, evaluating and publishing")
        events.progress("evaluating", fraction=0.95)
        clean = shrink(training.pixels, size=config.size)
        return finish(
            run.calibrated(),
            config=config,
            pictures=clean,
            history=run.history,
            log=log,
            events=events,
        )


class _Meter:
    """Counts time and loss between progress lines; time spent elsewhere is left out."""

    def __init__(self, run: Run, *, images: int, events: Events) -> None:
        self._run, self._images, self._events = run, images, events
        self._first_step, self._first_elapsed = run.step, run.elapsed
        self._losses: list[float] = []
        self._clock = self._reported = time.monotonic()

    def count(self, loss: float) -> None:
        now = time.monotonic()
        self._run.elapsed += now - self._clock
        self._clock = now
        self._losses.append(loss)
        if self._events.due():
            self._tell({}, loss=loss)

    def due(self, seconds: float) -> bool:
        return self._clock - self._reported >= seconds

    def restart_clock(self) -> None:
        self._clock = time.monotonic()

    def report(self, checked: dict[str, float]) -> str:
        """Add an entry to the history and return the progress line."""
        run = self._run
        batch = run.config.batch
        spent = max(run.elapsed - self._first_elapsed, 1e-9)
        entry = {
            "step": float(run.step),
            "epoch": run.step * batch / self._images,
            "elapsed": run.elapsed,
            "loss": sum(self._losses) / len(self._losses),
            "images_per_second": (run.step - self._first_step) * batch / spent,
            **checked,
        }
        run.history.append(entry)
        self._tell(checked, loss=entry["loss"])
        self._losses.clear()
        self._clock = self._reported = time.monotonic()
        left = run.elapsed / run.progress - run.elapsed
        facts = "".join(f"  {name} {value:.3f}" for name, value in checked.items())
        return (
            f"step {run.step}  epoch {entry['epoch']:.1f}  loss {entry['loss']:.3f}  "
            f"{entry['images_per_second']:.0f} images/s  {_clock(left)} left{facts}"
        )

    def _tell(self, metrics: Mapping[str, float], *, loss: float) -> None:
        run = self._run
        spent = max(run.elapsed - self._first_elapsed, 1e-9)
        self._events.progress(
            "training",
            fraction=0.95 * min(run.progress, 1.0),
            epoch=run.step * run.config.batch / self._images,
            step=run.step,
            loss=loss,
            images_per_second=(run.step - self._first_step) * run.config.batch / spent,
            seconds_left=run.elapsed / max(run.progress, 1e-9) - run.elapsed,
            metrics=metrics,
        )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(max(0, round(seconds)), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Exit status 0; 2 for an expected failure; 128 + signal when asked to stop."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    # Before everything else, so that wrong settings are told as an event, too.
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
            given, command=shlex.join(["python", "-m", "services.trainer.train", *given])
        )
        version = train(config, log=log, stop=lambda: bool(asked), events=events)
    except errors.HalftoneError as error:
        return _failed(error, events=events)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        full = errors.StorageFull(f"The disk is full: {error}.")
        return _failed(full, events=events)
    if version is None:
        return 128 + asked[0] if asked else 1
    events.published(version.id)
    return 0


def _failed(error: errors.HalftoneError, *, events: Events) -> int:
    events.error(error)
    print(f"error: {error.message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
