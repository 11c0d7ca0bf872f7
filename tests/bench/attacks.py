"""Pictures that cost more than they weigh, before a whole stack: `python -m tests.bench.attacks`.

    python -m tests.bench.attacks --archive DIR [--only NAME …] [--data DIR] [--at-once 8]

Each kind of `tests.support.pictures.expensive` is searched by eight times at once, while somebody
else searches by an ordinary picture again and again. Told are the time until all eight were
answered and what they were answered, the memory that the stack took on top (proportional set size
of all its processes), and how long the ordinary searches took meanwhile. The bar: at most 1 GiB on
top, and an ordinary search within 5 s.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import tempfile
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import psutil

from halftone.archive import manifests
from halftone.client import AsyncClient, Client
from halftone.core import errors
from halftone.stack import local
from tests.support.pictures import expensive

MIB = 1 << 20
DEADLINE = 60.0


@dataclass(kw_only=True)
class Outcome:
    """What one kind of attack did."""

    name: str
    megabytes: float
    answers: dict[str, int]
    seconds: float
    left_seconds: float
    added_mib: float
    searches: int
    failed: int
    slowest: float
    median: float


class Memory:
    """Watches the memory of this process's children from a thread."""

    def __init__(self) -> None:
        self.before = _measure_mib()
        self.most = self.before
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.25):
            self.most = max(self.most, _measure_mib())


def _measure_mib() -> float:
    total = 0
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            total += child.memory_full_info().pss
    return total / MIB


def _cpu_seconds() -> float:
    total = 0.0
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            times = child.cpu_times()
            total += times.user + times.system
    return total


async def _attack(client: AsyncClient, content: bytes) -> str:
    try:
        await client.search(content, timeout=DEADLINE)
    except errors.HalftoneError as error:
        return f"{type(error).__name__} {error.reason}"
    return "answered"


async def _search_meanwhile(
    client: AsyncClient, picture: bytes, ended: asyncio.Event
) -> tuple[list[float], int]:
    seconds: list[float] = []
    failed = 0
    while not ended.is_set() or not seconds:
        started = time.perf_counter()
        try:
            await client.search(picture, timeout=DEADLINE)
        except errors.HalftoneError:
            failed += 1
        seconds.append(time.perf_counter() - started)
        await asyncio.sleep(0.05)
    return seconds, failed


async def _wait_until_idle() -> float:
    """Return the seconds until the services use less than a fifth of a core."""
    started = time.perf_counter()
    while True:
        before = _cpu_seconds()
        await asyncio.sleep(0.5)
        if _cpu_seconds() - before < 0.1:
            return time.perf_counter() - started - 0.5


async def measure(
    address: str, *, embedder: str, name: str, picture: bytes, at_once: int
) -> Outcome:
    """Attack a stack, and search meanwhile."""
    content = expensive.ATTACKS[name]()
    async with (
        AsyncClient(address, embedder=embedder) as attacker,
        AsyncClient(address, embedder=embedder) as client,
    ):
        await client.search(picture, timeout=DEADLINE)
        ended = asyncio.Event()
        with Memory() as memory:
            ordinary = asyncio.create_task(_search_meanwhile(client, picture, ended))
            started = time.perf_counter()
            answers = await asyncio.gather(*(_attack(attacker, content) for _ in range(at_once)))
            seconds = time.perf_counter() - started
            ended.set()
            took, failed = await ordinary
            left = await _wait_until_idle()
    return Outcome(
        name=name,
        megabytes=round(len(content) / 1e6, 3),
        answers=dict(Counter(answers)),
        seconds=round(seconds, 2),
        left_seconds=round(left, 1),
        added_mib=round(memory.most - memory.before),
        searches=len(took),
        failed=failed,
        slowest=round(max(took), 2),
        median=round(sorted(took)[len(took) // 2], 2),
    )


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--archive", type=Path, required=True, help="a folder with a manifest")
    parser.add_argument("--most", type=int, default=200, help="pictures to import of it")
    parser.add_argument("--data", type=Path, help="where the stack keeps everything")
    parser.add_argument("--json", type=Path, default=Path("build/bench-attacks.json"))
    parser.add_argument("--only", nargs="+", choices=list(expensive.ATTACKS))
    parser.add_argument("--at-once", type=int, default=8)
    arguments = parser.parse_args()
    outcomes = []
    with contextlib.ExitStack() as opened:
        data = arguments.data or Path(opened.enter_context(tempfile.TemporaryDirectory()))
        stack = opened.enter_context(
            local.LocalStack(data, ports=local.Ports.any_free(), report=print)
        )
        rows = list(manifests.read_manifest(arguments.archive, archive="bench"))[: arguments.most]
        addresses = stack.addresses
        with Client(addresses.search, embedder=addresses.embedder) as client:
            if client.facets().total < len(rows):
                client.import_images(rows)
        picture = Path(rows[0].path or "").read_bytes()
        print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores, {arguments.at_once} at once")
        for name in arguments.only or expensive.ATTACKS:
            outcome = asyncio.run(
                measure(
                    addresses.search,
                    embedder=addresses.embedder,
                    name=name,
                    picture=picture,
                    at_once=arguments.at_once,
                )
            )
            outcomes.append(asdict(outcome))
            print(outcome, flush=True)
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(outcomes, indent=2) + "\n")


if __name__ == "__main__":
    main()
