"""Which collection answers, which is promoted, and what that missed."""

from __future__ import annotations

import types
import uuid

import pytest

from halftone.core import errors
from halftone.services.search.archive.open_collections import OpenCollections

A, B, C = (types.SimpleNamespace(model_version=f"model/{number}") for number in (1, 2, 3))
ID = uuid.UUID(int=1)


def test_before_a_collection_is_open_the_service_is_starting():
    with pytest.raises(errors.Unavailable, match="starting"):
        _ = OpenCollections().active


def test_the_one_that_answers_is_none_of_the_others():
    collections = OpenCollections()
    collections.open(A, others=[A, B, C])
    assert (collections.active, collections.others) == (A, (B, C))
    collections.forget("model/2")
    assert collections.others == (C,)


def test_a_target_is_one_of_the_others_until_it_answers():
    collections = OpenCollections()
    collections.open(A, others=[B])
    again = types.SimpleNamespace(model_version="model/2")
    collections.follow(again)
    assert collections.target is again
    assert collections.others == (again,)
    collections.open(again, others=[A])
    assert collections.target is None
    assert (collections.active, collections.others) == (again, (A,))


def test_what_the_target_missed_is_handed_out_once():
    collections = OpenCollections()
    collections.open(A)
    collections.follow(B)
    collections.note_changed([ID])
    assert collections.changed == 1
    assert collections.take_changed() == [ID]
    assert collections.changed == 0


def test_another_target_has_missed_nothing_yet():
    collections = OpenCollections()
    collections.open(A)
    collections.follow(B)
    collections.note_changed([ID])
    # The same version, opened again.
    collections.follow(types.SimpleNamespace(model_version="model/2"))
    assert collections.changed == 1
    collections.follow(C)
    assert collections.changed == 0
