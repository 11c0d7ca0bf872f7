"""`halftone train` and `halftone jobs …`: training jobs, with a live progress bar."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

import click

from halftone.cli import output, tables
from halftone.cli.connecting import add_target, find_stack, pass_connect, suggest_stacks, tell_stack
from halftone.cli.numbers import Real, Whole
from halftone.cli.options import json_option, limit_option
from halftone.client import Client
from halftone.client.training import JobState
from halftone.core import errors, training
from halftone.core.addresses import NO_SERVICE
from halftone.core.backbones import BACKBONES
from halftone.core.extras import make_install_command
from halftone.core.settings import ClientSettings
from halftone.rendering import json_forms, texts

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from halftone.cli.connecting import Connect
    from halftone.client.training import TrainingJob

_LINES: Final = 8
_CANDIDATES: Final = 10
_SECONDS_PER_MINUTE: Final = 60


@contextlib.contextmanager
def _connect(*, server: str | None, data: Path | None) -> Iterator[Client]:
    """Connect to the training service that the options name, or to the stack's."""
    address = server or ClientSettings().trainer
    stack = find_stack(data, service="trainer") if server is None else None
    if stack is not None:
        address = stack.trainer
        if not address:
            directory = data or ClientSettings().data
            raise errors.FailedPrecondition(
                f"The stack of {directory.absolute()} runs without training: it was started with "
                "--no-trainer, or the packages for it are not installed "
                f"({make_install_command('all')}).",
                subject=str(directory),
            )
    if server is None:
        tell_stack(address, data=data, service="trainer")
    with Client(trainer=address) as client:
        try:
            yield client
        except errors.Unavailable as error:
            if error.reason != NO_SERVICE:
                raise
            raise errors.Unavailable(
                f"No training service answers at {address}. `halftone up` runs one, or name "
                f"another with --server HOST:PORT or HALFTONE_TRAINER.{suggest_stacks()}"
            ) from error


_target = add_target("Training service", service="trainer", variable="HALFTONE_TRAINER")


def trainer_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--server` and `--data`; the command gets `connect`, which returns a client."""
    return _target(pass_connect(_connect)(command))


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
    type=click.Choice(["", *BACKBONES]),
    metavar="|".join(BACKBONES),
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
    type=Real(0),
    default=0.0,
    help="Length of the run in passes through the data; one of these three is needed.",
)
@click.option("--steps", type=Whole(0), default=0, help="Length of the run in steps.")
@click.option("--minutes", type=Real(0), default=0.0, help="Length of the run in minutes.")
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
@trainer_options
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
    connect: Connect,
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
    with connect() as client:
        job = client.train(spec, request_id=request_id)
        if not watch:
            _print(job, as_json=as_json)
            return
        output.make_notes().print(f"{job.name}  (halftone jobs cancel {job.id} stops it)")
        _end(_watch(client, job.name), as_json=as_json)


@click.group()
@_target
def jobs(**_options: Any) -> None:  # its commands read them
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
@trainer_options
def list_(
    *,
    states: tuple[str, ...],
    limit: int,
    as_json: bool,
    connect: Connect,
) -> None:
    """List jobs, the newest first."""
    with connect() as client:
        wanted = [JobState(state) for state in states]
        listing = client.training_jobs(states=wanted, page_size=min(limit + 1, 1000))
        shown, more = output.take(listing, limit)
    if as_json:
        output.print_json([job_json(job) for job in shown])
    else:
        nothing = "No training jobs in that state." if states else "No training jobs."
        if shown:
            tables.print_table(output.make_console(), lay_out_jobs(shown))
        else:
            output.say(nothing)
    if more:
        output.remark_more(limit)


def lay_out_jobs(shown: Sequence[TrainingJob]) -> tables.Layout:
    """Return a table of jobs."""
    titles = ("created", "state", "done", "name", "published", "objective", "id")
    return tables.Layout(
        columns=[tables.Column(title=title, right=title == "done") for title in titles],
        rows=[
            [
                _clock(job.create_time),
                job.state.value,
                f"{job.progress.fraction:.0%}",
                str(job.spec.get("model_name", "")),
                job.model_version,
                str(job.spec.get("objective", "")),
                job.id,
            ]
            for job in shown
        ],
    )


@jobs.command(short_help="Show a job.")
@click.argument("job")
@json_option
@trainer_options
def show(*, job: str, as_json: bool, connect: Connect) -> None:
    """Show a job: its state, its figures, its error, its last lines.

    JOB is the id that `halftone jobs list` shows, or as much of its beginning as no other has.
    """
    with connect() as client:
        _print(find_job(client, job), as_json=as_json)


@jobs.command(short_help="Show how a job goes until its end.")
@click.argument("job")
@json_option
@trainer_options
def watch(*, job: str, as_json: bool, connect: Connect) -> None:
    """Show how a job goes until its end.

    JOB is the id that `halftone jobs list` shows, or as much of its beginning as no other has.
    """
    with connect() as client:
        _end(_watch(client, find_job(client, job).name), as_json=as_json)


@jobs.command(short_help="Stop a job.")
@click.argument("job")
@json_option
@trainer_options
def cancel(*, job: str, as_json: bool, connect: Connect) -> None:
    """Stop a job: one that waits at once, one that runs after the step it is in.

    JOB is the id that `halftone jobs list` shows, or as much of its beginning as no other has.
    """
    with connect() as client:
        cancelled_job = client.cancel_training_job(find_job(client, job).name)
    if as_json:
        output.print_json(job_json(cancelled_job))
    else:
        output.say(f"{cancelled_job.name} is {cancelled_job.state.value}.")


def _watch(client: Client, name: str) -> TrainingJob:
    """Show a job until its end and return it."""
    job_id = name.rpartition("/")[2]
    return output.watch(
        lambda: client.watch_training_job(name),
        share=lambda job: 1.0 if job.state is JobState.SUCCEEDED else job.progress.fraction,
        describe=progress_text,
        describe_line=lambda job: f"{job.progress.fraction:4.0%}  {progress_text(job)}",
        mark=lambda job: (job.state, job.progress.phase, job.attempts),
        service="training",
        interrupted=f"The job goes on: halftone jobs watch {job_id} shows it again, halftone jobs "
        f"cancel {job_id} stops it.",
    )


def job_json(job: TrainingJob) -> dict[str, Any]:
    """Return a job for JSON, without its empty fields."""
    found = json_forms.job_to_json(job)
    found["progress"] = {key: value for key, value in found["progress"].items() if value}
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


def _end(job: TrainingJob, *, as_json: bool) -> None:
    """Print the result of a watched job; exit with 1 if it did not succeed."""
    if as_json:
        output.print_json(job_json(job))
    elif job.state is JobState.SUCCEEDED:
        output.say(f"{job.model_version} is published.")
        for line in _list_later_lines(job):
            output.say(texts.show_controls(line))
    else:
        _print(job, as_json=False)
    if job.state is not JobState.SUCCEEDED:
        raise click.exceptions.Exit(1)


def _list_later_lines(job: TrainingJob) -> tuple[str, ...]:
    """Return the lines that the job printed after publication, for example about its promotion."""
    for at, line in reversed(list(enumerate(job.log_tail))):
        if f"published {job.model_version}" in line:
            return job.log_tail[at + 1 :]
    return job.log_tail[-1:] if job.spec.get("promote") else ()


def _print(job: TrainingJob, *, as_json: bool) -> None:
    if as_json:
        output.print_json(job_json(job))
        return
    facts = [("name", job.name), ("state", progress_text(job))]
    facts += [(key, _format_value(value)) for key, value in job.spec.items()]
    if job.model_version:
        facts.append(("published", job.model_version))
    if job.error is not None:
        facts.append(("error", f"{job.error.message}  ({job.error.reason})"))
    if job.attempts > 1:
        facts.append(("started", f"{job.attempts} times"))
    for label, moment in (("created", job.create_time), ("ended", job.end_time)):
        if moment is not None:
            facts.append((label, _clock(moment)))
    if job.log_tail:
        facts.append(("last lines", "\n".join(job.log_tail[-_LINES:])))
    tables.print_facts(output.make_console(), facts)


def _format_value(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}={_format_value(item)}" for key, item in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise click.BadParameter(f"{text!r} is not NAME=VALUE.", param_hint="--option")
    return name.strip().replace("-", "_"), value.strip()


def find_job(client: Client, text: str) -> TrainingJob:
    """Return the job of a name, of an id, or of the beginning of one.

    Raises:
        click.BadParameter: The text cannot be an id, or several ids begin with it.
        errors.NotFound: No id begins with it.
    """
    name = text if text.startswith("trainingJobs/") else training.job_name(text)
    try:
        beginning = training.job_id(name)
    except errors.InvalidArgument:
        raise click.BadParameter(
            f"{text!r} is no job's id; `halftone jobs list` shows them.", param_hint="JOB"
        ) from None
    try:
        return client.training_job(name)
    except errors.NotFound:
        found = [
            job for job in client.training_jobs(page_size=1000) if job.id.startswith(beginning)
        ]
    if not found:
        raise errors.NotFound(
            f"No job's id is {beginning!r} or begins so; `halftone jobs list` shows them.",
            resource_name=name,
        )
    if len(found) > 1:
        first = ", ".join(job.id for job in found[:_CANDIDATES])
        more = f" and {len(found) - _CANDIDATES:,} more" if len(found) > _CANDIDATES else ""
        raise click.BadParameter(
            f"{len(found):,} ids begin with {beginning!r}: {first}{more}.", param_hint="JOB"
        )
    return found[0]


def _clock(moment: dt.datetime | None) -> str:
    return "" if moment is None else moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), _SECONDS_PER_MINUTE)
    hours, minutes = divmod(minutes, _SECONDS_PER_MINUTE)
    return f"{hours}:{minutes:02d}:{rest:02d}"
