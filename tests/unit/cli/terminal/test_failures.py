"""Errors become a sentence for the person who typed the command."""

from __future__ import annotations

import pytest

from halftone.cli.terminal.failures import explain, make_failure
from halftone.core import addresses, errors


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            errors.Unavailable("No service answers at x:1.", reason=addresses.NO_SERVICE),
            (
                "No service answers at x:1. Start one on this machine with `halftone up`, or name "
                "another with --server HOST:PORT or HALFTONE_SEARCH."
            ),
        ),
        (
            errors.Unavailable("The host of x:1 is not known.", reason=addresses.NO_HOST),
            "The host of x:1 is not known. Name a service with --server HOST:PORT.",
        ),
        (
            errors.FailedPrecondition("It is another.", reason=addresses.OTHER_SERVICE),
            "It is another. Name the right one with --server HOST:PORT.",
        ),
        (errors.Internal("Something.", request_id="abc"), "Something. (request abc)"),
    ],
)
def test_an_error_says_what_to_do(error, said):
    assert explain(error) == said


def test_the_reason_of_a_failed_start_is_not_taken_for_an_unreachable_service():
    """A service's last lines may quote a refused connection; the reason beside it must be seen."""
    failed = errors.Unavailable("search ended: written by a newer release\n  failed to connect to")
    assert explain(failed) == failed.message


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (errors.InvalidArgument("It is wrong."), 2, "It is wrong."),
        (errors.NotFound("There is none."), 1, "There is none."),
        (PermissionError(13, "Permission denied", "/x"), 1, "/x: Permission denied."),
        (
            ModuleNotFoundError("No module named 'numpy'", name="numpy"),
            1,
            (
                "`halftone eval` needs the package numpy, which is not installed: pip install "
                "'halftone-search[all]'."
            ),
        ),
    ],
)
def test_an_exception_has_a_sentence_and_an_exit_code(error, code, said):
    failure = make_failure(error, command="eval")
    assert (failure.exit_code, failure.message) == (code, said)


def test_a_missing_module_of_ours_is_a_bug():
    assert make_failure(ModuleNotFoundError(name="halftone.x"), command="eval") is None


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("filter.date.start", "--from: is wrong."),
        ("filter.caption_text", "--caption: is wrong."),
        ("filter.labels.kind", "--label kind: is wrong."),
        ("min_probability", "--min-probability: is wrong."),
        ("spec.time_limit_minutes", "--minutes: is wrong."),
        ("spec.options.pooled_stages[1]", "--option pooled_stages: is wrong."),
        ("spec.datasets[1]", "DATASET: is wrong."),
        ("labelled_groups[0].images[2]", "--groups: is wrong."),
        ("b", "Is wrong."),
        ("names[3]", "Is wrong."),
        ("something.else", "something.else: is wrong."),
    ],
)
def test_a_field_of_the_service_becomes_what_was_typed(field, said):
    assert explain(errors.InvalidArgument(f"{field}: is wrong.", field=field)) == said


def test_a_sentence_without_its_field_is_given_the_option():
    other = "The region x=0: it is empty."
    assert explain(errors.InvalidArgument(other, field="region")) == f"--crop: {other}"
    assert explain(errors.InvalidArgument(other, field="something.else")) == other
    sets = "There is nothing named x."
    assert explain(errors.InvalidArgument(sets, field="spec.datasets[0]")) == f"DATASET: {sets}"
