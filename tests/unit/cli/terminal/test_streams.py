"""Output in any encoding, and how commands end that are stopped from outside."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from halftone.cli import output
from halftone.cli.app import main
from halftone.cli.terminal import streams
from tests.support.client.fake_search import sleeps
from tests.support.system import hearing_interrupts

NAME = "archives/a/images/one"
RUSSIAN = "archives/a/images/1914/я"


@pytest.fixture
def run_in(fake):
    """Runs a command against the service, with an output of that encoding."""
    fake.add(RUSSIAN, journal="Правда", caption="Флот “выходит” 😀")

    def run(encoding, *words):
        return CliRunner(charset=encoding).invoke(main, [*words, "--server", fake.address])

    return run


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "ascii", "koi8-r"])
@pytest.mark.parametrize("words", [("list",), ("facets",), ("show", RUSSIAN), ("search", NAME)])
def test_a_legacy_encoding_ends_in_no_traceback(run_in, encoding, words):
    result = run_in(encoding, *words)
    assert result.exit_code == 0, result.output
    written = "Правда".encode(encoding, "backslashreplace")
    assert written in result.stdout_bytes
    if encoding != "koi8-r":
        assert b"PYTHONIOENCODING=utf-8" in result.stderr_bytes


def test_nothing_is_said_where_nothing_is_lacking(run_in):
    for encoding, words in (("utf-8", ("list",)), ("cp1252", ("show", NAME))):
        assert run_in(encoding, *words).stderr_bytes == b""


@pytest.mark.parametrize("encoding", ["cp1252", "utf-8"])
def test_json_says_the_same_in_every_encoding(run_in, encoding):
    (record,) = json.loads(run_in(encoding, "list", "--json", "--archive", "a").stdout)[:1]
    shown = json.loads(run_in(encoding, "show", RUSSIAN, "--json").stdout)
    assert record["name"] == RUSSIAN
    assert (shown["journal"], shown["caption"]) == ("Правда", "Флот “выходит” 😀")


def test_a_value_that_is_no_text_is_refused(run):
    result = run("list", "--journal", "caf\udce9")
    assert result.exit_code == 2
    assert "its bytes are not UTF-8" in result.stderr


def test_a_file_name_that_is_no_text_can_be_named_in_an_error(run):
    result = run("search", "caf\udce9.jpg")
    assert result.exit_code == 2
    assert "neither a file nor an image's name" in result.stderr


@pytest.mark.parametrize("colour", [True, False])
def test_no_color_leaves_out_bold_as_well(monkeypatch, capsys, colour):
    # Rich takes what is no terminal for one.
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if not colour:
        monkeypatch.setenv("NO_COLOR", "1")
    output.make_console().print("A title", style="bold")
    output.make_notes().print("A note", style="dim")
    said = capsys.readouterr()
    assert ("\x1b" in said.out) is colour
    assert ("\x1b" in said.err) is colour


def test_ctrl_c_ends_a_command_quietly(fake):
    arrived = threading.Event()

    def hold():
        arrived.set()
        sleeps(3)()

    fake.faults["ListImages"].append(hold)
    with hearing_interrupts():
        process = subprocess.Popen(
            [sys.executable, "-m", "halftone.cli", "list", "--server", fake.address],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        )
    with process:
        assert arrived.wait(100)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate()
    assert process.returncode == 130
    assert said == "Stopped.\n"


def test_ctrl_c_is_quiet_while_the_commands_are_imported(tmp_path):
    """The import of a module that it needs raises what Ctrl-C raises."""
    (tmp_path / "click.py").write_text("raise KeyboardInterrupt\n")
    result = subprocess.run(
        [sys.executable, "-m", "halftone.cli", "list"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{Path.cwd()}"},
    )
    assert (result.returncode, result.stdout, result.stderr) == (130, "", "")


@pytest.mark.parametrize("closing", [False, True])
def test_the_streams_are_as_before_afterwards(monkeypatch, closing):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict")
    monkeypatch.setattr(sys, "stdout", stream)
    with streams.escaping():
        stream.write("я")
        stream.flush()
        assert stream.buffer.getvalue() == rb"\u044f"
        if closing:
            monkeypatch.setattr(sys, "stdout", io.StringIO())
            stream.close()
    assert stream.errors == ("halftone.escape" if closing else "strict")
