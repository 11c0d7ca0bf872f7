"""Turns errors into one sentence for a person at the command line, and an exit code."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final, ParamSpec

import click
import pydantic

from halftone.cli.connecting import explain_unreachable
from halftone.core import errors
from halftone.core.extras import make_install_command
from halftone.core.settings import explain_invalid

if TYPE_CHECKING:
    from collections.abc import Callable

_P = ParamSpec("_P")

EXPLAINED: Final = (
    OSError,
    pydantic.ValidationError,
    errors.HalftoneError,
    ModuleNotFoundError,
    UnicodeEncodeError,
)
"""The exceptions that `make_failure` is given."""

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
    "filter.page_images": "--on-page",
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
# These fields are arguments; the message about one quotes its value.
_NAMES: Final = {"name", "names", "image", "query", "a", "b"}


class _Failure(click.ClickException):
    exit_code = 1


class _UnusableInput(_Failure):
    exit_code = 2


def make_failure(error: BaseException, *, command: str) -> click.ClickException | None:
    """Return an error as a sentence with an exit code; None if it is a bug.

    Args:
        error: One of `EXPLAINED`.
        command: The command that raised it.
    """
    match error:
        case errors.HalftoneError():
            text = explain(error)
        case pydantic.ValidationError():
            problem = explain_invalid(error)
            if not problem:
                return None
            text = f"A setting in the environment is wrong. {problem}"
        case UnicodeEncodeError():
            # Arguments hold the bytes of the shell.
            text = f"{error.object!r} is no text: its bytes are not UTF-8."
        case ModuleNotFoundError() if not _is_ours(error):
            text = _describe_missing(error, command=command, extra="all")
        case OSError():
            text = f"{error.filename}: " if error.filename else ""
            text += f"{error.strerror or error}."
        case _:
            return None
    unusable = isinstance(error, errors.InvalidArgument | UnicodeEncodeError)
    return _UnusableInput(text) if unusable else _Failure(text)


def needs_extra(extra: str) -> Callable[[Callable[_P, None]], Callable[_P, None]]:
    """Return a decorator for a command that only works with the packages of an extra.

    The command imports them itself, late. If one is missing, the error names the extra that brings
    all of them, and not merely one that brings the package that was missed first.
    """

    def decorate(command: Callable[_P, None]) -> Callable[_P, None]:
        @functools.wraps(command)
        def run_with_extra(*arguments: _P.args, **options: _P.kwargs) -> None:
            try:
                command(*arguments, **options)
            except ModuleNotFoundError as error:
                if _is_ours(error):
                    raise
                path = click.get_current_context().command_path.partition(" ")[2]
                raise errors.FailedPrecondition(
                    _describe_missing(error, command=path, extra=extra), reason="NOT_INSTALLED"
                ) from error

        return run_with_extra

    return decorate


def _is_ours(error: ModuleNotFoundError) -> bool:
    return (error.name or "").startswith("halftone")


def _describe_missing(error: ModuleNotFoundError, *, command: str, extra: str) -> str:
    return (
        f"`halftone {command}` needs the package {error.name}, which is not installed: "
        f"{make_install_command(extra)}."
    )


def explain(error: errors.HalftoneError) -> str:
    """Return an error as a sentence for a person at the command line."""
    unreachable = explain_unreachable(error)
    if unreachable is not None:
        return unreachable
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
