"""Searches of the page take turns, and one too many is told to come back."""

from __future__ import annotations

import threading

from tests.support.client import page


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
