"""What is read of a child's log: the part of this run, in words."""

from __future__ import annotations

import json

import pytest

from halftone.stack.logs import ChildLog


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "x.log"
    path.write_text('{"event": "cannot_run", "error": "Of old.", "level": "error"}\nhalf a line')
    return path


def write(path, *lines, end="\n"):
    with path.open("a") as file:
        file.write("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
        file.write(end)


def test_a_run_before_is_not_read(log):
    child = ChildLog(log)
    child.read()
    assert (list(child.last_lines), child.error, child.end_reason) == ([], "", "")


def test_events_say_how_a_child_stands(log):
    child = ChildLog(log, phases=frozenset({"listening", "waiting"}), hopeless=frozenset({"lost"}))
    write(log, "", {"event": "listening", "port": 1}, {"event": "call"})
    child.read()
    assert (child.phase, child.error) == ("listening", "")
    write(log, {"event": "waiting", "level": "warning", "error": "not yet"})
    write(log, {"event": "refused", "level": "error", "error": "It is old."})
    write(log, {"event": "lost", "error": "There is none."})
    child.read()
    assert (child.phase, child.error, child.hopeless_reason) == (
        *("waiting", "It is old.", "There is none."),
    )
    assert child.end_reason == ""
    write(log, {"event": "cannot_run", "reason": "NO_DEVICE", "error": "No device."})
    child.read()
    assert child.end_reason == "No device."


def test_lines_are_made_readable(log):
    child = ChildLog(log)
    trace = "Traceback:\n  File …\nValueError: too many"
    write(
        log,
        *("", {"event": "failed", "level": "error", "port": 1, "exception": trace}),
        *("plain text", "", "[1, 2]", '{"no": "event"}', "x" * 1000),
    )
    child.read()
    assert list(child.last_lines) == [
        *("failed port=1 ValueError: too many", "plain text", "[1, 2]", '{"no": "event"}'),
        "x" * 500,
    ]
    # An error without a sentence is told by its event.
    assert child.error == "failed port=1 ValueError: too many"


def test_half_a_line_is_read_when_it_is_whole_or_the_child_has_ended(log):
    child = ChildLog(log)
    write(log, "", "one", "tw", end="")
    child.read()
    assert list(child.last_lines) == ["one"]
    write(log, "o", "thre", end="")
    child.read()
    assert list(child.last_lines) == ["one", "two"]
    child.read(to_the_end=True)
    assert list(child.last_lines) == ["one", "two", "thre"]


def test_of_much_only_the_end_is_read(tmp_path):
    path = tmp_path / "x.log"
    child = ChildLog(path)
    child.read()  # it does not exist yet
    path.write_text("".join(f"line {number}\n" for number in range(100_000)))
    child.read()
    assert list(child.last_lines)[-2:] == ["line 99998", "line 99999"]


def test_a_log_that_was_emptied_is_read_from_its_beginning(log):
    child = ChildLog(log)
    write(log, "", "one")
    child.read()
    log.write_text("two\n")
    child.read()
    assert list(child.last_lines) == ["one", "two"]
