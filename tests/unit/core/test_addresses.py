"""Addresses of services: what is refused, what is meant, and what is said where nobody answers."""

from __future__ import annotations

import pytest

from halftone.core import addresses, errors, settings


@pytest.mark.parametrize(
    "address",
    [
        *("localhost:7102", "127.0.0.1:1", "[::1]:65535", "archive.example:7102", "search:7102"),
        # Hosts that are called like gRPC's schemes, and gRPC's own targets.
        *("dns:7102", "unix:1", "dns:///archive.example:7102", "unix:/run/x.sock"),
        *("unix:///run/x.sock", "ipv4:10.0.0.1:1,10.0.0.2:1"),
    ],
)
def test_an_address_is_returned_as_it_is(address):
    assert addresses.check_address(address) == address


@pytest.mark.parametrize(
    ("address", "problem", "meant"),
    [
        ("localhost", "it has no port", "localhost:7102"),
        ("localhost:", "it has no port", "localhost:7102"),
        ("[::1]", "it has no port", "[::1]:7102"),
        ("::1", "needs brackets and a port", "[::1]:7102"),
        ("2001:db8::7102", "needs brackets and a port", "[2001:db8::7102]:7102"),
        ("http://archive.example", "it is a URL", "archive.example:7102"),
        ("https://archive.example:8000/search?q=1", "it is a URL", "archive.example:8000"),
        ("http://[::1]/", "it is a URL", "[::1]:7102"),
        ("localhost:http", "'http' is no port, a number from 1 to 65535", ""),
        ("localhost:70000", "'70000' is no port", ""),
        ("localhost:0", "'0' is no port", ""),
        ("localhost:-1", "'-1' is no port", ""),
        ("", "it names no host", ""),
        (":7102", "it names no host", ""),
        ("two words:7102", "it names no host", ""),
        ("[nonsense]:7102", "it names no host", ""),
    ],
)
def test_what_is_no_address_is_refused_with_what_is_meant(address, problem, meant):
    with pytest.raises(errors.InvalidArgument) as caught:
        addresses.check_address(address)
    assert problem in caught.value.message
    ending = f"It is HOST:PORT, for example {meant}." if meant else "It is HOST:PORT."
    assert caught.value.message.endswith(ending)


def test_the_port_that_is_suggested_is_the_services_own():
    with pytest.raises(errors.InvalidArgument, match="localhost:7103"):
        addresses.check_address("localhost", service="trainer")


REFUSED = (
    "failed to connect to all addresses; last error: UNKNOWN: ipv6:%5B::1%5D:7999: "
    "Failed to connect to remote host: Connection refused"
)


@pytest.mark.parametrize(
    ("error", "kind", "reason", "said"),
    [
        (
            errors.Unavailable(REFUSED),
            errors.Unavailable,
            addresses.NO_SERVICE,
            "No service answers at localhost:7999 (connection refused).",
        ),
        (
            errors.Unavailable(REFUSED.replace("Connection refused", "connect: No route (113)")),
            errors.Unavailable,
            addresses.NO_SERVICE,
            "No service answers at localhost:7999 (no route).",
        ),
        (
            errors.Unavailable(
                "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:7999: "
                "connection attempt timed out before receiving SETTINGS frame"
            ),
            errors.Unavailable,
            addresses.NO_SERVICE,
            "No service answers at localhost:7999 (it takes too long).",
        ),
        (
            errors.Unavailable(
                "failed to connect to all addresses; last error: UNAVAILABLE: ipv4:127.0.0.1:7999: "
                "Failed parsing HTTP/2 (Expected SETTINGS frame as the first frame)"
            ),
            errors.Unavailable,
            addresses.OTHER_SERVICE,
            "What listens at localhost:7999 is no service of Halftone: it does not speak gRPC.",
        ),
        (
            errors.Unavailable("errors resolving nonsense: [field:…]"),
            errors.Unavailable,
            addresses.NO_HOST,
            "The host of localhost:7999 is not known.",
        ),
        (
            errors.Internal("UNIMPLEMENTED: Method not found!"),
            errors.FailedPrecondition,
            addresses.OTHER_SERVICE,
            (
                "What listens at localhost:7999 is another service, or an older release: it does "
                "not know this call."
            ),
        ),
    ],
)
def test_what_grpc_says_becomes_a_sentence_with_the_address(error, kind, reason, said):
    named = addresses.name_address(error, address="localhost:7999")
    assert type(named) is kind
    assert (named.reason, named.message) == (reason, said)


@pytest.mark.parametrize(
    "error",
    [
        errors.Unavailable("The service is starting.", reason="STARTING"),
        errors.Unavailable("failed to connect to all of them", reason="QDRANT"),
        errors.Unavailable("Socket closed"),
        errors.Internal("Something."),
        errors.NotFound("There is no image."),
    ],
)
def test_what_a_service_says_is_left_alone(error):
    assert addresses.name_address(error, address="localhost:7999") is error


@pytest.mark.parametrize("service", ["search", "embedder", "trainer"])
def test_the_suggested_port_is_the_default_of_the_settings(service):
    classes = {
        "search": settings.SearchSettings,
        "embedder": settings.EmbedderSettings,
        "trainer": settings.TrainerSettings,
    }
    port = classes[service].model_fields["port"].default
    with pytest.raises(errors.InvalidArgument, match=f"for example somewhere:{port}$|:{port}\\."):
        addresses.check_address("somewhere", service=service)
