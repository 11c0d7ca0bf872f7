"""Asks hosts that a person has named, one request at a time, and nobody else.

What a manifest names is an address that a stranger wrote. So only hosts of a list are asked, also
after redirects; the addresses that a name leads to must be public, and the connection goes to the
very address that was checked, so that a name that leads elsewhere the next time gains nothing.
Every answer is bounded in bytes and in time.
"""

from __future__ import annotations

import email.utils
import http.client
import io
import ipaddress
import socket
import ssl
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin, urlsplit

import halftone
from halftone.core import errors

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed import WriteableBuffer

USER_AGENT: Final = f"halftone/{halftone.__version__} (fetches pictures to compare them)"
_REDIRECTS: Final = 5
_TRIES: Final = 5
_TIMEOUT: Final = 30.0
_LONGEST_WAIT: Final = 600.0
_CHUNK: Final = 256 * 1024
_BUSY: Final = frozenset({429, 500, 502, 503, 504})
_LIMITED: Final = frozenset({429, 503})
_MOVED: Final = frozenset({301, 302, 303, 307, 308})
_DIGITS: Final = 20
_PORTS: Final = {"http": 80, "https": 443}


def is_public(address: str) -> bool:
    """Return whether an IP address is one that anybody on the internet may ask."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address):
        # An address of IPv4 may be written as one of IPv6, in more than one way.
        inner = parsed.ipv4_mapped or parsed.sixtofour or (parsed.teredo or (None, None))[1]
        if inner is not None:
            return is_public(str(inner))
        if parsed in _NAT64:
            return is_public(str(ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)))
        # Nothing else is given out: what lies elsewhere is old, local, or IPv4 by another name.
        if parsed not in _GIVEN_OUT:
            return False
    return parsed.is_global and not parsed.is_multicast


_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_GIVEN_OUT: Final = ipaddress.IPv6Network("2000::/3")


class LeftAlone(errors.Unavailable):
    """A host wants to be left alone."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What an address answered.

    Attributes:
        content: The bytes.
        content_type: Their type in lower case, without parameters.
    """

    content: bytes
    content_type: str


@dataclass(kw_only=True)
class PoliteClient:
    """Asks the hosts of a list.

    Attributes:
        hosts: Names of hosts, in lower case, with a port where it is not the usual one. A name that
            begins with a dot stands for all hosts below it.
        pause: The seconds between two requests to one host.
        patience: The most seconds of one request, from the connection to the last byte.
        say: Is told in a sentence when a host wants to be left alone for a while.
        is_allowed: Whether an IP address may be asked.
        sleep: Waits for some seconds.
    """

    hosts: frozenset[str]
    pause: float = 0.5
    patience: float = 600.0
    say: Callable[[str], None] = lambda _: None
    is_allowed: Callable[[str], bool] = is_public
    sleep: Callable[[float], None] = time.sleep
    _last: dict[str, float] = field(default_factory=dict)

    def get(self, url: str, *, most: int, accept: str = "*/*") -> Answer:
        """Return what an address answers.

        Args:
            url: An address of http or https.
            most: The most bytes of the answer.
            accept: The types of content that are wanted.

        Raises:
            errors.InvalidArgument: The address or one that it leads to must not be asked, or the
                answer has more than `most` bytes.
            errors.NotFound: There is nothing.
            errors.PermissionDenied: It is not for everybody.
            LeftAlone: The host wants to be left alone, for longer than ten minutes or again and
                again.
            errors.Unavailable: The address gives no answer.
        """
        problem, busy = "", False
        for attempt in range(_TRIES):
            try:
                status, headers, content = self._follow(url, most=most, accept=accept)
            except (OSError, http.client.HTTPException) as error:
                problem = f"{url} cannot be reached: {error}"
                wait, busy = 2.0**attempt, False
            else:
                if status == 200:  # noqa: PLR2004 - OK
                    kind = (headers.get("Content-Type") or "").partition(";")[0].strip().lower()
                    return Answer(content, kind)
                _check_status(status, url=url)
                problem = f"{url} answers {status}"
                wait = _read_wait(headers.get("Retry-After"), default=2.0**attempt)
                busy = status in _LIMITED and "Retry-After" in headers
            if wait > _LONGEST_WAIT:
                raise LeftAlone(
                    f"{problem}, and asks to come back in {wait / 60:.0f} minutes. The same "
                    "command goes on from here."
                )
            if attempt + 1 < _TRIES:
                if wait > 10:  # noqa: PLR2004 - a person wonders
                    self.say(f"{problem}; asked again in {wait:.0f} s.")
                self.sleep(wait)
        if busy:
            raise LeftAlone(f"{problem}. The same command goes on from here.")
        raise errors.Unavailable(f"{problem}.")

    def _follow(
        self, url: str, *, most: int, accept: str
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        for _ in range(_REDIRECTS + 1):
            status, headers, content = self._ask(url, most=most, accept=accept)
            target = headers.get("Location")
            if status not in _MOVED or not target:
                return status, headers, content
            following = urljoin(url, target)
            if url.startswith("https:") and not following.startswith("https:"):
                raise _refuse(f"{url} leads to {following}, which is not encrypted")
            url = following
        raise _refuse(f"{url} leads on and on")

    def _ask(
        self, url: str, *, most: int, accept: str
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        host, port, path, secure = self._check(url)
        waited = time.monotonic() - self._last.get(host, -self.pause)
        if waited < self.pause:
            self.sleep(self.pause - waited)
        deadline = _Deadline(self.patience)
        address = self._resolve(host, port)
        connection = _Pinned(host, port, address=address, secure=secure, deadline=deadline)
        try:
            headers = {"User-Agent": USER_AGENT, "Accept": accept, "Accept-Encoding": "identity"}
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            length = read_number(response.headers.get("Content-Length")) or 0
            good = response.status == 200  # noqa: PLR2004 - OK
            if good and length > most:
                raise _refuse(f"{url} has {length:,} bytes, and {most:,} are allowed")
            content = bytearray()
            while good and (chunk := response.read(_CHUNK)):
                content += chunk
                if len(content) > most:
                    raise _refuse(f"{url} has more than the {most:,} bytes that are allowed")
            if good and 0 < len(content) < length:
                raise http.client.IncompleteRead(bytes(content), length - len(content))
            return response.status, response.headers, bytes(content)
        finally:
            connection.close()
            self._last[host] = time.monotonic()

    def _check(self, url: str) -> tuple[str, int, str, bool]:
        """Return host, port, path and whether TLS is used of an address that may be asked."""
        try:
            parts = urlsplit(url)
            host, port = (parts.hostname or "").rstrip(".").lower(), parts.port
        except ValueError as error:
            raise _refuse(f"{url[:200]!r} is no address: {error}") from error
        if parts.scheme not in _PORTS or not host:
            raise _refuse(f"{url[:200]!r} is no address of http or https")
        if parts.username is not None or any(ord(letter) <= 0x20 for letter in url):  # noqa: PLR2004 - control characters
            raise _refuse(f"{url[:200]!r} holds what no address should")
        usual = _PORTS[parts.scheme]
        name = host if port in {None, usual} else f"{host}:{port}"
        listed = name in self.hosts or any(
            each.startswith(".") and name.endswith(each) for each in self.hosts
        )
        if not listed:
            raise _refuse(f"{url[:200]} is at {name}, which was not named; --host {name} names it")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return host, port or usual, path, parts.scheme == "https"

    def _resolve(self, host: str, port: int) -> str:
        """Return an IP address of a host, after all of its addresses were checked."""
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = [str(entry[4][0]) for entry in found]
        private = [address for address in addresses if not self.is_allowed(address)]
        if private or not addresses:
            raise _refuse(f"{host} leads to {', '.join(private) or 'nothing'}, a private address")
        return addresses[0]


class _Deadline:
    """The moment at which a request has to be over, however slowly its host goes on."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds that the next step may take."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"it took more than {self._seconds:.0f} seconds")
        return min(_TIMEOUT, left)


class _Pinned(http.client.HTTPConnection):
    """A connection to an IP address, for a host whose name it proves by TLS."""

    def __init__(
        self, host: str, port: int, *, address: str, secure: bool, deadline: _Deadline
    ) -> None:
        super().__init__(host, port, timeout=_TIMEOUT)
        self._address = address
        self._secure = secure
        self._deadline = deadline
        # For the header `Host`.
        self.default_port = 443 if secure else 80

    def connect(self) -> None:
        """Connect to the address that was checked, whatever the name leads to by now."""
        inner = socket.create_connection((self._address, self.port), self._deadline.left())
        if self._secure:
            try:
                inner.settimeout(self._deadline.left())
                context = ssl.create_default_context()
                inner = context.wrap_socket(inner, server_hostname=self.host)
            except BaseException:
                inner.close()
                raise
        self.sock = _Timed(inner, deadline=self._deadline)


class _Timed:
    """What a connection needs of a socket, each step of it within a deadline."""

    def __init__(self, inner: socket.socket, *, deadline: _Deadline) -> None:
        self._inner = inner
        self._deadline = deadline

    def sendall(self, data: bytes) -> None:
        self._inner.settimeout(self._deadline.left())
        self._inner.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_TimedReader(self._inner, deadline=self._deadline))

    def close(self) -> None:
        self._inner.close()


class _TimedReader(io.RawIOBase):
    """Reads a socket; a host that sends a byte now and then gains no time by it."""

    def __init__(self, inner: socket.socket, *, deadline: _Deadline) -> None:
        self._inner = inner
        self._deadline = deadline
        # Keeps the socket open for as long as it is read.
        self._file = inner.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        self._inner.settimeout(self._deadline.left())
        return self._file.readinto(buffer)

    def close(self) -> None:
        self._file.close()
        super().close()


def _check_status(status: int, *, url: str) -> None:
    if status in _BUSY:
        return
    if status in {404, 410}:
        raise errors.NotFound(f"{url} answers {status}.", resource_name=url)
    if status in {401, 403, 451}:
        raise errors.PermissionDenied(f"{url} answers {status}.")
    raise _refuse(f"{url} answers {status}")


def _read_wait(text: str | None, *, default: float) -> float:
    """Return the seconds that a host asks to wait: a number, or a moment."""
    if not text:
        return default
    if (seconds := read_number(text)) is not None:
        return float(seconds)
    try:
        moment = email.utils.parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError, OverflowError):
        return default
    return max(0.0, moment - time.time())


def read_number(text: str | None) -> int | None:
    """Return the number of a header; None if it is none, or has more digits than any needs."""
    text = (text or "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < _DIGITS else None


def _refuse(problem: str) -> errors.InvalidArgument:
    return errors.InvalidArgument(f"{problem}.", field="url", reason="NOT_FETCHED")
