"""Which scope opens which call and which address, as a table for docs/access.md."""

from __future__ import annotations

from halftone.core.keys import Scope
from halftone.service.access import SCOPES
from halftone.services.web.app import ROUTES, GuardedRoute
from halftone.v1 import clusters_pb2, embedder_pb2, models_pb2, search_pb2, trainer_pb2

CONTRACTS = (search_pb2, clusters_pb2, models_pb2, trainer_pb2, embedder_pb2)
OPEN = {"/sign-in", "/sign-out", "/static/{version}/{name:path}", "/healthz"}
"""Addresses that show nothing of the archive."""


def list_methods():
    """Yield each method of the contracts, as gRPC names it, and its descriptor."""
    for contract in CONTRACTS:
        for service in contract.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                yield f"/{service.full_name}/{method.name}", method


def list_addresses():
    """Yield the method, path and scopes of each address of the page that asks for scopes."""
    for route in ROUTES:
        if isinstance(route, GuardedRoute):
            yield ("POST" if "POST" in route.methods else "GET"), route.path, set(route.scopes)


def draw():
    """The table, in Markdown."""
    rows = [
        (f"`{path.removeprefix('/halftone.v1.')}`", {SCOPES[path]}) for path, _ in list_methods()
    ]
    rows += [(f"`{verb} {path}`", scopes) for verb, path, scopes in list_addresses()]
    lines = [f"| | {' | '.join(Scope)} |", "|---|" + ":-:|" * len(Scope)]
    for name, scopes in rows:
        marks = [
            "+" if scope is Scope.ADMIN or scopes == {scope} else "(+)" if scope in scopes else ""
            for scope in Scope
        ]
        lines.append(f"| {name} | {' | '.join(marks)} |")
    return "\n".join(lines) + "\n"
