"""A name comes once in an import, unless its record was refused."""

from __future__ import annotations

from halftone.core import errors
from halftone.services.search.archive.imports.claims import NameClaims
from halftone.services.search.archive.imports.entry import Entry, State


def entry(name, **fields):
    return Entry(row=0, name=name, **fields)


def test_a_name_that_came_before_is_refused():
    claims, first, second = NameClaims(), entry("a"), entry("a")
    claims.claim(first)
    claims.claim(second)
    assert first.is_open
    assert second.outcome.reason == "DUPLICATE_ID"
    # That it was refused frees nothing: the name is the first one's.
    claims.release_refused(second)
    third = entry("a")
    claims.claim(third)
    assert third.is_refused


def test_the_name_of_a_refused_record_is_free_again():
    claims, refused, stored = NameClaims(), entry("a"), entry("b")
    for each in (refused, stored):
        claims.claim(each)
    refused.outcome, stored.outcome = errors.InvalidArgument("no"), State.CREATED
    again = [entry("a"), entry("b")]
    for each in (refused, stored):
        claims.release_refused(each)
    for each in again:
        claims.claim(each)
    assert [each.is_open for each in again] == [True, False]


def test_a_record_that_is_refused_already_claims_nothing():
    claims = NameClaims()
    claims.claim(entry("a", outcome=errors.InvalidArgument("no")))
    corrected = entry("a")
    claims.claim(corrected)
    assert corrected.is_open


def test_the_oldest_names_are_forgotten():
    claims = NameClaims(most=2)
    for name in "abc":
        claims.claim(entry(name))
    again = [entry(name) for name in "ca"]
    for each in again:
        claims.claim(each)
    assert [each.is_open for each in again] == [False, True]
