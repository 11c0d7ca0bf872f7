"""Which service a command talks to, how that is said, and what is said where none answers."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys

import pytest
from PIL import Image

from halftone.cli.connecting import tell_stack
from halftone.core import files
from halftone.core.locks import locked
from halftone.stack import running
from halftone.stack.data_directory import lock_directory

NAME = "archives/a/images/one"


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "query.png"
    Image.new("L", (200, 100), 128).save(path)
    return path


@contextlib.contextmanager
def announce(data, *, search, pid=None):
    """A stack whose services listen at this address, and which this process runs, or another."""
    data.mkdir(exist_ok=True)
    addresses = running.Addresses(
        search=search,
        embedder=search,
        search_metrics="",
        embedder_metrics="",
        pid=pid or os.getpid(),
    )
    with locked(data / running.LOCK), running.announce(data, addresses):
        yield


def test_nobody_there_says_how_to_start_one(run, picture):
    result = run("search", picture, server="127.0.0.1:1")
    assert result.exit_code == 1
    assert "`halftone up`" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_the_environment_names_it(run, fake):
    result = run("show", NAME, server=None, env={"HALFTONE_SEARCH": fake.address})
    assert result.exit_code == 0


def test_the_running_stack_of_the_data_directory_is_found(run, fake, tmp_path):
    with announce(tmp_path / "data", search=fake.address):
        assert run("show", NAME, server=None).exit_code == 0
        assert run("show", NAME, "--data", tmp_path / "data", server=None).exit_code == 0
    assert running.find(tmp_path / "data") is None


def test_a_data_directory_without_a_stack_is_no_other_server(run, fake, tmp_path):
    count = len(fake.requests)
    asked = ("delete", "--everything", "--yes")
    result = run(*asked, "--data", tmp_path / "other", server=None)
    assert result.exit_code == 1
    assert f"No stack runs from {tmp_path / 'other'}" in result.stderr
    elsewhere = {"HALFTONE_SEARCH": fake.address}
    result = run(*asked, "--data", tmp_path / "other", server=None, env=elsewhere)
    assert result.exit_code == 1
    result = run(*asked, server=None, env={"HALFTONE_DATA": str(tmp_path / "other")})
    assert "No stack runs from" in result.stderr
    assert len(fake.requests) == count


def test_a_stack_that_starts_is_called_that(run, tmp_path):
    (tmp_path / "mine").mkdir()
    with lock_directory(tmp_path / "mine"):
        result = run("list", "--data", tmp_path / "mine", server=None)
        assert result.exit_code == 1
        assert f"The stack of {tmp_path / 'mine'} is starting" in result.stderr
    # What a stack left behind that was killed while it started.
    result = run("list", "--data", tmp_path / "mine", server=None)
    assert f"No stack runs from {tmp_path / 'mine'}" in result.stderr


def test_a_stack_that_is_gone_is_not_found(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    addresses = {"search": "x", "embedder": "x", "search_metrics": "", "embedder_metrics": ""}
    files.write_json(tmp_path / running.FILE, {**addresses, "pid": gone.pid})
    assert running.find(tmp_path) is None


def test_a_wrong_setting_is_one_sentence(run):
    result = run("up", server=None, env={"HALFTONE_SEARCH_PORT": "many"})
    assert result.exit_code == 1
    assert "HALFTONE_SEARCH_PORT=many: " in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    "words",
    [
        ("clusters", "--data", "{}"),
        ("clusters", "--data", "{}", "list"),
        ("clusters", "list", "--data", "{}"),
        ("clusters", "--data={}", "--sort", "span"),
        ("clusters", "--sort", "span", "--data", "{}"),
        ("verdicts", "--data", "{}"),
        ("verdicts", "--data", "{}", "list", "--history"),
        ("models", "--data", "{}", "list"),
        ("models", "list", "--data", "{}"),
        ("jobs", "--data", "{}", "list"),
        ("jobs", "list", "--data", "{}"),
    ],
)
def test_a_target_may_stand_before_the_command_or_behind_it(run, tmp_path, words):
    """No stack runs from the directory, so the answer shows which one was looked for."""
    result = run(*(word.format(tmp_path / "mine") for word in words), server=None)
    assert f" {tmp_path / 'mine'}" in result.output


@pytest.mark.parametrize(
    "words",
    [
        ("list", "--data", "x"),
        ("clusters", "--data", "x", "list"),
        ("models", "--data", "x", "list"),
        ("models", "--models", "x", "list"),
        ("jobs", "--data", "x", "list"),
    ],
)
def test_two_targets_are_one_too_many(run, words):
    result = run(*words)
    assert result.exit_code == 2
    assert "--server and --data" in result.stderr


@pytest.mark.parametrize("server", ["localhost", "http://localhost:7102", "::1", ""])
def test_an_address_that_is_none_is_refused_before_anything_else(run, server):
    result = run("show", NAME, "--server", server, server=None)
    assert result.exit_code == 2
    assert f"Invalid value for '--server': {server!r} is no address of a service" in result.stderr


def test_an_address_of_the_environment_is_named_with_its_variable(run):
    result = run("show", NAME, server=None, env={"HALFTONE_SEARCH": "localhost"})
    assert result.exit_code == 1
    assert "HALFTONE_SEARCH=localhost: 'localhost' is no address" in result.stderr
    assert "for example localhost:7102" in result.stderr


def test_the_address_is_named_as_it_was_typed(run):
    assert "No service answers at localhost:1 (" in run("list", server="localhost:1").stderr
    assert "No service answers at [::1]:1" in run("list", server="[::1]:1").stderr


def test_where_several_stacks_run_the_one_that_is_asked_is_named(run, fake, tmp_path):
    here, other = tmp_path / "data", tmp_path / "other"
    command = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    with announce(here, search=fake.address):
        assert run("show", NAME, server=None).stderr == ""
        with announce(other, search="127.0.0.1:1"):
            pass  # it does not run any more
        assert run("show", NAME, server=None).stderr == ""
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE) as process,
        announce(here, search=fake.address),
        announce(other, search="127.0.0.1:2", pid=process.pid),
    ):
        said = run("show", NAME, server=None).stderr
        assert said == (
            f"Asking {fake.address}, the stack of {here}. --data names another: {other}.\n"
        )
        # Whoever names one knows which it is.
        for named in (("--data", here), ("--server", fake.address)):
            assert run("show", NAME, *named, server=None).stderr == ""
        for variable, value in (("SEARCH", fake.address), ("DATA", str(here))):
            env = {f"HALFTONE_{variable}": value}
            assert run("show", NAME, server=None, env=env).stderr == ""


def test_a_service_that_is_no_stack_of_ones_own_is_called_that(fake, tmp_path, capsys):
    other = tmp_path / "other"
    with announce(other, search="127.0.0.1:2"):
        tell_stack("127.0.0.1:1", data=None, service="search")
        assert capsys.readouterr().err == ""  # nobody answers there, which is said anyway
        tell_stack(fake.address, data=None, service="search")
    said = (
        f"Asking {fake.address}, which is not one of your stacks. --data names another: {other}.\n"
    )
    assert capsys.readouterr().err == said


def test_where_none_answers_the_stacks_that_run_are_named(run, tmp_path):
    with announce(tmp_path / "mine", search="127.0.0.1:2"):
        said = run("list", server="127.0.0.1:1").stderr
        where = tmp_path / "mine"
        assert said.endswith(f"A stack runs from {where}: `--data {where}` talks to it.\n")
        said = run("list", "--data", tmp_path / "other", server=None).stderr
        assert f"A stack runs from {where}" in said


def test_a_register_that_cannot_be_written_keeps_no_stack_from_running(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("HALFTONE_STACKS", str(tmp_path / "file" / "stacks"))
    with announce(tmp_path / "data", search="x:1"):
        assert running.find(tmp_path / "data") is not None
        assert running.list_stacks() == []


def test_stacks_that_were_killed_or_run_elsewhere_are_not_listed(tmp_path, monkeypatch):
    register = tmp_path / "stacks"
    monkeypatch.setenv("HALFTONE_STACKS", str(register))
    with announce(tmp_path / "data", search="x:1"):
        (entry,) = register.iterdir()
        files.write_json(register / "elsewhere.json", {**files.read_object(entry), "host": "x"})
        files.write_json(register / "killed.json", {**files.read_object(entry), "pid": 0})
        (register / "damaged.json").write_text("{")
        assert [stack.data for stack in running.list_stacks()] == [tmp_path / "data"]
        left = {path.name for path in register.iterdir()}
        assert left == {entry.name, "elsewhere.json", "damaged.json"}
    assert running.list_stacks() == []


def test_the_id_of_a_killed_stack_may_be_another_process_now(tmp_path, monkeypatch):
    register = tmp_path / "stacks"
    monkeypatch.setenv("HALFTONE_STACKS", str(register))
    data = tmp_path / "data"
    with announce(data, search="x:1"):
        kept = {path: path.read_bytes() for path in (data / running.FILE, *register.iterdir())}
        assert len(running.list_stacks()) == 1
    for path, content in kept.items():
        path.write_bytes(content)
    assert running.find(data) is None
    assert running.list_stacks() == []
    assert list(register.iterdir()) == []
