"""Nothing that a stranger wrote can command the terminal."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from rich.text import Text

from halftone.cli import __file__ as cli_file
from halftone.cli import output, tables

COMMAND = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202egpj.exe"
# These print what is no text of anybody's: JSON with its own escapes, and scripts for shells.
ALLOWED = {"output.py", "streams.py", "completion.py"}


def is_harmless(text):
    return not any(code in text for code in "\x1b\x07\x9b\u202e") and "owned" in text


@pytest.mark.parametrize("make", [output.make_console, output.make_notes])
@pytest.mark.parametrize("wrap", [str, Text, lambda text: Text.assemble(("key", "bold"), text)])
def test_a_console_prints_commands_as_texts(make, wrap, capsys):
    make().print(wrap(COMMAND))
    printed = capsys.readouterr()
    assert is_harmless(printed.out + printed.err)


def test_what_is_said_and_tables_do_too(capsys):
    output.say(COMMAND)
    output.say(COMMAND, err=True)
    output.remark(COMMAND)
    output.print_json({"caption": COMMAND})
    printed = capsys.readouterr()
    assert "\x1b" not in printed.out + printed.err
    assert is_harmless(printed.err)
    layout = tables.Layout(columns=[tables.Column(title=COMMAND, wraps=True)], rows=[[COMMAND]])
    tables.print_table(output.make_console(), layout)
    assert is_harmless(capsys.readouterr().out)


def test_every_command_prints_by_these_alone():
    """`click.echo`, `print` and the streams would print what they are given."""
    found = []
    for path in Path(cli_file).parent.rglob("*.py"):
        if path.name in ALLOWED:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func)
            if name in {"print", "click.echo", "click.secho", "Console"} or name.endswith(
                ("stdout.write", "stderr.write")
            ):
                found.append(f"{path}:{node.lineno}: {name}")
    assert found == []
