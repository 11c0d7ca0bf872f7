"""Tells what lies outside the project, such as a network that fails, from a fault of its own."""

from __future__ import annotations

import re

_OUTSIDE = re.compile(
    # Names, connections and certificates.
    r"\b(EAI_AGAIN|ENOTFOUND|ECONNREFUSED|ECONNRESET|ECONNABORTED|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH"
    r"|EPIPE|ERR_SOCKET_TIMEOUT)\b|socket hang up|SELF_SIGNED_CERT|UNABLE_TO_[A-Z_]*CERT"
    r"|CERT_HAS_EXPIRED|x509:|certificate verify failed|CERTIFICATE_VERIFY_FAILED"
    r"|no such host|name resolution|name or service not known|could not resolve"
    r"|network is unreachable|no route to host|connection (refused|reset|timed out)"
    r"|connect(ion)? to \S+ (failed|timed out)|i/o timeout|TLS handshake timeout|read timed out"
    r"|proxyconnect|tunnel connection failed|unexpected EOF|IncompleteRead|connection broken"
    r"|failed to establish a new connection|server misbehaving|module lookup disabled"
    r"|context deadline exceeded|Client\.Timeout exceeded"
    # What registries and mirrors answer instead of a package.
    r"|\bE(401|403|404|407|429|5\d\d)\b"
    r"|(HTTP( error)?|status( code)?|reading https?\S+):? (403|407|429|5\d\d)\b"
    r"|\b(403 Forbidden|404 Not Found|410 Gone|407 Proxy|429 Too)\b"
    r"|\b(500 Internal|502 Bad|503 Service|504 Gateway)\b"
    r"|toomanyrequests|failed to fetch"
    r"|temporary failure|hash sum mismatch|EINTEGRITY|DO NOT MATCH THE HASHES"
    # This machine.
    r"|no space left on device|ENOSPC|disk quota exceeded|cannot allocate memory"
    # Its engine.
    r"|cannot connect to the docker daemon|is the docker daemon running|failed to create network"
    r"|address pools? (have been|has been)|failed to set up container networking",
    re.IGNORECASE,
)
_LONGEST = 300


def find_reason(printed: str) -> str:
    """Return the first line of a program's output with a reason outside the project, or ""."""
    for line in printed.splitlines():
        if _OUTSIDE.search(line):
            return line.strip()[:_LONGEST]
    return ""
