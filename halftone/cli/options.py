"""Shared parts of commands: options, filters and names of images."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import getpass
import math
import os
import shlex
import sys
from typing import TYPE_CHECKING, Any, Final

import click

from halftone.archive import records
from halftone.cli import output
from halftone.cli.numbers import Whole
from halftone.client import Filter, ImageKind
from halftone.core.spelling import compose, compose_all
from halftone.imaging import images

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from halftone.cli.connecting import Decorator
    from halftone.client import Client
    from halftone.imaging.images import Region

# The number of labels with which an unknown one is compared.
_MOST_LABELS: Final = 1000
# The number of archives that are listed where one is unknown; each takes a call.
_MOST_ARCHIVES: Final = 12
NOTHING_IMPORTED: Final = (
    "Nothing has been imported yet: `halftone import DIR` imports a folder of pictures with a "
    "manifest."
)
_WHOLE: Final = 100  # percent


def combine(*options: Decorator) -> Decorator:
    """Return a decorator that adds several options, in the order of the help."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        return functools.reduce(lambda inner, option: option(inner), reversed(options), command)

    return decorate


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
    click.option(
        "--kind",
        type=click.Choice([each.value for each in ImageKind]),
        help="Only pictures on pages, or only the rest: pages and clippings.",
    ),
    click.option(
        "--on-page",
        multiple=True,
        metavar="PAGE",
        help="Only pictures on this page: its name, or its ID with --archive; repeat for more.",
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
        type=Whole(1),
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
    for label in compose_all(list(options.pop("label"))):
        key, equals, value = label.partition("=")
        if not (key and equals):
            raise click.BadParameter(f"{label!r} is not KEY=VALUE.", param_hint="--label")
        labels.setdefault(key, []).append(value)
    archives = options["archive"]
    pages = tuple(complete_name(page, archives=archives) for page in options.pop("on_page"))
    excluded = tuple(compose_all(list(options.pop("exclude_journal"))))
    chosen = Filter(
        archives=options.pop("archive"),
        journals=tuple(compose_all(list(options.pop("journal")))),
        languages=options.pop("language"),
        start=options.pop("start"),
        end=options.pop("end"),
        caption=options.pop("caption"),
        labels=labels,
        exclude=Filter(journals=excluded) if excluded else None,
        kind=ImageKind(kind) if (kind := options.pop("kind")) else None,
        page_images=pages,
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
        ("on page", " or ".join(where.page_images)),
        ("kind", where.kind.value if where.kind else ""),
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
        click.exceptions.Exit: The answer is no, or Ctrl-C.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(
            f"{question} There is no terminal to ask at, and nothing was done: --yes does it "
            "without asking."
        )
    code = 1
    try:
        if click.confirm(question, err=True):
            return
    except click.Abort as error:
        output.say("", err=True)
        if isinstance(error.__context__, KeyboardInterrupt):
            code = output.INTERRUPTED
    output.remark("Nothing was changed.")
    raise click.exceptions.Exit(code)


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
        return str(records.make_name(archives[0], image_id=compose(text)))
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
    """Return sentences about why nothing was found, and about values that occur nowhere.

    An unknown value is no error for the service, but a person has probably misspelt it.

    Args:
        client: A client of the service that was asked.
        where: The filter; None: there is none.
        nothing: Whether no image was found. If images were found, some values may be unknown all
            the same, and only these are checked: values of a field that has several, and journals
            to leave out.
    """
    if nothing and not client.facets(limit=1).total:
        return [NOTHING_IMPORTED]
    if where is None:
        return []
    asked = where.archives if nothing or len(where.archives) > 1 else ()
    unknown = _find_unknown_archives(client, asked)
    sentences = [_describe_archives(client, unknown=unknown)] if unknown else []
    if unknown and len(unknown) == len(where.archives):
        return sentences
    return [
        *sentences,
        *_check_names(client, where=where, nothing=nothing),
        *_check_labels(client, where=where, nothing=nothing),
    ]


def _check_names(client: Client, *, where: Filter, nothing: bool) -> list[str]:
    """Return sentences about journals and languages that no image has."""
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
            facets = client.facets(filter=Filter(archives=where.archives), limit=1000)
            known = facets.journals if name == "journal" else facets.languages
            sentences.append(f"No image has the {name} {value!r}.{_suggest(value, known)}")
    return sentences


def _check_labels(client: Client, *, where: Filter, nothing: bool) -> list[str]:
    """Return sentences about labels that no image has."""
    sentences = []
    for key, values in where.labels.items():
        for value in values if nothing or len(values) > 1 else ():
            one = Filter(archives=where.archives, labels={key: [value]})
            if not client.facets(filter=one, limit=1).total:
                label = f"{key}={value}"
                within = Filter(archives=where.archives)
                hint = _suggest(label, _list_labels(client, where=within))
                sentences.append(f"No image has the label {label!r}.{hint}")
    return sentences


def _find_unknown_archives(client: Client, archives: Sequence[str]) -> list[str]:
    """Return the archives that hold no image."""
    return [
        archive
        for archive in archives
        if not client.facets(filter=Filter(archives=[archive]), limit=1).total
    ]


def _describe_archives(client: Client, *, unknown: Sequence[str]) -> str:
    """Return a sentence about archives that hold no image, and about the archives that do."""
    known: list[str] = []
    while len(known) <= _MOST_ARCHIVES:
        # The service does not count archives, but its list is in the order of names.
        rest = Filter(exclude=Filter(archives=known)) if known else None
        image = next(client.list(filter=rest, page_size=1), None)
        if image is None:
            break
        known.append(records.parse_name(image.name).archive)
    shown = known[:_MOST_ARCHIVES]
    more = " …" if len(known) > len(shown) else ""
    there = f"there is {shown[0]}" if len(known) == 1 else f"there are {', '.join(shown)}{more}"
    return f"There is no image in the archive {' or '.join(map(repr, unknown))}; {there}."


def _list_labels(client: Client, *, where: Filter) -> list[str]:
    """Return the most frequent labels, as `key=value`."""
    labels = client.facets(filter=where, limit=_MOST_LABELS, labels=True).labels
    return [f"{key}={value}" for key, values in labels.items() for value in values]


def _suggest(value: str, known: Iterable[str]) -> str:
    """Return a question that suggests up to three of `known` that are similar to `value`.

    Return "" if none is similar.
    """
    folded = {name.casefold(): name for name in known}
    typed = value.casefold()
    near = difflib.get_close_matches(typed, folded, n=3, cutoff=0.5)
    near += [name for name in folded if typed in name and name not in near]
    return f" Did you mean {' or '.join(repr(folded[name]) for name in near[:3])}?" * bool(near)


def find_login_name() -> str:
    """Return the name of whoever runs the command; "" if it has none, as in a container."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
