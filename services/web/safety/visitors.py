"""Asks visitors for a key, once this installation has keys, or takes a trusted proxy's word.

The page calls the services with the services' own key, which may do everything. It therefore checks
itself what each of its visitors may do. A browser sends its key in a cookie that no script can
read; a program sends it as `Authorization: Bearer SECRET`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from halftone.core import errors
from halftone.core.keys import MAX_LABEL, Scope
from halftone.service.access import group_address, is_loopback
from halftone.services.web.safety.forms import COOKIE as COOKIE_OF_BROWSER

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network

    from starlette.requests import Request

    from halftone.service.access import Access

COOKIE: Final = "halftone_key"
_LONGEST_KEY: Final = 512


@dataclass(frozen=True, kw_only=True)
class Visitor:
    """Who asks for a page.

    Attributes:
        label: The label of the visitor's key, or the name that the proxy gives; verdicts are signed
            with it. Empty if this installation has no keys.
        id: What the visitor is told apart by: the id of the key, the name, or the address.
        scopes: What the visitor may do.
    """

    label: str = ""
    id: str = ""
    scopes: frozenset[Scope] = frozenset()

    def may(self, scope: Scope | str) -> bool:
        """Return whether the visitor has a scope."""
        return Scope(scope) in self.scopes

    def check(self, scope: Scope) -> None:
        """Check that the visitor has a scope.

        Raises:
            errors.PermissionDenied: That is not so.
        """
        if scope not in self.scopes:
            raise errors.PermissionDenied(
                f"Your key does not allow this: it lacks the scope {scope}.",
                reason="MISSING_SCOPE",
                metadata={"scope": scope.value},
            )


ANYBODY: Final = Visitor(scopes=frozenset(Scope))
"""A visitor while there are no keys."""


@dataclass(frozen=True, kw_only=True)
class Proxy:
    """A proxy that has signed people in.

    Attributes:
        networks: From where it calls.
        header: The header in which it names the person.
        scopes: What those people may do.
    """

    networks: tuple[IPv4Network | IPv6Network, ...]
    header: str
    scopes: frozenset[Scope]

    def identify(self, request: Request) -> Visitor | None:
        """Return whom the proxy has signed in; None if it did not hand the request on.

        Raises:
            errors.Unauthenticated: It names nobody, or several.
        """
        if not self._calls(request):
            return None
        names = request.headers.getlist(self.header)
        if not names:
            return None
        name = names[0].strip()
        # Two headers, one of which came from outside, must not be a choice.
        if len(names) > 1 or not 0 < len(name) <= MAX_LABEL or not name.isprintable():
            raise errors.Unauthenticated(
                "The proxy before this page does not say who you are.", reason="PROXY_USER"
            )
        return Visitor(label=name, id=f"user:{name}", scopes=self.scopes)

    def _calls(self, request: Request) -> bool:
        try:
            address = ip_address(request.client.host if request.client else "")
        except ValueError:
            return False
        # A socket that listens on both families shows IPv4 addresses as IPv6.
        mapped = getattr(address, "ipv4_mapped", None) or address
        return any(mapped in network for network in self.networks)


class Visitors:
    """Finds out who visitors are, and what they may do.

    Args:
        access: Knows the keys.
        proxy: Signs people in; None: nobody does.
    """

    def __init__(self, access: Access, *, proxy: Proxy | None = None) -> None:
        self._access = access
        self._proxy = proxy

    async def admit(self, request: Request, *scopes: Scope) -> Visitor:
        """Return who makes a request, if that is enough for all of the scopes.

        Raises:
            errors.Unauthenticated: There is no key, or it is not valid.
            errors.PermissionDenied: The key does not have one of the scopes.
        """
        visitor = self._proxy.identify(request) if self._proxy else None
        if visitor is None:
            visitor = await self._identify(_read_key(request))
        if not visitor.id:
            visitor = replace(visitor, id=_find_origin(request))
        for scope in scopes:
            visitor.check(scope)
        return visitor

    async def sign_in(self, key: str) -> Visitor:
        """Return who has a key.

        Raises:
            errors.Unauthenticated: There is no key, or it is not valid.
        """
        return await self._identify(f"Bearer {key[:_LONGEST_KEY]}")

    async def _identify(self, authorization: str) -> Visitor:
        label = key_id = ""
        scopes = set()
        for scope in Scope:
            try:
                caller = await self._access.authorize(authorization, scope=scope)
            except errors.PermissionDenied:
                continue
            label, key_id = caller.label, caller.key_id
            scopes.add(scope)
        return Visitor(label=label, id=key_id and f"key:{key_id}", scopes=frozenset(scopes))


def _find_origin(request: Request) -> str:
    """Return what tells visitors without keys apart: their addresses, or here their browsers."""
    host, port = request.client or ("", 0)
    if not is_loopback(host):
        return group_address(host)
    is_known = COOKIE_OF_BROWSER in request.cookies
    return f"browser:{request.scope['halftone.browser']}" if is_known else f"{host}:{port}"


def _read_key(request: Request) -> str:
    """Return the value of an `Authorization` header, made of the cookie if there is none."""
    header = request.headers.get("authorization", "")
    cookie = request.cookies.get(COOKIE, "")
    if header or not cookie:
        return header
    return f"Bearer {cookie[:_LONGEST_KEY]}"


def make_local_address(address: str) -> str:
    """Return an address if it leads to this page, otherwise `/`.

    It comes from a form and may name another site.
    """
    try:
        parts = urlsplit(address)
    except ValueError:
        return "/"
    is_local = not parts.scheme and not parts.netloc and address.startswith("/")
    # Browsers take a backslash for a slash, and leave control characters out.
    if not is_local or address.startswith("//") or not _is_plain(address):
        return "/"
    return address


def _is_plain(address: str) -> bool:
    return "\\" not in address and all(letter > " " for letter in address)
