"""`halftone train` and `halftone jobs …`: training jobs, with a live progress bar."""

from __future__ import annotations

import contextlib
import datetime as dt
import sys
from typing import TYPE_CHECKING, Any, Final

import click
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.table import Table

from halftone.cli import output
from halftone.cli.options import data_option, json_option, limit_option
from halftone.client import Client
from halftone.client.training import JobState
from halftone.core import errors, training
from halftone.core.settings import ClientSettings
from halftone.stack import running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from halftone.client.training import TrainingJob

_LINES: Final = 8
_SECONDS_PER_MINUTE: Final = 60


def _trainer_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        data_option,
        click.option(
            "--server",
            metavar="HOST:PORT",
            help="Training service to talk to.  [default: HALFTONE_TRAINER, or what `halftone up` "
            "runs from the data directory]",
        ),
    ):
        command = option(command)
    return command


@click.command()
@click.argument("datasets", nargs=-1, required=True, metavar="DATASET…")
@click.option("--name", required=True, help="Publish under this name, with the next number.")
@click.option(
    "--objective",
    type=click.Choice(["self-supervised", "metric", "classification"]),
    default="self-supervised",
    show_default=True,
    help="What the network learns; the latter two need groups.",
)
@click.option("--parent", default="", metavar="NAME/NUMBER", help="Version to start from.")
@click.option(
    "--initial-weights",
    default="",
    type=click.Choice(["", "random", "imagenet"]),
    metavar="random|imagenet",
    help="What to start from without a parent.  [default: random]",
)
@click.option(
    "--backbone",
    default="",
    type=click.Choice(["", "resnet18", "resnet50", "resnet152"]),
    metavar="resnet18|resnet50|resnet152",
    help="The network without a parent.  [default: resnet18]",
)
@click.option(
    "--evaluate-on",
    default="",
    metavar="ARCHIVE",
    help="Judge the version on this archive, which has a groups.json; a path as DATASET's.",
)
@click.option(
    "--epochs",
    type=click.FloatRange(0),
    default=0.0,
    help="Length of the run in passes through the data; one of these three is needed.",
)
@click.option("--steps", type=click.IntRange(0), default=0, help="Length of the run in steps.")
@click.option(
    "--minutes", type=click.FloatRange(0), default=0.0, help="Length of the run in minutes."
)
@click.option(
    "--option",
    "options",
    multiple=True,
    metavar="NAME=VALUE",
    help="Setting of the training loop, as batch=128; docs/api.md lists them.",
)
@click.option("--promote", is_flag=True, help="Promote the version unless it is worse.")
@click.option("--request-id", help="The same one always gives the same job, trainingJobs/ID.")
@click.option("--watch", is_flag=True, help="Show how it goes until the end.")
@json_option
@_trainer_options
def train(
    *,
    datasets: tuple[str, ...],
    name: str,
    objective: str,
    parent: str,
    initial_weights: str,
    backbone: str,
    evaluate_on: str,
    epochs: float,
    steps: int,
    minutes: float,
    options: tuple[str, ...],
    promote: bool,
    request_id: str | None,
    watch: bool,
    as_json: bool,
    server: str | None,
    data: Path | None,
) -> None:
    """Train a model version on data sets, named by their paths below the trainer's data roots.

    The job is put on a queue. With --watch its progress is shown; Ctrl-C then ends the showing and
    not the job.
    """
    if sum(map(bool, (epochs, steps, minutes))) != 1:
        raise click.UsageError(
            "Give the length of the run with exactly one of --epochs, --steps and --minutes."
        )
    spec = training.parse_spec(
        {
            "objective": objective.replace("-", "_"),
            "datasets": datasets,
            "model_name": name,
            "parent": parent,
            "initial_weights": initial_weights,
            "backbone": backbone,
            "evaluation_archive": evaluate_on,
            "epochs": epochs,
            "steps": steps,
            "time_limit_minutes": minutes,
            "options": dict(map(_pair, options)),
            "promote": promote,
        }
    )
    with _connect(server=server, data=data) as client:
        job = client.train(spec, request_id=request_id)
        if not watch:
            _print(job, as_json=as_json)
            return
        output.make_notes().print(f"{job.name}  (halftone jobs cancel {job.id} stops it)")
        _end(_watch_or_say_how(client, job.name), as_json=as_json)


@click.group()
def jobs() -> None:
    """List, show, watch and cancel training jobs."""


@jobs.command("list")
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice([state.value for state in JobState]),
    help="Only jobs in this state; repeat for more.",
)
@limit_option("jobs", default=20)
@json_option
@_trainer_options
def list_(
    *,
    states: tuple[str, ...],
    limit: int,
    as_json: bool,
    server: str | None,
    data: Path | None,
) -> None:
    """List jobs, the newest first."""
    with _connect(server=server, data=data) as client:
        wanted = [JobState(state) for state in states]
        found = client.training_jobs(states=wanted, page_size=min(limit + 1, 1000))
        shown, more = output.take(found, limit)
    if as_json:
        output.print_json([job_json(job) for job in shown])
    else:
        nothing = "No training jobs in that state." if states else "No training jobs."
        output.make_console().print(_table(shown) if shown else nothing)
    if more:
        output.remark_more(limit)


def _table(shown: Sequence[TrainingJob]) -> Table:
    table = Table(box=None)
    for column in ("created", "state", "done", "name", "objective", "published", "id"):
        table.add_column(column, no_wrap=column != "id")
    for job in shown:
        table.add_row(
            _clock(job.create_time),
            job.state.value,
            f"{job.progress.fraction:.0%}",
            str(job.spec.get("model_name", "")),
            str(job.spec.get("objective", "")),
            job.model_version,
            job.id,
        )
    return table


@jobs.command()
@click.argument("job")
@json_option
@_trainer_options
def show(*, job: str, as_json: bool, server: str | None, data: Path | None) -> None:
    """Show a job: its state, its figures, its error, its last lines."""
    with _connect(server=server, data=data) as client:
        _print(client.training_job(_name(job)), as_json=as_json)


@jobs.command()
@click.argument("job")
@json_option
@_trainer_options
def watch(*, job: str, as_json: bool, server: str | None, data: Path | None) -> None:
    """Show how a job goes until its end."""
    with _connect(server=server, data=data) as client:
        _end(_watch_or_say_how(client, _name(job)), as_json=as_json)


@jobs.command(short_help="Stop a job.")
@click.argument("job")
@json_option
@_trainer_options
def cancel(*, job: str, as_json: bool, server: str | None, data: Path | None) -> None:
    """Stop a job: one that waits at once, one that runs after the step it is in."""
    with _connect(server=server, data=data) as client:
        found = client.cancel_training_job(_name(job))
    if as_json:
        output.print_json(job_json(found))
    else:
        click.echo(f"{found.name} is {found.state.value}.")


def _watch_or_say_how(client: Client, name: str) -> TrainingJob:
    try:
        return _watch(client, name)
    except KeyboardInterrupt:
        job = name.rpartition("/")[2]
        output.make_notes().print(
            f"The job goes on: halftone jobs watch {job} shows it again, halftone jobs cancel "
            f"{job} stops it."
        )
        raise SystemExit(130) from None


def job_json(job: TrainingJob) -> dict[str, Any]:
    """Return a job for JSON, without its empty fields."""
    progress = {key: value for key, value in vars(job.progress).items() if value}
    error = None
    if job.error is not None:
        error = {"reason": job.error.reason, "message": job.error.message}
    found = {
        **{key: value for key, value in vars(job).items() if not key.endswith("_time")},
        "spec": dict(job.spec),
        "state": job.state.value,
        "progress": progress,
        "error": error,
        "log_tail": list(job.log_tail),
        **{
            key: value.isoformat()
            for key, value in vars(job).items()
            if isinstance(value, dt.datetime)
        },
    }
    return {key: value for key, value in found.items() if value not in ("", None, [], {}, 0)}


def progress_text(job: TrainingJob) -> str:
    """Return one line about the progress of a job."""
    progress = job.progress
    if job.state is JobState.QUEUED:
        return "waits for a worker" if not job.attempts else "waits to go on"
    if job.state.is_over or job.state is JobState.CANCELLING:
        return job.state.value
    parts = [progress.phase or "starting"]
    if progress.step:
        parts.append(f"step {progress.step}  epoch {progress.epoch:.1f}")
    if progress.loss:
        parts.append(f"loss {progress.loss:.3f}")
    if progress.images_per_second:
        parts.append(f"{progress.images_per_second:.0f} images/s")
    if progress.seconds_left:
        parts.append(f"{_duration(progress.seconds_left)} left")
    parts += [f"{name} {value:.3f}" for name, value in progress.metrics.items()]
    return "  ".join(parts)


@contextlib.contextmanager
def _connect(*, server: str | None, data: Path | None) -> Iterator[Client]:
    """Connect to the training service that the options name, or to the stack's."""
    settings = ClientSettings()
    address = server or settings.trainer
    if server is None and (data is not None or "trainer" not in settings.model_fields_set):
        directory = data or settings.data
        found = running.find(directory)
        if found is not None and not found.trainer:
            raise errors.FailedPrecondition(
                f"The stack of {directory} runs without training: it was started with "
                "--no-trainer.",
                subject=str(directory),
            )
        if found is not None:
            address = found.trainer
        elif data is not None or "data" in settings.model_fields_set:
            raise errors.FailedPrecondition(
                f"No stack runs from {directory}. Start it with `halftone up --data {directory}`, "
                "or name a training service with --server HOST:PORT.",
                subject=str(directory),
            )
    with Client(trainer=address) as client:
        try:
            yield client
        except errors.Unavailable as error:
            if not error.message.startswith("failed to connect"):
                raise
            # What grpc says here is a page of socket errors.
            raise errors.Unavailable(
                f"No training service answers at {address}. `halftone up` runs one, or name "
                "another with --server HOST:PORT or HALFTONE_TRAINER.",
                reason=error.reason,
            ) from error


def _watch(client: Client, name: str) -> TrainingJob:
    """Show a job until its end: a bar on a terminal, else a line for each phase and tenth."""
    last = None
    notes = output.make_notes()
    if sys.stderr.isatty():
        bar = Progress(
            BarColumn(bar_width=30),
            TaskProgressColumn(),
            TextColumn("{task.description}", markup=False),
            console=notes,
        )
        task = bar.add_task("", total=1.0)
        with Live(bar, console=notes, refresh_per_second=4):
            for job in client.watch_training_job(name):
                last = job
                done = 1.0 if job.state is JobState.SUCCEEDED else job.progress.fraction
                bar.update(task, completed=done, description=progress_text(job))
    else:
        told = None
        for job in client.watch_training_job(name):
            last = job
            mark = (job.state, job.progress.phase, int(job.progress.fraction * 10), job.attempts)
            if mark != told:
                told = mark
                notes.print(f"{job.progress.fraction:4.0%}  {progress_text(job)}")
    if last is None:
        raise errors.Unavailable("The training service ended the stream without a word.")
    return last


def _end(job: TrainingJob, *, as_json: bool) -> None:
    """Print the result of a watched job; exit with 1 if it did not succeed."""
    if as_json:
        output.print_json(job_json(job))
    elif job.state is JobState.SUCCEEDED:
        click.echo(f"{job.model_version} is published.")
        for line in _said_afterwards(job):
            click.echo(line)
    else:
        _print(job, as_json=False)
    if job.state is not JobState.SUCCEEDED:
        raise click.exceptions.Exit(1)


def _said_afterwards(job: TrainingJob) -> tuple[str, ...]:
    """Return the lines that the job printed after publication, for example about its promotion."""
    for at, line in reversed(list(enumerate(job.log_tail))):
        if f"published {job.model_version}" in line:
            return job.log_tail[at + 1 :]
    return job.log_tail[-1:] if job.spec.get("promote") else ()


def _print(job: TrainingJob, *, as_json: bool) -> None:
    if as_json:
        output.print_json(job_json(job))
        return
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    table.add_row("name", job.name)
    table.add_row("state", progress_text(job))
    for key, value in job.spec.items():
        table.add_row(key, _plain(value))
    if job.model_version:
        table.add_row("published", job.model_version)
    if job.error is not None:
        table.add_row("error", f"{job.error.message}  ({job.error.reason})")
    if job.attempts > 1:
        table.add_row("started", f"{job.attempts} times")
    for label, moment in (("created", job.create_time), ("ended", job.end_time)):
        if moment is not None:
            table.add_row(label, _clock(moment))
    if job.log_tail:
        table.add_row("last lines", "\n".join(job.log_tail[-_LINES:]))
    output.make_console().print(table)


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}={_plain(item)}" for key, item in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise click.BadParameter(f"{text!r} is not NAME=VALUE.", param_hint="--option")
    return name.strip().replace("-", "_"), value.strip()


def _name(text: str) -> str:
    name = text if text.startswith("trainingJobs/") else training.job_name(text)
    try:
        training.job_id(name)
    except errors.InvalidArgument:
        raise click.BadParameter(
            f"{text!r} is no job's id; `halftone jobs list` shows them.", param_hint="JOB"
        ) from None
    return name


def _clock(moment: dt.datetime | None) -> str:
    return "" if moment is None else moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), _SECONDS_PER_MINUTE)
    hours, minutes = divmod(minutes, _SECONDS_PER_MINUTE)
    return f"{hours}:{minutes:02d}:{rest:02d}"
