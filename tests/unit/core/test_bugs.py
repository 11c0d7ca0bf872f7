"""Callers see errors that were raised on purpose; of bugs they see a request id."""

from __future__ import annotations

from halftone.core import errors, telemetry
from halftone.core.bugs import conceal_bug


def test_an_error_that_was_raised_on_purpose_is_told_as_it_is():
    error = errors.Unavailable("gone")
    assert conceal_bug(error) is error


def test_of_a_bug_a_caller_gets_the_request_id_alone():
    with telemetry.request_id_bound("r-1"):
        for bug in (KeyError("secret"), errors.Internal("secret")):
            told = conceal_bug(bug, image="a")
            assert isinstance(told, errors.Internal)
            assert told.request_id == "r-1"
            assert "secret" not in told.message
            assert "r-1" in told.message
