"""Decides who may call a service: keys and their scopes, and the services among themselves.

While there are no keys, everybody may do everything who can reach an address of this machine alone,
or a network that the operator has said to be private. Any other address is listened on only with
keys and TLS. Once there is a key, every call needs one.
"""

from __future__ import annotations

import asyncio
import contextvars
import hmac
import ipaddress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from halftone.core import errors, wire
from halftone.core.keys import Keyring, Scope
from halftone.core.wire import AUTHORIZATION_KEY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from halftone.core.keys import Key
    from halftone.core.quotas import Quota
    from halftone.core.settings import AccessSettings, ServerSettings

NO_KEY: Final = "NO_KEY"
INVALID_KEY: Final = "INVALID_KEY"
MISSING_SCOPE: Final = "MISSING_SCOPE"
OPEN_ADDRESS: Final = "OPEN_ADDRESS"

_LOOPBACK: Final = "127.0.0.1"
ABOUT_SERVICES: Final = "/grpc."
"""What the methods of health and reflection begin with."""
_HEALTH: Final = "/grpc.health."

_SCOPES: Final = {
    "halftone.v1.SearchService": {
        "ImportImages": Scope.IMPORT,
        "GetImage": Scope.READ,
        "ListImages": Scope.READ,
        "UpdateImage": Scope.IMPORT,
        "DeleteImages": Scope.ADMIN,
        "SearchImages": Scope.SEARCH,
        "BatchSearchImages": Scope.SEARCH,
        "CompareImages": Scope.SEARCH,
        "CountFacets": Scope.READ,
        "GetThumbnail": Scope.READ,
        "GetImageRegion": Scope.READ,
    },
    "halftone.v1.ClusterService": {
        "CreateClusterJob": Scope.IMPORT,
        "GetClusterJob": Scope.READ,
        "ListClusterJobs": Scope.READ,
        "CancelClusterJob": Scope.IMPORT,
        "ListClusters": Scope.READ,
        "GetCluster": Scope.READ,
        "ListPairsToJudge": Scope.READ,
        "JudgePair": Scope.JUDGE,
        "ListVerdicts": Scope.READ,
        "DeleteVerdict": Scope.JUDGE,
    },
    "halftone.v1.ModelService": {
        "ListModelVersions": Scope.READ,
        "GetModelVersion": Scope.READ,
        "PromoteModelVersion": Scope.ADMIN,
        "GetPromotion": Scope.READ,
        "WatchPromotion": Scope.READ,
        "CancelPromotion": Scope.ADMIN,
        "RollBackModelVersion": Scope.ADMIN,
        "DeleteModelVersion": Scope.ADMIN,
    },
    "halftone.v1.TrainerService": {
        "CreateTrainingJob": Scope.TRAIN,
        "GetTrainingJob": Scope.TRAIN,
        "ListTrainingJobs": Scope.TRAIN,
        "CancelTrainingJob": Scope.TRAIN,
        "WatchTrainingJob": Scope.TRAIN,
    },
    "halftone.v1.EmbedderService": {
        "EmbedImages": Scope.SEARCH,
        "ListModels": Scope.READ,
    },
}
SCOPES: Final = {
    f"/{service}/{method}": scope
    for service, methods in _SCOPES.items()
    for method, scope in methods.items()
}
"""The scope that each method needs. A method that is not listed needs `ADMIN`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who calls.

    Attributes:
        key_id: The id of the key; empty if no key is needed, or a service of ours calls.
        label: The key's label, or the name that a trusted proxy gave to the page.
        is_service: Whether a service of this installation calls.
        origin: What tells callers without a key apart: the address they call from, and for calls
            from this machine the connection; or the visitor for whom the page calls.
    """

    key_id: str = ""
    label: str = ""
    is_service: bool = False
    origin: str = ""

    @property
    def id(self) -> str:
        """Return what callers are told apart by when they share what there is."""
        return f"key:{self.key_id}" if self.key_id else self.origin


_ANYBODY: Final = Caller()
_caller: contextvars.ContextVar[Caller] = contextvars.ContextVar("caller", default=_ANYBODY)


def current_caller() -> Caller:
    """Return who makes the call that is being answered."""
    return _caller.get()


def group_address(host: str) -> str:
    """Return what stands for an address when callers share: of IPv6 the network of 64 bits.

    Whoever has one address of such a network has all of them.
    """
    try:
        address = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return host
    if address.version == 4:  # noqa: PLR2004 - IPv4
        return str(address)
    mapped = address.ipv4_mapped
    if mapped is not None:
        return str(mapped)
    return str(ipaddress.ip_network((address, 64), strict=False))


def find_origin(peer: str) -> str:
    """Return what tells the peer of a gRPC call apart, as `ServicerContext.peer` names it.

    Args:
        peer: For example `ipv4:127.0.0.1:4711` or `ipv6:[::1]:4711`, perhaps with percent signs.
    """
    host, _, _ = unquote(peer).partition(":")[2].rpartition(":")
    # On this machine everybody has the same address, but a program has few connections.
    return peer if not host or is_loopback(host) else group_address(host)


class Access:
    """Who may call one service."""

    def __init__(
        self, settings: AccessSettings, *, host: str, has_tls: bool = False, has_proxy: bool = False
    ) -> None:
        """Decide by settings. No file is read yet.

        Args:
            settings: Where the keys are, the services' secret, and whether the network is private.
            host: The address on which the service listens.
            has_tls: Whether it speaks TLS there.
            has_proxy: Whether a trusted proxy signs people in. Everybody else needs a key then.
        """
        self._ring = None if settings.keys_file is None else Keyring(settings.keys_file)
        self._looking: asyncio.Future[None] | None = None
        self._service_key = settings.service_key.encode()
        self._host = host
        self._has_tls = has_tls
        self._has_proxy = has_proxy
        self._is_sheltered = settings.private_network or is_loopback(host)
        # What the proxy has not signed in must not be taken for somebody at this machine.
        self._may_be_open = self._is_sheltered and not has_proxy
        self.settings = settings

    async def check_start(self) -> None:
        """Check that the service may listen on its address.

        Raises:
            errors.FailedPrecondition: Everybody who can reach the address could do everything
                (`OPEN_ADDRESS`).
        """
        if self._is_sheltered or self._has_proxy:
            return
        missing = []
        if not await self._has_keys():
            missing.append(
                "keys, without which everybody may do everything (make one with `halftone keys "
                "create`, and name its file in HALFTONE_KEYS_FILE)"
            )
        if not self._has_tls:
            missing.append(
                "a certificate, without which keys and pictures travel in the clear "
                "(HALFTONE_TLS_CERTIFICATE and HALFTONE_TLS_KEY)"
            )
        if not missing:
            return
        raise errors.FailedPrecondition(
            f"Strangers may reach {self._host}. Listening there needs {' and '.join(missing)}. If "
            "nobody but this installation's own services can reach the address, set "
            "HALFTONE_PRIVATE_NETWORK=1.",
            subject=self._host,
            reason=OPEN_ADDRESS,
        )

    def is_open(self, method: str) -> bool:
        """Return whether everybody may call a method, with or without a key."""
        if not method.startswith(ABOUT_SERVICES):
            return False
        is_health = method.startswith(_HEALTH)
        return (self.settings.health if is_health else self.settings.reflection) == "open"

    async def admit(
        self, method: str, metadata: Mapping[str, str | bytes], *, peer: str = ""
    ) -> Caller:
        """Return who makes a gRPC call, and remember it for `current_caller`.

        Args:
            method: The method as gRPC names it, `/package.Service/Method`.
            metadata: The metadata of the call; the key is in `authorization`, behind `Bearer `.
            peer: The other end of its connection, as gRPC names it.

        Raises:
            errors.HalftoneError: As in `authorize`.
        """
        given = metadata.get(AUTHORIZATION_KEY, "")
        caller = await self.authorize(
            given if isinstance(given, str) else given.decode("latin-1"),
            scope=None if method.startswith(ABOUT_SERVICES) else SCOPES.get(method, Scope.ADMIN),
        )
        caller = replace(caller, origin=find_origin(peer))
        if caller.is_service:
            caller = _find_principal(caller, metadata.get(wire.CALLER_KEY, ""))
            await self._refresh()  # for `find_key`
        _caller.set(caller)
        return caller

    async def authorize(self, authorization: str, *, scope: Scope | None) -> Caller:
        """Return who sends an `Authorization` header, if that is enough for a scope.

        Args:
            authorization: The header's value, `Bearer SECRET`; may be empty.
            scope: What the call needs; None: any valid key.

        Raises:
            errors.Unauthenticated: There is no key (`NO_KEY`), or it is not valid (`INVALID_KEY`).
            errors.PermissionDenied: The key does not have the scope (`MISSING_SCOPE`).
            errors.Unavailable: The keys cannot be read.
            errors.DataLoss: The file of keys is damaged.
        """
        kind, _, secret = authorization.strip().partition(" ")
        secret = secret.strip() if kind.lower() == "bearer" else ""
        if self._service_key and hmac.compare_digest(secret.encode(), self._service_key):
            return Caller(is_service=True)
        if self._may_be_open and not await self._has_keys():
            return _ANYBODY
        if not secret:
            raise errors.Unauthenticated(
                "This service needs a key: `authorization: Bearer …` in the metadata. The command "
                "line and the Python client send the one in HALFTONE_KEY.",
                reason=NO_KEY,
            )
        await self._refresh()
        key = None if self._ring is None else self._ring.find(secret)
        if key is None:
            raise errors.Unauthenticated(
                "This key is not known, or it has expired or was revoked.", reason=INVALID_KEY
            )
        if scope is not None and not key.allows(scope):
            raise errors.PermissionDenied(
                f"The key {key.id} does not have the scope {scope}.",
                reason=MISSING_SCOPE,
                metadata={"scope": scope.value, "key": key.id},
            )
        return Caller(key_id=key.id, label=key.label)

    def find_key(self, caller: Caller) -> Key | None:
        """Return the key of a caller, also of one for whom the page calls; None without one."""
        if self._ring is None or not caller.key_id:
            return None
        return self._ring.get(caller.key_id)

    def find_quotas(self, caller: Caller) -> tuple[Quota, ...]:
        """Return what a caller may use: its key's quotas, or those of the settings.

        Services of ours have none unless they call for somebody.
        """
        key = self.find_key(caller)
        if key is not None:
            return key.quotas or self.settings.quotas
        calls_for_itself = caller.is_service and not caller.label
        return () if calls_for_itself else self.settings.quotas

    async def _has_keys(self) -> bool:
        if self._ring is None:
            return False
        await self._refresh()
        return self._ring.has_keys()

    async def _refresh(self) -> None:
        if self._ring is None or not self._ring.is_stale():
            return
        if self._looking is None or self._looking.done():
            self._looking = asyncio.ensure_future(asyncio.to_thread(self._ring.refresh))
        # Handing the look to a thread and back takes tens of milliseconds on a busy machine, for
        # which a refusal should not wait.
        if not self._ring.is_trusted():
            await asyncio.shield(self._looking)


def _find_principal(service: Caller, said: str | bytes) -> Caller:
    """Return for whom a service of ours calls: a visitor of the page, or the service itself."""
    text = said if isinstance(said, str) else said.decode("latin-1")
    visitor, _, label = text.partition(";")
    if not visitor:
        return service
    visitor, label = unquote(visitor), unquote(label)
    kind, _, rest = visitor.partition(":")
    key_id = rest if kind == "key" else ""
    return replace(service, key_id=key_id, label=label, origin=visitor)


def find_metrics_host(settings: ServerSettings, access: AccessSettings) -> str:
    """Return the address on which a service serves its metrics, which anybody there can read."""
    if settings.metrics_host:
        return settings.metrics_host
    return settings.host if access.private_network or is_loopback(settings.host) else _LOOPBACK


def is_loopback(host: str) -> bool:
    """Return whether an address to listen on can be reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
