"""Checks the addresses of services, and says in a sentence why none answers at one."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Final

from halftone.core import errors

if TYPE_CHECKING:
    from typing import Literal, TypeAlias

    Service: TypeAlias = Literal["search", "embedder", "trainer"]

NO_HOST: Final = "NO_HOST"
"""The reason of the error if the address's host has no such name or cannot be looked up."""
NO_SERVICE: Final = "NO_SERVICE"
"""The reason of the error if nothing answers at the address."""
TLS_TROUBLE: Final = "TLS_TROUBLE"
"""The reason of the error if the two ends do not agree on TLS, or a certificate is not trusted."""
OTHER_SERVICE: Final = "OTHER_SERVICE"
"""The reason of the error if something else than the wanted service answers at the address."""

# The defaults of the services' settings.
_PORTS: Final = {"search": 7102, "embedder": 7101, "trainer": 7103}
_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://([^/]*).*")
# gRPC's own names for addresses, such as `dns:///host:7102` and `unix:/run/halftone.sock`. What has
# only a port behind the colon is a host that is called so.
_TARGET: Final = re.compile(r"(?:dns|ipv4|ipv6|unix|unix-abstract|vsock|xds):(?!\d+$).+")
# What gRPC's messages hold, the most telling first.
_TLS_TROUBLES: Final = (
    (
        "CERTIFICATE_VERIFY_FAILED",
        "shows a certificate that is not trusted (HALFTONE_TLS_CA), or of another name.",
    ),
    ("Hostname Verification", "shows a certificate of another name (HALFTONE_TLS_SERVER_NAME)."),
    ("Peer name", "shows a certificate of another name (HALFTONE_TLS_SERVER_NAME)."),
    ("WRONG_VERSION_NUMBER", "does not speak TLS, which HALFTONE_TLS_CA asks for."),
    (
        "Socket closed",
        "hangs up: it may ask for TLS (HALFTONE_TLS_CA), or a certificate (…_CERTIFICATE, …_KEY).",
    ),
    ("handshake failed", "and this side do not agree on TLS."),
)
_PORT: Final = re.compile(r"[0-9]{1,5}")
_LAST_PORT: Final = 65535
# A part of gRPC's message about a connection that failed.
_CAUSE: Final = re.compile(r"(?:remote host|connect): ([^:;]+?)(?: \(\d+\))?$")


def check_address(address: str, *, service: Service = "search") -> str:
    """Return the address of a service, or refuse it with what it should be.

    gRPC takes nearly every text: without a port it tries 443, and a URL it takes for a host's name.

    Args:
        address: `host:port`, with brackets around an IPv6 host, or a target as gRPC names it.
        service: The service, whose usual port is suggested if the address has none.

    Raises:
        errors.InvalidArgument: It is not such an address.
    """
    problem = _find_problem(address)
    if not problem:
        return address
    hint = _guess(address, port=_PORTS[service])
    meant = f", for example {hint}" if hint else ""
    raise errors.InvalidArgument(
        f"{address!r} is no address of a service: {problem}. It is HOST:PORT{meant}.",
        field="address",
        reason="INVALID_ADDRESS",
    )


def _find_problem(address: str) -> str:
    """Return why a text is no address; "" if it is one."""
    host, _, port = address.rpartition(":")
    problem = ""
    if _TARGET.fullmatch(address):
        return problem
    if _URL.fullmatch(address):
        problem = "it is a URL"
    elif _is_ipv6(address):
        problem = "an IPv6 address needs brackets and a port"
    elif _is_host(address) or (_is_host(host) and not port):
        problem = "it has no port"
    elif not _is_host(host):
        problem = "it names no host"
    elif not (_PORT.fullmatch(port) and 1 <= int(port) <= _LAST_PORT):
        problem = f"{port!r} is no port, a number from 1 to {_LAST_PORT}"
    return problem


def _guess(address: str, *, port: int) -> str:
    """Return the address that was probably meant by a text that is none; "" if nobody knows."""
    url = _URL.fullmatch(address)
    host = (url[1] if url else address).removesuffix(":")
    if _is_ipv6(host):
        host = f"[{host}]"
    if _is_host(host):
        return f"{host}:{port}"
    return "" if _find_problem(host) else host


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _is_host(text: str) -> bool:
    if text.startswith("[") or ":" in text:
        return text.startswith("[") and text.endswith("]") and _is_ipv6(text[1:-1])
    return bool(text) and not re.search(r"[\s/@,]", text)


def name_address(  # noqa: PLR0911 - one for each thing that can be wrong
    error: errors.HalftoneError, *, address: str
) -> errors.HalftoneError:
    """Return an error that names the address at which no service of Halftone answers.

    gRPC's messages about that are a page of socket errors that name each address of the host.
    Every other error is returned as it is.
    """
    message = error.message
    if isinstance(error, errors.Internal) and message.startswith("UNIMPLEMENTED: "):
        # The call is known to every service of this release that offers it.
        return errors.FailedPrecondition(
            f"What listens at {address} is another service, or an older release: it does not know "
            "this call.",
            subject=address,
            reason=OTHER_SERVICE,
        )
    if not isinstance(error, errors.Unavailable) or error.reason != errors.Unavailable.reason:
        return error
    if message.startswith(("errors resolving", "DNS resolution failed")):
        return errors.Unavailable(f"The host of {address} is not known.", reason=NO_HOST)
    if not message.startswith(("failed to connect to all", "connections to all backends")):
        return error
    if "parsing HTTP/2" in message:
        return errors.Unavailable(
            f"What listens at {address} is no service of Halftone: it does not speak gRPC.",
            reason=OTHER_SERVICE,
        )
    if trouble := next((text for mark, text in _TLS_TROUBLES if mark in message), ""):
        return errors.Unavailable(f"What listens at {address} {trouble}", reason=TLS_TROUBLE)
    cause = "it takes too long" if "timed out" in message else ""
    found = _CAUSE.search(message)
    why = cause or (found[1][:1].lower() + found[1][1:] if found else "")
    return errors.Unavailable(
        f"No service answers at {address}{f' ({why})' if why else ''}.", reason=NO_SERVICE
    )
