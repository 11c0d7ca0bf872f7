"""`halftone keys`: who may call the services."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path
from typing import Final

import click

from halftone.cli import output, tables
from halftone.cli.options import find_login_name, json_option
from halftone.core import audit, errors, keys
from halftone.core.keys import Key, Scope
from halftone.core.quotas import parse_quotas
from halftone.core.settings import AccessSettings, ClientSettings
from halftone.rendering import texts

_SPAN: Final = re.compile(r"(\d{1,4})\s*([dwy])", re.IGNORECASE)
_DAYS: Final = {"d": 1, "w": 7, "y": 365}


def _file_option(command: click.decorators.FC) -> click.decorators.FC:
    return click.option(
        "--file",
        "path",
        type=click.Path(path_type=Path, dir_okay=False),
        help="The file of keys.  [default: HALFTONE_KEYS_FILE, or keys.json in HALFTONE_DATA or "
        "./data]",
    )(command)


def _find_file(path: Path | None) -> Path:
    return path or AccessSettings().keys_file or ClientSettings().data / keys.FILE_NAME


def _write_down(action: str, key: Key, *, file: Path) -> None:
    """Write into the audit log that a key was made or revoked."""
    settings = AccessSettings()
    target = settings.audit
    if "audit" not in settings.model_fields_set or target == audit.LOG:
        target = str(file.with_name(audit.FILE_NAME))
    if target:
        entry = audit.make_entry(
            action,
            key=key.id,
            label=key.label,
            scopes=sorted(key.scopes),
            by=find_login_name(),
        )
        audit.append(Path(target), entry)


@click.group(name="keys")
def keys_group() -> None:
    """Make, list and revoke keys. Once there is one, every call needs a key.

    Services look at the file of keys all the time: no restart is needed.
    """


@keys_group.command()
@click.argument("label")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    type=click.Choice([scope.value for scope in Scope]),
    help="What it allows; repeat for more. admin allows everything.",
)
@click.option("--expires", metavar="WHEN", help="Its end: a day (2027-01-31), or 90d, 12w, 1y.")
@click.option(
    "--quota",
    "quotas",
    multiple=True,
    metavar="KIND=NUMBER/TIME",
    help="What it may use, for example searches=60/minute, megapixels=5000/day, imports=10000/day, "
    "concurrency=4; repeat for more.  [default: HALFTONE_QUOTAS, or no bound]",
)
@_file_option
@json_option
def create(
    *,
    label: str,
    scopes: tuple[str, ...],
    expires: str | None,
    quotas: tuple[str, ...],
    path: Path | None,
    as_json: bool,
) -> None:
    """Make a key and print its secret, which is shown only now.

    LABEL says who or what it is for. Verdicts made with the key are signed with it.
    """
    file = _find_file(path)
    key, secret = keys.create(
        file,
        label=label,
        scopes=[Scope(scope) for scope in scopes],
        expire_time=None if expires is None else read_end(expires),
        quotas=parse_quotas(quotas),
    )
    _write_down("keys create", key, file=file)
    if as_json:
        output.print_json({**_to_json(key), "secret": secret})
        return
    output.say(secret)
    output.remark(
        f"This is the key {key.id}, for {texts.flatten(key.label)}. Keep it: it is stored nowhere. "
        "The command line and the client send the one in HALFTONE_KEY.",
        f"From now on, services that use {file} ask everybody for a key.",
    )


@keys_group.command(name="list")
@_file_option
@json_option
def list_(*, path: Path | None, as_json: bool) -> None:
    """List the keys, without their secrets."""
    found = keys.read(_find_file(path))
    if as_json:
        output.print_json([_to_json(key) for key in found])
        return
    if not found:
        output.say("There are no keys.")
        return
    out = output.make_console()
    for key in found:
        facts = [
            ("key", key.id),
            ("label", texts.flatten(key.label)),
            ("scopes", ", ".join(sorted(key.scopes))),
            *([("quotas", ", ".join(map(str, key.quotas)))] if key.quotas else []),
            ("made", f"{key.create_time:%Y-%m-%d}"),
            ("state", describe_state(key)),
        ]
        tables.print_facts(out, facts)


@keys_group.command()
@click.argument("key_id", metavar="ID")
@_file_option
def revoke(*, key_id: str, path: Path | None) -> None:
    """Revoke a key. Every service refuses it within a second."""
    file = _find_file(path)
    key = keys.revoke(file, key_id)
    _write_down("keys revoke", key, file=file)
    output.say(f"The key {key.id}, for {texts.flatten(key.label)}, is revoked.")


def read_end(text: str, *, now: dt.datetime | None = None) -> dt.datetime:
    """Return when a key ends: after the day that is named, or after a span of time from now.

    Raises:
        errors.InvalidArgument: The text is neither.
    """
    now = now or dt.datetime.now(dt.UTC)
    if span := _SPAN.fullmatch(text.strip()):
        return now + dt.timedelta(days=int(span[1]) * _DAYS[span[2].lower()])
    try:
        day = dt.date.fromisoformat(text.strip())
    except ValueError as error:
        raise errors.InvalidArgument(
            f"--expires: {text!r} is neither a day such as 2027-01-31 nor a span such as 90d.",
            field="expire_time",
        ) from error
    return dt.datetime.combine(day, dt.time.max, tzinfo=dt.UTC)


def describe_state(key: Key, *, now: dt.datetime | None = None) -> str:
    """Return in words whether a key holds."""
    if key.revoke_time is not None:
        return f"revoked on {key.revoke_time:%Y-%m-%d}"
    if not key.is_valid(now or dt.datetime.now(dt.UTC)):
        return f"expired on {key.expire_time:%Y-%m-%d}"
    return "valid" if key.expire_time is None else f"valid until {key.expire_time:%Y-%m-%d}"


def _to_json(key: Key) -> dict[str, object]:
    return {
        "id": key.id,
        "label": key.label,
        "scopes": sorted(key.scopes),
        "quotas": [str(quota) for quota in key.quotas],
        "create_time": key.create_time.isoformat(),
        "expire_time": key.expire_time.isoformat() if key.expire_time else None,
        "revoke_time": key.revoke_time.isoformat() if key.revoke_time else None,
        "state": describe_state(key),
    }
