"""Calls that arrive together: one call, each its answer, failures apart."""

import asyncio

import pytest

from services.search.together import Together


class Doubling:
    """Doubles numbers, refuses some, and remembers how they came."""

    def __init__(self, *, refused=()):
        self.refused = refused
        self.calls = []

    async def __call__(self, items):
        self.calls.append(list(items))
        if set(items) & set(self.refused):
            raise ValueError(items)
        return [2 * item for item in items]


async def test_what_is_asked_in_one_turn_is_one_call():
    call = Doubling()
    together = Together(call, most=8)
    assert await asyncio.gather(*(together.ask(item) for item in range(5))) == [0, 2, 4, 6, 8]
    assert call.calls == [[0, 1, 2, 3, 4]]
    assert await together.ask(7) == 14


async def test_no_call_is_larger_than_the_limit():
    call = Doubling()
    together = Together(call, most=2)
    assert await asyncio.gather(*(together.ask(item) for item in range(5))) == [0, 2, 4, 6, 8]
    assert call.calls == [[0, 1], [2, 3], [4]]


async def test_one_that_fails_does_not_take_the_others_with_it():
    together = Together(Doubling(refused=[1]), most=8)
    answers = await asyncio.gather(
        *(together.ask(item) for item in range(3)), return_exceptions=True
    )
    assert answers[0] == 0
    assert isinstance(answers[1], ValueError)
    assert answers[2] == 4


async def test_who_goes_away_is_passed_over():
    call = Doubling()
    together = Together(call, most=8)
    asking = [asyncio.ensure_future(together.ask(item)) for item in range(3)]
    await asyncio.sleep(0)
    asking[1].cancel()
    assert await asking[2] == 4
    assert await asking[0] == 0
    with pytest.raises(asyncio.CancelledError):
        await asking[1]
    assert call.calls == [[0, 2]]
