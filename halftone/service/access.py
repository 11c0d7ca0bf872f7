"""Decides who may call a service: keys and their scopes, and the services among themselves.

While there are no keys, everybody may do everything who can reach an address of this machine alone,
or a network that the operator has said to be private; no other address is listened on. Once there
is a key, every call needs one.
"""

from __future__ import annotations

import asyncio
import contextvars
import hmac
import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from halftone.core import errors
from halftone.core.keys import Keyring, Scope
from halftone.core.wire import AUTHORIZATION_KEY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from halftone.core.settings import AccessSettings

NO_KEY: Final = "NO_KEY"
INVALID_KEY: Final = "INVALID_KEY"
MISSING_SCOPE: Final = "MISSING_SCOPE"
OPEN_ADDRESS: Final = "OPEN_ADDRESS"

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
        label: The key's label.
        is_service: Whether a service of this installation calls.
    """

    key_id: str = ""
    label: str = ""
    is_service: bool = False


_ANYBODY: Final = Caller()
_caller: contextvars.ContextVar[Caller] = contextvars.ContextVar("caller", default=_ANYBODY)


def current_caller() -> Caller:
    """Return who makes the call that is being answered."""
    return _caller.get()


class Access:
    """Who may call one service."""

    def __init__(self, settings: AccessSettings, *, host: str) -> None:
        """Decide by settings. No file is read yet.

        Args:
            settings: Where the keys are, the services' secret, and whether the network is private.
            host: The address on which the service listens.
        """
        self._ring = None if settings.keys_file is None else Keyring(settings.keys_file)
        self._service_key = settings.service_key.encode()
        self._host = host
        self._may_be_open = settings.private_network or is_loopback(host)

    async def check_start(self) -> None:
        """Check that the service may listen on its address.

        Raises:
            errors.FailedPrecondition: Everybody who can reach the address could do everything
                (`OPEN_ADDRESS`).
        """
        if self._may_be_open or await self._has_keys():
            return
        raise errors.FailedPrecondition(
            f"Without keys, everybody who can reach {self._host} could do everything. Make a key "
            "(`halftone keys create`) and name its file in HALFTONE_KEYS_FILE; or, if nobody but "
            "this installation's own services can reach the address, set "
            "HALFTONE_PRIVATE_NETWORK=1.",
            subject=self._host,
            reason=OPEN_ADDRESS,
        )

    async def admit(self, method: str, metadata: Mapping[str, str | bytes]) -> Caller:
        """Return who makes a gRPC call, and remember it for `current_caller`.

        Args:
            method: The method as gRPC names it, `/package.Service/Method`.
            metadata: The metadata of the call; the key is in `authorization`, behind `Bearer `.

        Raises:
            errors.HalftoneError: As in `authorize`.
        """
        given = metadata.get(AUTHORIZATION_KEY, "")
        caller = await self.authorize(
            given if isinstance(given, str) else given.decode("latin-1"),
            scope=SCOPES.get(method, Scope.ADMIN),
        )
        _caller.set(caller)
        return caller

    async def authorize(self, authorization: str, *, scope: Scope) -> Caller:
        """Return who sends an `Authorization` header, if that is enough for a scope.

        Args:
            authorization: The header's value, `Bearer SECRET`; may be empty.
            scope: What the call needs.

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
        if not key.allows(scope):
            raise errors.PermissionDenied(
                f"The key {key.id} does not have the scope {scope}.",
                reason=MISSING_SCOPE,
                metadata={"scope": scope.value, "key": key.id},
            )
        return Caller(key_id=key.id, label=key.label)

    async def _has_keys(self) -> bool:
        if self._ring is None:
            return False
        await self._refresh()
        return self._ring.has_keys()

    async def _refresh(self) -> None:
        if self._ring is not None and self._ring.is_stale():
            await asyncio.to_thread(self._ring.refresh)


def is_loopback(host: str) -> bool:
    """Return whether an address to listen on can be reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
