"""The connection of both clients: slow networks, and addresses in errors."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import pytest

from halftone.client import RetryPolicy
from halftone.core import addresses, errors
from tests.support.held_port import hold_port

# Longer than a client may wait for a connection if it is not to give up on slow networks.
DELAY = 0.3
ONCE = RetryPolicy(attempts=1)


@pytest.fixture
def slow_address(fake):
    """An address of the service behind a network that takes its time for each packet."""

    def pump(source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                time.sleep(DELAY)
                target.sendall(data)

    def serve():
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(("127.0.0.1", fake.port))
                ends.extend((near, far))
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=pump, args=pair, daemon=True).start()

    ends = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        for end in ends:
            end.close()


def test_a_slow_network_is_no_missing_service(fake, slow_address, connect):
    fake.add("archives/a/images/one")
    assert connect(slow_address, retries=ONCE).facets().total == 1


def test_an_error_names_the_address_as_it_was_given(connect):
    with hold_port() as port, pytest.raises(errors.Unavailable) as caught:
        connect(f"localhost:{port}", retries=ONCE).facets()
    assert caught.value.message.startswith(f"No service answers at localhost:{port} (")
    assert caught.value.reason == addresses.NO_SERVICE


def test_an_address_that_is_none_is_refused_at_once(connect):
    with pytest.raises(errors.InvalidArgument, match="localhost:7102"):
        connect("http://localhost")
