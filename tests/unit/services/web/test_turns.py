"""Few searches run at a time, some wait, and the rest are told to come back."""

from __future__ import annotations

import asyncio
import threading

import pytest

from halftone.core import errors
from halftone.services.web.answers.turns import Turns
from tests.support.client import page


async def test_those_who_wait_have_their_turn_and_others_come_back_later():
    turns = Turns(at_once=2, waiting=1)
    free, running, most = asyncio.Event(), 0, 0

    async def search():
        nonlocal running, most
        async with turns.take():
            running += 1
            most = max(most, running)
            await free.wait()
            running -= 1

    searches = [asyncio.create_task(search()) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(errors.ResourceExhausted) as raised:
        await search()
    assert raised.value.retry_after >= 1
    free.set()
    await asyncio.gather(*searches)
    assert most == 2
    await search()


async def test_who_goes_away_gives_the_turn_back():
    turns = Turns(at_once=1, waiting=0)

    async def search():
        async with turns.take():
            await asyncio.Event().wait()

    for _ in range(3):
        gone = asyncio.create_task(search())
        await asyncio.sleep(0)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone


def test_a_search_too_many_is_refused_and_leads_to_itself(fake, tmp_path):
    held, asked = threading.Event(), threading.Event()

    def hold():
        asked.set()
        held.wait(60)

    address = f"/search?image={fake.names[0]}"
    with page.opened(
        fake, tmp_path, max_concurrent_searches=1, max_waiting_searches=0, wait_seconds=60
    ) as browser:
        fake.faults["SearchImages"].append(hold)
        waiting = threading.Thread(target=browser.get, args=(address,))
        waiting.start()
        try:
            assert asked.wait(60)
            refused = browser.get(address)
            compared = browser.get(f"/compare?a={fake.names[0]}&b={fake.names[1]}")
        finally:
            held.set()
            waiting.join()
        assert browser.get(address).status_code == 200
    assert refused.status_code == compared.status_code == 429
    assert int(refused.headers["retry-after"]) >= 1
    assert f'class="button primary" href="{address}">Try again' in refused.text
