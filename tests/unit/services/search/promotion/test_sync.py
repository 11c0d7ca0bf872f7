"""Bringing collections in step: which of several errors says how to go on."""

from __future__ import annotations

import itertools

from halftone.core import errors
from halftone.services.search.promotion.cancellation import StopPromotion
from halftone.services.search.promotion.sync import _CutOff, _decisive


def test_the_order_of_errors_does_not_decide():
    cut = _CutOff(errors.Unavailable("away"), pages=3)
    ranked = [StopPromotion(), ZeroDivisionError(), errors.StorageFull("full"), cut]
    for first in range(len(ranked)):
        for problems in itertools.permutations(ranked[first:]):
            assert _decisive(problems) is ranked[first]
