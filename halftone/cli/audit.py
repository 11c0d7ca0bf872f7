"""`halftone audit`: who changed what."""

from __future__ import annotations

from pathlib import Path

import click

from halftone.cli import output, tables
from halftone.cli.options import json_option
from halftone.core import audit
from halftone.core.settings import AccessSettings, ClientSettings
from halftone.rendering import texts


@click.command(name="audit")
@click.option(
    "--file",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The audit log.  [default: HALFTONE_AUDIT, or audit.jsonl in HALFTONE_DATA or ./data]",
)
@click.option(
    "--last", default=20, show_default=True, type=click.IntRange(1, 10_000), help="Entries to show."
)
@json_option
def show_audit(*, path: Path | None, last: int, as_json: bool) -> None:
    """Show who imported, judged, deleted, promoted, trained, and made or revoked keys.

    The newest entry comes last.
    """
    entries = audit.read_last(path or _find_file(), most=last)
    if as_json:
        output.print_json(entries)
        return
    if not entries:
        output.say("The audit log has no entries.")
        return
    out = output.make_console()
    for entry in entries:
        facts = [(name, texts.flatten(_describe(value))) for name, value in entry.items()]
        tables.print_facts(out, facts)


def _find_file() -> Path:
    target = AccessSettings().audit
    if target in {"", audit.LOG}:
        return ClientSettings().data / audit.FILE_NAME
    return Path(target)


def _describe(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{count} {name}" for name, count in value.items())
    return str(value)
