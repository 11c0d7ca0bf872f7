"""Asks visitors for a key, once this installation has keys.

The page calls the services with the services' own key, which may do everything. It therefore checks
itself what each of its visitors may do. A browser sends its key in a cookie that no script can
read; a program sends it as `Authorization: Bearer SECRET`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from halftone.core import errors
from halftone.core.keys import Scope

if TYPE_CHECKING:
    from starlette.requests import Request

    from halftone.service.access import Access

COOKIE: Final = "halftone_key"
_LONGEST_KEY: Final = 512


@dataclass(frozen=True, kw_only=True)
class Visitor:
    """Who asks for a page.

    Attributes:
        label: The label of the visitor's key, with which verdicts are signed; empty if this
            installation has no keys.
        scopes: What the visitor may do.
    """

    label: str = ""
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


class Visitors:
    """Finds out who visitors are, and what they may do.

    Args:
        access: Knows the keys.
    """

    def __init__(self, access: Access) -> None:
        self._access = access

    async def admit(self, request: Request, *scopes: Scope) -> Visitor:
        """Return who makes a request, if that is enough for all of the scopes.

        Raises:
            errors.Unauthenticated: There is no key, or it is not valid.
            errors.PermissionDenied: The key does not have one of the scopes.
        """
        visitor = await self._identify(_read_key(request))
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
        label = ""
        scopes = set()
        for scope in Scope:
            try:
                caller = await self._access.authorize(authorization, scope=scope)
            except errors.PermissionDenied:
                continue
            label = caller.label
            scopes.add(scope)
        return Visitor(label=label, scopes=frozenset(scopes))


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
