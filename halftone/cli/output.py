"""Prints for the commands: tables and sentences for people, JSON for programs."""

from __future__ import annotations

import itertools
import json
import os
import re
import shlex
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.text import Text

from halftone.cli import tables
from halftone.cli.terminal.streams import is_unicode
from halftone.core import errors, files
from halftone.rendering import texts, wording

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from halftone.client import ClusterJob, Facets, Promotion, Verdict
    from halftone.client.training import TrainingJob

T = TypeVar("T")
Job = TypeVar("Job", "ClusterJob", "Promotion", "TrainingJob")

# This is wide enough for every column: a pipe has no width, and names must not be cut there.
PIPE_WIDTH = 500
# The most values of a facet that the service counts unless it is asked for another number.
_FACETS: Final = 100
VERDICTS_UNAVAILABLE: Final = "What archivists said of these pairs could not be read."
# Markup is off, because the texts come from archives, paths and logs, where `[1914]` and `:ship:`
# mean themselves.
_PLAIN: Final[dict[str, Any]] = {"highlight": False, "markup": False, "emoji": False}
_SILENCE_SECONDS: Final = 60.0
_CONTROLS: Final = re.compile(r"[\x7f-\x9f]")
INTERRUPTED: Final = 130
"""The exit code of a command that Ctrl-C ended, as shells have it."""


def make_console() -> Console:
    """Return a console for standard output, as wide as the terminal."""
    return _make(width=None if sys.stdout.isatty() else PIPE_WIDTH)


def make_notes() -> Console:
    """Return a console for standard error, for progress and remarks."""
    return _make(stderr=True, soft_wrap=True)


class _Console(Console):
    """A console whose texts cannot command the terminal, wherever they come from."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Convert a text to what rich prints, with its control characters made visible."""
        return super().render_str(texts.show_controls(text), **options)

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as rich does, also texts that were put together elsewhere."""
        super().print(*map(_show_controls, objects), **options)


def _show_controls(value: Any) -> Any:
    """Return what is printed, with its control characters made visible if it is a text of rich."""
    if not isinstance(value, Text):
        return value
    shown = value.copy()
    shown.plain = texts.show_controls(value.plain)
    return shown


def _make(**options: Any) -> Console:
    console = _Console(**options, **_PLAIN)
    # Under NO_COLOR rich leaves out colours only. Without a colour system it prints neither bold
    # nor dim text.
    return _Console(**options, **_PLAIN, color_system=None) if console.no_color else console


def say(text: str, *, err: bool = False) -> None:
    """Print a text as it is, but so that it cannot command the terminal, wherever it comes from.

    Every command prints with this or on one of the consoles above.

    Args:
        text: The text; a line break follows it.
        err: Whether it goes to standard error.
    """
    click.echo(texts.show_controls(text), err=err)


def remark(*sentences: str) -> None:
    """Print sentences on standard error, each on a line of its own."""
    for sentence in sentences:
        make_notes().print(sentence)


def find_program() -> str:
    """Return what starts this program from here, for commands that people paste.

    It is `halftone` where the shell finds this installation under that name, and a path or a module
    elsewhere, as after `make demo` without an activated environment.
    """
    installed = Path(sys.executable).with_name("halftone")
    found = shutil.which("halftone")
    if found and installed.is_file() and os.path.samefile(found, installed):  # noqa: PTH121 - found is a text
        return "halftone"
    program = installed if installed.is_file() else Path(sys.executable)
    if program.is_relative_to(Path.cwd()):
        program = program.relative_to(Path.cwd())
    return shlex.quote(str(program)) + ("" if program.name == "halftone" else " -m halftone.cli")


def make_folder(path: Path) -> Path:
    """Create the missing folders above a file, and say so: a path may be misspelt.

    Returns:
        The file's path.

    Raises:
        NotADirectoryError: One of the folders is a file.
    """
    is_new = not path.parent.exists()
    files.with_folders(path)
    if is_new:
        remark(f"The folder {path.parent} did not exist and was made.")
    return path


def remark_more(limit: int, *, hint: str = "") -> None:
    """Say on standard error that a list is longer than the `limit` items that were printed."""
    remark(f"There are more than these {limit}: --limit shows more{hint}.")


def take(items: Iterable[T], limit: int) -> tuple[list[T], bool]:
    """Return the first `limit` items, and whether there are more."""
    first = list(itertools.islice(items, limit + 1))
    return first[:limit], len(first) > limit


def count_images(count: int) -> str:
    """Return a count in words, for example `1 image` or `1,204 images`."""
    return wording.format_count(count, "image")


def watch(
    follow: Callable[[], Iterable[Job]],
    *,
    share: Callable[[Job], float],
    describe: Callable[[Job], str],
    describe_line: Callable[[Job], str],
    mark: Callable[[Job], object] = lambda job: job.state,
    service: str,
    interrupted: str,
) -> Job:
    """Show a job until its end and return its last state.

    On a terminal a bar is shown. Elsewhere a line is printed for each tenth of the job, each time
    that `mark` returns another value, and at least once a minute.

    Args:
        follow: Returns the states of the job as they come.
        share: Returns the share of a job that is done, 0 to 1.
        describe: Returns the text beside the bar.
        describe_line: Returns the line that is printed where there is no bar.
        mark: Returns a value of a state. By default it is the job's `state`.
        service: The name of the service that sends the states, for the error's message.
        interrupted: The sentence to print after Ctrl-C, which does not end the job.

    Raises:
        errors.Unavailable: No state came.
        SystemExit: Ctrl-C was pressed.
    """
    notes = make_notes()
    last: Job | None = None
    told: object = None
    told_at = time.monotonic()
    try:
        if sys.stderr.isatty() and notes.is_interactive:
            columns = TaskProgressColumn(), TextColumn("{task.description}", markup=False)
            with Progress(BarColumn(bar_width=30), *columns, console=notes) as bar:
                task = bar.add_task("", total=None)
                for last in follow():
                    description = texts.show_controls(describe(last))
                    bar.update(task, total=1.0, completed=share(last), description=description)
        else:
            for last in follow():
                now = int(10 * share(last)), mark(last)
                if now != told or time.monotonic() - told_at > _SILENCE_SECONDS:
                    told, told_at = now, time.monotonic()
                    notes.print(describe_line(last))
    except KeyboardInterrupt:
        notes.print(interrupted)
        raise SystemExit(INTERRUPTED) from None
    if last is None:
        raise errors.Unavailable(f"The {service} service ended the stream without a word.")
    return last


def format_number(value: float | None) -> str:
    """Return a figure with three digits, or "" if it is not known."""
    return "" if value is None else f"{value:.3f}"


def print_facets(facets: Facets, *, limit: int | None = None) -> None:
    """Print the counts of each facet, and of the images that have no value of it.

    Args:
        facets: The counts.
        limit: The most values of each facet; None: 100, as the service has it.
    """
    out = make_console()
    out.print(count_images(facets.total))
    for title, counts in (
        ("archive", facets.archives),
        ("journal", facets.journals),
        ("year", facets.years),
        ("language", facets.languages),
    ):
        columns = [
            tables.Column(title=title, wraps=True),
            tables.Column(title="images", right=True),
        ]
        rows = [[texts.flatten(value), f"{count:,}"] for value, count in counts.items()]
        rest = count_others(facets.total, counts=counts, limit=limit)
        if rest:
            rows.append([f"no {title}", f"{rest:,}"])
        if counts:
            tables.print_table(out, tables.Layout(columns=columns, rows=rows))
        if counts is facets.years and counts:
            out.print("A date that spans several years counts in the first one.", style="dim")
    for key, values in facets.labels.items():
        columns = [
            tables.Column(title=f"label {key}", wraps=True),
            tables.Column(title="images", right=True),
        ]
        rows = [[texts.flatten(value), f"{count:,}"] for value, count in values.items()]
        tables.print_table(out, tables.Layout(columns=columns, rows=rows))


def count_others(total: int, *, counts: Mapping[str, int], limit: int | None) -> int | None:
    """Return how many of `total` images have no value of a facet; None if that is not known.

    It is not known if as many values were counted as were asked for: there may be more.
    """
    most = _FACETS if limit is None else limit
    return None if len(counts) >= most else total - sum(counts.values())


def print_json(value: Any) -> None:  # whatever JSON can hold
    """Print a value as JSON."""
    # A stream whose encoding lacks characters gets JSON's own escapes.
    text = json.dumps(value, ensure_ascii=not is_unicode(sys.stdout), indent=2)
    # JSON itself escapes only the controls below 32; terminals obey some of the others.
    click.echo(_CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text))


def describe_verdict(verdict: Verdict) -> str:
    """Return a verdict in words: `same, by Eva on 2025-03-04 (verdicts/12): the same crack`."""
    day = f"{verdict.create_time.astimezone():%Y-%m-%d}" if verdict.create_time else ""
    said = " ".join(
        f"{word} {texts.flatten(value)}"
        for word, value in (("by", verdict.author), ("on", day))
        if value
    )
    text = f"{', '.join(filter(None, (verdict.label, said)))} ({verdict.name})"
    return texts.show_controls(f"{text}: {texts.flatten(verdict.note)}" if verdict.note else text)
