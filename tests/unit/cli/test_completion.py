"""What shells are told to complete."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from halftone.cli import app


def complete(line):
    """What Bash is offered for the last word of a line: kinds and words."""
    words = line.split(" ")
    asked = {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    result = CliRunner().invoke(
        app.main, prog_name="halftone", env={**asked, "_HALFTONE_COMPLETE": "bash_complete"}
    )
    return result.stdout.split()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_script_that_asks_halftone(shell):
    result = CliRunner().invoke(app.main, ["completion", shell])
    assert result.exit_code == 0
    assert f"_HALFTONE_COMPLETE={shell}_complete" in result.stdout
    assert "halftone" in result.stdout


def test_another_shell_is_refused():
    result = CliRunner().invoke(app.main, ["completion", "tcsh"])
    assert result.exit_code == 2
    assert "fish" in result.stderr


def test_commands_options_choices_and_files_are_completed():
    assert complete("halftone cl") == ["plain,cluster", "plain,clusters"]
    assert complete("halftone models inst") == ["plain,install"]
    assert "plain,--journal" in complete("halftone search --jo")
    assert complete("halftone completion f") == ["plain,fish"]
    assert complete("halftone search fou") == ["file,fou"]
    assert complete("halftone import my-arch") == ["file,my-arch"]
    assert complete("halftone eval starter/1 v") == ["file,v"]


def test_no_command_is_imported_to_complete_its_name(tmp_path):
    """It would take seconds, and fail where a command's packages are not installed."""
    code = (
        "import atexit, sys\n"
        "from halftone.cli.app import main\n"
        "atexit.register(lambda: print([n for n in sys.modules if 'halftone.cli' in n]))\n"
        "main(prog_name='halftone')"
    )
    asked = {"COMP_WORDS": "halftone ", "COMP_CWORD": "1", "_HALFTONE_COMPLETE": "bash_complete"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **asked, "PYTHONPATH": str(Path.cwd())},
    )
    assert "plain,demo" in done.stdout.split()
    assert "halftone.cli.demo" not in done.stdout
    assert "halftone.cli.evaluation.evaluate" not in done.stdout


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_completes_a_command(tmp_path):
    program = tmp_path / "halftone"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m halftone.cli "$@"\n')
    program.chmod(0o755)
    script = """
        eval "$(halftone completion bash)"
        COMP_WORDS=(halftone verd) COMP_CWORD=1
        "$(complete -p halftone | sed 's/.*-F \\([^ ]*\\) .*/\\1/')" halftone
        echo "${COMPREPLY[@]}"
    """
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(Path.cwd())},
    )
    assert done.stdout.split() == ["verdicts"], done.stderr
