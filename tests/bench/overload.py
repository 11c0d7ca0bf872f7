"""What becomes of searches under three times the load: a greedy client beside a polite one.

    python -m tests.bench.overload --archive PATH [--seconds 300] [--times 3] [--deadline 10]

The stack of `halftone up` with part of an archive, and a key for each client. First, a few
callers find out how many searches by picture are answered in a second. Then the greedy client sends
most of the load, whatever is answered, and the polite one a tenth of what can be answered, which is
less than its share. Each search has a deadline, and none is tried again.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import random
import statistics
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import grpc

from halftone.archive import manifests
from halftone.client import Client
from halftone.core import errors, keys, wire
from halftone.core.keys import Scope
from halftone.service.turns import LATE_TURN
from halftone.stack import local
from halftone.v1 import search_pb2, search_pb2_grpc

_PICTURES: Final = 60
_CALLERS: Final = 8
_POLITE_PART: Final = 0.1


@dataclass
class Tally:
    """What became of a client's searches; times in seconds."""

    outcomes: Counter[str] = field(default_factory=Counter)
    answered: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)

    def summarise(self) -> dict[str, Any]:
        """Counts, and quantiles in milliseconds."""
        admitted = self.outcomes.total() - len(self.refused)
        return {
            "sent": self.outcomes.total(),
            "outcomes": dict(self.outcomes),
            "goodput": round(len(self.answered) / admitted, 3) if admitted else None,
            "answered_p50_ms": _quantile(self.answered, 0.5),
            "answered_p99_ms": _quantile(self.answered, 0.99),
            "refused_p50_ms": _quantile(self.refused, 0.5),
            "refused_p99_ms": _quantile(self.refused, 0.99),
        }


def _quantile(values: list[float], part: float) -> float | None:
    if not values:
        return None
    return round(1000 * sorted(values)[min(len(values) - 1, int(part * len(values)))], 1)


async def _search(stub: Any, content: bytes, *, secret: str, deadline: float, tally: Tally) -> None:
    request = search_pb2.SearchImagesRequest(content=content, limit=10)
    started = time.perf_counter()
    try:
        await stub.SearchImages(request, timeout=deadline, metadata=wire.make_authorization(secret))
    except grpc.aio.AioRpcError as failure:
        seconds = time.perf_counter() - started
        error = errors.from_rpc_error(failure)
        tally.outcomes[error.reason] += 1
        # Who waited, and was told to come back then, was let in and not answered.
        if isinstance(error, errors.ResourceExhausted) and error.reason != LATE_TURN:
            tally.refused.append(seconds)
        return
    tally.outcomes["ANSWERED"] += 1
    tally.answered.append(time.perf_counter() - started)


async def _find_capacity(stub: Any, pictures: list[bytes], *, secret: str, seconds: float) -> float:
    """Searches a second that a few callers get answered, each one after the other."""
    tally, ends = Tally(), time.perf_counter() + seconds

    async def call() -> None:
        while time.perf_counter() < ends:
            content = random.choice(pictures)
            await _search(stub, content, secret=secret, deadline=60, tally=tally)

    started = time.perf_counter()
    await asyncio.gather(*(call() for _ in range(_CALLERS)))
    return len(tally.answered) / (time.perf_counter() - started)


async def _send(
    stub: Any, pictures: list[bytes], *, secret: str, rate: float, seconds: float, deadline: float
) -> Tally:
    """Send searches at a rate, at random moments, whatever becomes of those before."""
    tally, draw = Tally(), random.Random(int(rate * 1000))
    now = started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        while now < started + seconds:
            group.create_task(
                _search(stub, draw.choice(pictures), secret=secret, deadline=deadline, tally=tally)
            )
            now += draw.expovariate(rate)
            await asyncio.sleep(max(0.0, now - time.perf_counter()))
    return tally


async def _measure(
    address: str, pictures: list[bytes], secrets: dict[str, str], arguments: argparse.Namespace
) -> dict[str, Any]:
    async with contextlib.AsyncExitStack() as stack:
        stubs = {}
        for name in secrets:
            # Two clients have two connections.
            options = [*wire.CHANNEL_OPTIONS, ("grpc.use_local_subchannel_pool", 1)]
            channel = grpc.aio.insecure_channel(address, options=options)
            await stack.enter_async_context(channel)
            stubs[name] = search_pb2_grpc.SearchServiceStub(channel)
        rates = [
            await _find_capacity(stubs["polite"], pictures, secret=secrets["polite"], seconds=10)
            for _ in range(2)
        ]
        capacity = statistics.mean(rates[1:])
        polite = _POLITE_PART * capacity
        wanted = {"polite": polite, "greedy": arguments.times * capacity - polite}
        tallies = await asyncio.gather(
            *(
                _send(
                    stubs[name],
                    pictures,
                    secret=secrets[name],
                    rate=rate,
                    seconds=arguments.seconds,
                    deadline=arguments.deadline,
                )
                for name, rate in wanted.items()
            )
        )
    answered = sum(len(tally.answered) for tally in tallies)
    return {
        "capacity_per_s": round(capacity, 2),
        "answered_per_s": round(answered / arguments.seconds, 2),
        **{name: tally.summarise() for name, tally in zip(wanted, tallies, strict=True)},
    }


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--archive", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--times", type=float, default=3, help="the load, in what can be answered")
    parser.add_argument("--deadline", type=float, default=10)
    arguments = parser.parse_args()
    found = manifests.read_manifest(arguments.archive, archive="press")
    rows = list(itertools.islice((row for row in found if row.path is not None), _PICTURES))
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        stack = local.LocalStack(data, ports=local.Ports.any_free(), report=print)
        with stack:
            with Client(stack.addresses.search) as client:
                client.import_images(rows)
            secrets = {
                name: keys.create(data / keys.FILE_NAME, label=name, scopes=[Scope.SEARCH])[1]
                for name in ("polite", "greedy")
            }
            time.sleep(1)
            pictures = [row.path.read_bytes() for row in rows if row.path is not None]
            result = asyncio.run(_measure(stack.addresses.search, pictures, secrets, arguments))
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
