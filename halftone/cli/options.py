"""Shared parts of commands: options, names of images, and the connection to a service."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import itertools
import math
import os
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from halftone.archive import records
from halftone.client import Client, Filter
from halftone.core import errors
from halftone.core.settings import ClientSettings
from halftone.imaging import images
from halftone.stack import running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager
    from typing import TypeAlias

    from halftone.imaging.images import Region

    Decorator: TypeAlias = Callable[[Callable[..., Any]], Callable[..., Any]]
    Connect: TypeAlias = Callable[[], AbstractContextManager[Client]]

# Finds the address in gRPC's message about a failed connection.
_ADDRESS: Final = re.compile(r"ipv[46]:(\S+?): ")

# The number of images whose labels are compared with an unknown label.
_LABELLED: Final = 1000
# Maps fields of the services to the options of the command line.
_OPTIONS: Final = {
    "filter.archives": "--archive",
    "filter.journals": "--journal",
    "filter.languages": "--language",
    "filter.date": "--from and --to",
    "filter.date.start": "--from",
    "filter.date.end": "--to",
    "filter.caption_text": "--caption",
    "filter.exclude.journals": "--exclude-journal",
    "limit": "--limit",
    "page_size": "--limit",
    "min_probability": "--min-probability",
    "min_similarity": "--min-similarity",
    "verify_count": "--verify-count",
    "region": "--crop",
    "query_region": "--crop",
    "note": "--note",
    "author": "--author",
    "labelled_groups": "--groups",
    "spec.objective": "--objective",
    "spec.datasets": "DATASET",
    "spec.model_name": "--name",
    "spec.parent": "--parent",
    "spec.initial_weights": "--initial-weights",
    "spec.backbone": "--backbone",
    "spec.evaluation_archive": "--evaluate-on",
    "spec.epochs": "--epochs",
    "spec.steps": "--steps",
    "spec.time_limit_minutes": "--minutes",
}
_WHOLE: Final = 100  # percent
# These fields are arguments; the message about one quotes its value.
_NAMES: Final = {"name", "names", "image", "query", "a", "b"}


data_option = click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    help="Data directory of the stack to talk to.  [default: HALFTONE_DATA, or ./data]",
)


def combine(*options: Decorator) -> Decorator:
    """Return a decorator that adds several options, in the order of the help."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        return functools.reduce(lambda inner, option: option(inner), reversed(options), command)

    return decorate


def find_stack(data: Path | None, *, service: str) -> running.Addresses | None:
    """Return the stack that runs from a data directory, or None.

    Args:
        data: The directory, if a command named one; None: the environment's directory.
        service: `search` or `trainer`. If the environment names that service, it is not looked for
            in a stack unless a command names a directory.

    Raises:
        errors.FailedPrecondition: The option or the environment names a data directory from which
            no stack runs. The default address is not tried: another stack may answer there.
    """
    settings = ClientSettings()
    if data is None and service in settings.model_fields_set:
        return None
    directory = data or settings.data
    stack = running.find(directory)
    if stack is None and (data is not None or "data" in settings.model_fields_set):
        kind = "training service" if service == "trainer" else "service"
        raise errors.FailedPrecondition(
            f"No stack runs from {directory}. Start it with `halftone up --data {directory}`, or "
            f"name a {kind} with --server HOST:PORT.",
            subject=str(directory),
        )
    return stack


def connect(*, server: str | None, data: Path | None) -> Client:
    """Return a client of the service that the options, the environment or the data directory name.

    Raises:
        errors.FailedPrecondition: A data directory is named, and no stack runs from it.
    """
    stack = find_stack(data, service="search") if server is None else None
    if stack is not None:
        return Client(stack.search, embedder=stack.embedder, trainer=stack.trainer or None)
    return Client(server or ClientSettings().search)


def add_target(kind: str, *, variable: str) -> Decorator:
    """Return a decorator that adds `--server` and `--data`, which name a service to talk to.

    Args:
        kind: The service, for example `Search service`.
        variable: The name of the environment's variable for its address.
    """
    return combine(
        click.option(
            "--server",
            metavar="HOST:PORT",
            help=f"{kind} to talk to.  [default: {variable}, or what `halftone up` runs from the "
            "data directory]",
        ),
        data_option,
    )


def pass_connect(connect: Callable[..., AbstractContextManager[Client]]) -> Decorator:
    """Return a decorator that replaces a command's `server` and `data` by one value, `connect`.

    The command calls it for a client, once it has checked its other arguments.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def run(*, server: str | None, data: Path | None, **options: Any) -> None:
            command(connect=functools.partial(connect, server=server, data=data), **options)

        return run

    return decorate


search_target = add_target("Search service", variable="HALFTONE_SEARCH")
server_options = combine(search_target, pass_connect(connect))
"""`--server` and `--data`; the command gets `connect`, which returns a client of their service."""

filter_options = combine(
    click.option(
        "--archive", multiple=True, metavar="NAME", help="Only this archive; repeat for more."
    ),
    click.option(
        "--journal", multiple=True, metavar="NAME", help="Only this journal; repeat for more."
    ),
    click.option(
        "--language", multiple=True, metavar="TAG", help="Only this language; repeat for more."
    ),
    click.option(
        "--from",
        "start",
        default="",
        metavar="DATE",
        help="Printed then or later: 1914, 1914-08, 1914-08-22 (EDTF).",
    ),
    click.option("--to", "end", default="", metavar="DATE", help="Printed then or earlier."),
    click.option(
        "--caption",
        default="",
        metavar="WORDS",
        help="Only with all these words in the caption.",
    ),
    click.option(
        "--label",
        multiple=True,
        metavar="KEY=VALUE",
        help="Only with this label; repeat a key for other values.",
    ),
    click.option(
        "--exclude-journal",
        multiple=True,
        metavar="NAME",
        help="Without this journal; repeat for more.",
    ),
)
"""The options of a filter; `read_filter` reads them."""

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
archive_option = click.option(
    "--archive", multiple=True, metavar="NAME", help="Archive of an ID that is given without one."
)


def limit_option(what: str, *, default: int) -> Callable[..., Any]:
    """Return the option `--limit` of a command that lists things."""
    return click.option(
        "--limit",
        type=click.IntRange(1),
        default=default,
        show_default=True,
        help=f"At most so many {what}.",
    )


def read_filter(options: dict[str, Any]) -> Filter | None:
    """Return the filter that a command's options give, or None if they give none.

    The filter's options are removed from `options`.

    Raises:
        click.BadParameter: A label is not KEY=VALUE.
    """
    labels: dict[str, list[str]] = {}
    for label in options.pop("label"):
        key, equals, value = label.partition("=")
        if not (key and equals):
            raise click.BadParameter(f"{label!r} is not KEY=VALUE.", param_hint="--label")
        labels.setdefault(key, []).append(value)
    excluded = options.pop("exclude_journal")
    chosen = Filter(
        archives=options.pop("archive"),
        journals=options.pop("journal"),
        languages=options.pop("language"),
        start=options.pop("start"),
        end=options.pop("end"),
        caption=options.pop("caption"),
        labels=labels,
        exclude=Filter(journals=excluded) if excluded else None,
    )
    return None if chosen == Filter(archives=(), journals=(), languages=()) else chosen


def describe_search(
    where: Filter | None,
    *,
    min_probability: float | None,
    min_similarity: float | None,
    verify_count: int | None,
    mirrored: bool,
    rotated: bool,
) -> list[str]:
    """Return in words what narrows a search, for example `journal A or B` and `from 1914`.

    The arguments are the options of a search. None: the option was not given.
    """
    where = where or Filter()
    left_out = where.exclude.journals if where.exclude else ()
    words = [
        ("archive", " or ".join(where.archives)),
        ("journal", " or ".join(where.journals)),
        ("language", " or ".join(where.languages)),
        ("from", where.start),
        ("to", where.end),
        ("caption with", where.caption),
        *((f"label {key}", " or ".join(values)) for key, values in where.labels.items()),
        ("without journal", " or ".join(left_out)),
    ]
    figures = [
        ("probability at least", min_probability),
        ("similarity at least", min_similarity),
        ("candidates compared:", verify_count),
    ]
    return [
        *(f"{name} {value}" for name, value in words if value),
        *(f"{name} {value:g}" for name, value in figures if value is not None),
        *([] if mirrored else ["not mirrored"]),
        *([] if rotated else ["not turned"]),
    ]


def confirm(question: str, *, yes: bool) -> None:
    """Ask on the terminal before something is deleted; all commands that delete call this.

    Args:
        question: What will be deleted, for example `Delete 2 images?`.
        yes: The command's `--yes`, which answers the question.

    Raises:
        click.UsageError: There is neither a terminal nor a `--yes`.
        click.Abort: The answer is no.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(
            f"{question} There is no terminal to ask at, and nothing was done: --yes does it "
            "without asking."
        )
    click.confirm(question, abort=True, err=True)


yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


def complete_name(text: str, *, archives: tuple[str, ...] = ()) -> str:
    """Return the resource name of an image.

    Args:
        text: A resource name, or an image's id.
        archives: The archive of an id. An id needs exactly one.

    Raises:
        click.BadParameter: The text is not a name, and there is not exactly one archive.
    """
    if text.startswith("archives/"):
        return str(records.parse_name(text))
    if len(archives) == 1:
        return str(records.make_name(archives[0], image_id=text))
    if os.path.isfile(text):  # noqa: PTH113 - raises for no text
        raise click.BadParameter(
            f"{text!r} is a file; this command takes names of images of the archive, "
            f"archives/ARCHIVE/images/ID. `halftone search {shlex.quote(text)}` finds the names of "
            "its printings; `halftone import` adds pictures to the archive."
        )
    raise click.BadParameter(
        f"{text!r} is not an image's name, archives/ARCHIVE/images/ID; an id alone needs --archive."
    )


def read_crop(text: str, *, size: Callable[[], tuple[int, int]]) -> Region:
    """Read `x,y,w,h` in pixels, or `pct:x,y,w,h` in percent of the picture.

    Args:
        text: The option's value.
        size: Returns width and height of the upright picture; called only for percentages.

    Raises:
        click.BadParameter: The text is not such a rectangle, or does not lie inside the picture.
    """
    percent = text.startswith("pct:")
    try:
        numbers = [float(part) for part in text.removeprefix("pct:").split(",")]
        x, y, width, height = numbers
    except ValueError:
        numbers = []
    if not numbers or not all(map(math.isfinite, numbers)):
        raise _refuse_crop(f"{text!r} is neither x,y,w,h in pixels nor pct:x,y,w,h in percent.")
    if not percent and any(number != int(number) for number in numbers):
        # Some programs give shares of the picture, from 0 to 1.
        shares = ",".join(f"{100 * number:g}" for number in numbers)
        meant = f"; is pct:{shares} meant?" if all(0 <= number <= 1 for number in numbers) else "."
        raise _refuse_crop(f"Pixels are whole numbers{meant}")
    if width <= 0 or height <= 0:
        side = "width" if width <= 0 else "height"
        raise _refuse_crop(f"{text!r} has no {side}: it is X,Y,WIDTH,HEIGHT.")
    if min(x, y) < 0 or (percent and round(max(x + width, y + height), 6) > _WHOLE):
        raise _refuse_crop(f"{text!r} does not lie inside the picture.")
    if not percent:
        return images.Region(int(x), int(y), int(width), int(height))
    full_width, full_height = size()
    left, right = round(x * full_width / 100), round((x + width) * full_width / 100)
    top, bottom = round(y * full_height / 100), round((y + height) * full_height / 100)
    if left == right or top == bottom:
        raise _refuse_crop(f"{text!r} is less than a pixel of {full_width} x {full_height}.")
    return images.Region(left, top, right - left, bottom - top)


def _refuse_crop(problem: str) -> click.BadParameter:
    return click.BadParameter(problem, param_hint="--crop")


def check_filter(client: Client, *, where: Filter | None, nothing: bool) -> list[str]:
    """Return sentences about values of a filter that occur nowhere, with similar known values.

    An unknown value is no error for the service, but a person has probably misspelt it.

    Args:
        client: A client of the service that was asked.
        where: The filter.
        nothing: Whether no image was found. If images were found, some values may be unknown all
            the same, and only these are checked: values of a field that has several, and journals
            to leave out.
    """
    if where is None:
        return []
    within = Filter(archives=where.archives)
    if nothing and where.archives and not client.facets(filter=within, limit=1).total:
        return [f"There is no image in {' or '.join(map(repr, where.archives))}."]
    left_out = where.exclude.journals if where.exclude else ()
    asked = [
        (name, value)
        for name, values, always in (
            ("journal", where.journals, False),
            ("language", where.languages, False),
            ("journal", left_out, True),
        )
        for value in values
        if nothing or always or len(values) > 1
    ]
    sentences = []
    for name, value in asked:
        one = Filter(journals=[value]) if name == "journal" else Filter(languages=[value])
        if not client.facets(
            filter=dataclasses.replace(one, archives=where.archives), limit=1
        ).total:
            facets = client.facets(filter=within, limit=1000)
            known = facets.journals if name == "journal" else facets.languages
            sentences.append(f"No image has the {name} {value!r}.{_suggest(value, known)}")
    for key, values in where.labels.items():
        for value in values if nothing or len(values) > 1 else ():
            one = Filter(archives=where.archives, labels={key: [value]})
            if not client.facets(filter=one, limit=1).total:
                label = f"{key}={value}"
                hint = _suggest(label, _list_labels(client, where=within))
                sentences.append(f"No image has the label {label!r}.{hint}")
    return sentences


def _list_labels(client: Client, *, where: Filter) -> set[str]:
    """Return the labels of the first images, because the service does not count labels."""
    images = itertools.islice(client.list(filter=where, page_size=_LABELLED), _LABELLED)
    return {
        f"{key}={value}"
        for image in images
        for key, values in image.labels.items()
        for value in values
    }


def _suggest(value: str, known: Iterable[str]) -> str:
    """Return a question that suggests up to three of `known` that are similar to `value`.

    Return "" if none is similar.
    """
    folded = {name.casefold(): name for name in known}
    typed = value.casefold()
    near = difflib.get_close_matches(typed, folded, n=3, cutoff=0.5)
    near += [name for name in folded if typed in name and name not in near]
    return f" Did you mean {' or '.join(repr(folded[name]) for name in near[:3])}?" * bool(near)


def explain(error: errors.HalftoneError) -> str:
    """Return an error as a sentence for a person at the command line."""
    if isinstance(error, errors.Unavailable) and "errors resolving" in error.message:
        return "There is no host of that name. Name a service with --server HOST:PORT."
    if error.message.startswith("UNIMPLEMENTED: "):
        return (
            "What listens at that address is another service. Name the right one with --server "
            "HOST:PORT."
        )
    if isinstance(error, errors.Unavailable) and error.message.startswith("failed to connect"):
        # gRPC's message is a page of socket errors. Only its beginning is compared: the last lines
        # of a service that did not start may quote the same words.
        address = _ADDRESS.search(error.message)
        where = f"at {address[1]}" if address else "there"
        return (
            f"No service answers {where}. Start one on this machine with `halftone up`, or name "
            "another with --server HOST:PORT or HALFTONE_SEARCH."
        )
    if isinstance(error, errors.InvalidArgument):
        return _name_option(error)
    if isinstance(error, errors.Internal) and error.request_id not in error.message:
        return f"{error.message} (request {error.request_id})"
    return error.message


def _name_option(error: errors.InvalidArgument) -> str:
    """Return the message with the command line's option in place of the service's field."""
    field, colon, problem = error.message.partition(": ")
    if not colon or field != error.field:
        # The message is a sentence of its own and does not begin with the field.
        option = _OPTIONS.get(error.field.partition("[")[0])
        return f"{option}: {error.message}" if option else error.message
    # In a list, the position follows the field's name.
    whole = field.partition("[")[0]
    if whole in _NAMES:
        return problem[:1].upper() + problem[1:]
    parent, _, last = field.rpartition(".")
    if parent == "filter.labels":
        return f"--label {last}: {problem}"
    if parent == "spec.options":
        return f"--option {last.partition('[')[0]}: {problem}"
    return f"{_OPTIONS.get(whole, field)}: {problem}"
