"""Many users search at once: what they are answered, and whether the page's memory stays."""

from __future__ import annotations

import asyncio
import contextlib
import html
import random
import re
import statistics
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import httpx
import psutil

from tests.support.client.page import find_token

if TYPE_CHECKING:
    from collections.abc import Sequence

_SECONDS = 120.0
_BUSY = 429
_MINUTES = 2


class _User:
    """Somebody who drops a picture, looks at what is found, compares, and begins again."""

    def __init__(self, page: str, *, pictures: Sequence[bytes], seed: int) -> None:
        self._pictures = pictures
        self._random = random.Random(seed)
        self._client = httpx.AsyncClient(base_url=page, timeout=_SECONDS)
        self.statuses: Counter[tuple[str, str]] = Counter()
        self.seconds: dict[str, list[float]] = {}

    async def run(self, until: float) -> None:
        async with self._client:
            token = find_token((await self._client.get("/import")).text)
            while time.monotonic() < until:
                with contextlib.suppress(StopAsyncIteration):
                    await self._search(token, until=until)

    async def _search(self, token: str, *, until: float) -> None:
        content = self._random.choice(self._pictures)
        sent = await self._ask(
            "POST /pictures",
            "/pictures",
            until=until,
            data={"token": token},
            files={"file": ("x.jpg", content)},
        )
        page = await self._ask("GET /search", sent.headers["location"], until=until)
        found = [html.unescape(each) for each in re.findall(r'src="(/thumbnail[^"]+)"', page.text)]
        for address in found[:6]:
            await self._ask("GET /thumbnail", address, until=until)
        pairs = re.findall(r'href="(/compare[^"]+)"', page.text)
        if pairs:
            await self._ask("GET /compare", html.unescape(pairs[0]), until=until)

    async def _ask(self, name: str, address: str, *, until: float, **form: Any) -> httpx.Response:
        """Return an answer; a full house is asked again in a moment."""
        while True:
            if time.monotonic() > until:
                raise StopAsyncIteration
            started = time.perf_counter()
            answer = await self._client.request(name.split(maxsplit=1)[0], address, **form)
            self.seconds.setdefault(name, []).append(time.perf_counter() - started)
            status = str(answer.status_code)
            if name == "GET /search" and 'class="notice problem"' in answer.text:
                # The page had been begun when the search failed.
                status += " with a problem"
            self.statuses[name, status] += 1
            if answer.status_code != _BUSY:
                return answer
            await asyncio.sleep(float(answer.headers.get("retry-after", "1")))


async def _crowd(
    page: str, *, pictures: Sequence[bytes], users: int, seconds: float
) -> list[_User]:
    until = time.monotonic() + seconds
    people = [_User(page, pictures=pictures, seed=number) for number in range(users)]
    await asyncio.gather(*(each.run(until) for each in people))
    return people


def run(
    page: str, *, process: int, pictures: Sequence[bytes], users: int, seconds: float
) -> dict[str, Any]:
    """Let users search for some time, then for as long again.

    Args:
        page: The page's address.
        process: The id of the page's process.
        pictures: What they search by.
        users: How many there are at a time.
        seconds: How long each of two rounds takes.

    Returns:
        The resident bytes of the process before and after each round; answers by address and
        status; and the seconds of answers by address.
    """
    watched = psutil.Process(process)
    # What is loaded with the first search does not grow later.
    asyncio.run(_crowd(page, pictures=pictures, users=2, seconds=min(seconds, 10.0)))
    resident = [watched.memory_info().rss]
    statuses: Counter[tuple[str, str]] = Counter()
    taken: dict[str, list[float]] = {}
    for _ in range(_MINUTES):
        people = asyncio.run(_crowd(page, pictures=pictures, users=users, seconds=seconds))
        resident.append(watched.memory_info().rss)
        for each in people:
            statuses += each.statuses
            for name, values in each.seconds.items():
                taken.setdefault(name, []).extend(values)
    return {
        "users": users,
        "seconds": seconds,
        "resident": resident,
        "statuses": {f"{name} {status}": count for (name, status), count in statuses.items()},
        "p50": {name: statistics.median(values) for name, values in taken.items()},
        "most": {name: max(values) for name, values in taken.items()},
    }


def show(result: dict[str, Any]) -> None:
    """Print what the crowd was answered."""
    print("| answer | count |\n|---|---|")
    for name, count in sorted(result["statuses"].items()):
        print(f"| {name} | {count} |")
    print("| address | p50, s | most, s |\n|---|---|---|")
    for name, seconds in sorted(result["p50"].items()):
        print(f"| {name} | {seconds:.2f} | {result['most'][name]:.2f} |")
    said = ", ".join(f"{each / 2**20:.0f} MiB" for each in result["resident"])
    print(f"Resident before, and after each {result['seconds']:.0f} s: {said}")
