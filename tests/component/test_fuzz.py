"""Ten thousand messages that are almost right, over every method of every service.

Whatever they hold, nothing answers INTERNAL or UNKNOWN, no log has a traceback, no process dies,
and a second round takes no more memory than the first.
"""

from __future__ import annotations

import collections
import random

import grpc
import psutil
import pytest

from halftone.stack import local, training
from halftone.v1 import clusters_pb2, embedder_pb2, models_pb2, search_pb2, trainer_pb2
from tests.support.mutations import make_seed, mutate

ALLOWED_GROWTH = 48 * 1024 * 1024
"""Bytes: caches of a process, and what the first round has not asked for."""
SECONDS = 5.0
BAD = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNIMPLEMENTED}


def list_methods(addresses):
    """Yields the address, the path and the descriptor of every method."""
    for module, address in (
        (search_pb2, addresses.search),
        (models_pb2, addresses.search),
        (clusters_pb2, addresses.search),
        (embedder_pb2, addresses.embedder),
        (trainer_pb2, addresses.trainer),
    ):
        for service in module.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                yield address, f"/{service.full_name}/{method.name}", method


class Round:
    """Calls every method with messages that chance made, and counts the codes of the answers."""

    def __init__(self, stack, *, seed: int) -> None:
        self.codes: collections.Counter[tuple[str, grpc.StatusCode]] = collections.Counter()
        self.details: list[str] = []
        self._stack = stack
        self._draw = random.Random(seed)
        self._channels = {
            address: grpc.insecure_channel(address)
            for address, _, _ in list_methods(stack.addresses)
        }

    def run(self, count: int) -> None:
        methods = list(list_methods(self._stack.addresses))
        for number in range(count):
            address, path, method = methods[number % len(methods)]
            seed = make_seed(method.input_type, draw=self._draw).SerializeToString()
            self._call(self._channels[address], path, method, mutate(seed, draw=self._draw))
        for channel in self._channels.values():
            channel.close()

    def _call(self, channel, path, method, content) -> None:
        try:
            if method.client_streaming:
                given = iter([content, mutate(content, draw=self._draw)])
                call = channel.stream_stream(path)(given, timeout=SECONDS)
                collections.deque(call, maxlen=0)
            elif method.server_streaming:
                # A watch that was opened well stays open.
                call = channel.unary_stream(path)(content, timeout=SECONDS)
                next(call, None)
                call.cancel()
            else:
                channel.unary_unary(path)(content, timeout=SECONDS)
        except grpc.RpcError as error:
            code = error.code()
            if code in BAD:
                self.details.append(f"{path} {content[:300]!r}: {error.details()}")
        else:
            code = grpc.StatusCode.OK
        self.codes[path, code] += 1


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory):
    """A stack of its own, since messages that happen to be right change it."""
    data = tmp_path_factory.mktemp("fuzzed") / "data"
    with local.LocalStack(
        data, ports=local.Ports.any_free(), report=print, training=training.Training()
    ) as stack:
        stack.data = data
        yield stack


def check(stack, done: Round, *, processes) -> None:
    assert done.details == []
    assert stack.processes == processes, "a process has died"
    for log in (stack.data / "logs").glob("*.log"):
        text = log.read_text(errors="replace")
        assert "Traceback" not in text, f"{log}: {text[text.index('Traceback') - 2000 :][:4000]}"


def measure(processes) -> dict[str, int]:
    return {name: psutil.Process(pid).memory_info().rss for name, pid in processes.items()}


@pytest.mark.slow
def test_some_messages_that_are_almost_right(fuzzed):
    processes = fuzzed.processes
    done = Round(fuzzed, seed=1)
    done.run(600)
    check(fuzzed, done, processes=processes)
    assert {path for path, _ in done.codes} == {
        path for _, path, _ in list_methods(fuzzed.addresses)
    }
    refused = sum(
        count for (_, code), count in done.codes.items() if code == grpc.StatusCode.INVALID_ARGUMENT
    )
    assert refused > 200


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_ten_thousand_messages_twice(fuzzed):
    processes = fuzzed.processes
    sizes = []
    for number in range(2):
        # The first round fills caches; what the second adds would be added by every further one.
        done = Round(fuzzed, seed=10 + number)
        done.run(10_000)
        check(fuzzed, done, processes=processes)
        sizes.append(measure(processes))
        print(number, {name: size >> 20 for name, size in sizes[-1].items()})
    for name in processes:
        assert sizes[1][name] - sizes[0][name] < ALLOWED_GROWTH, (name, sizes)
