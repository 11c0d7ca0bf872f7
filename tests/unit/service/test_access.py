"""Who may call a service: every method has a scope, and every call is checked."""

from __future__ import annotations

import pytest

from halftone.core import errors, keys
from halftone.core.keys import Scope
from halftone.core.settings import AccessSettings
from halftone.service.access import (
    INVALID_KEY,
    MISSING_SCOPE,
    NO_KEY,
    OPEN_ADDRESS,
    SCOPES,
    Access,
    current_caller,
    find_origin,
    is_loopback,
)
from halftone.v1 import clusters_pb2, embedder_pb2, models_pb2, search_pb2, trainer_pb2

CONTRACTS = (clusters_pb2, embedder_pb2, models_pb2, search_pb2, trainer_pb2)
SERVICE_KEY = "s" * 32
GET = "/halftone.v1.SearchService/GetImage"


@pytest.fixture
def file(tmp_path):
    return tmp_path / "keys.json"


def make_access(file=None, *, host="127.0.0.1", has_tls=False, has_proxy=False, **settings):
    return Access(
        AccessSettings(keys_file=file, **settings), host=host, has_tls=has_tls, has_proxy=has_proxy
    )


def bearer(secret):
    return {"authorization": f"Bearer {secret}"}


def test_every_method_of_every_contract_has_a_scope():
    methods = {
        f"/{service.full_name}/{method.name}"
        for contract in CONTRACTS
        for service in contract.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    assert set(SCOPES) == methods


@pytest.mark.parametrize("method", [*sorted(SCOPES), "/halftone.v1.SearchService/Later"])
async def test_a_key_calls_what_its_scopes_allow(file, method):
    """A method that is not listed needs the scope of everything."""
    needed = SCOPES.get(method, Scope.ADMIN)
    secrets = {
        scope: keys.create(file, label=scope, scopes=[scope])[1] for scope in (needed, *Scope)
    }
    access = make_access(file)
    for scope, secret in secrets.items():
        if scope in {needed, Scope.ADMIN}:
            assert (await access.admit(method, bearer(secret))).label == scope
            assert current_caller().label == scope
            continue
        with pytest.raises(errors.PermissionDenied) as raised:
            await access.admit(method, bearer(secret))
        assert raised.value.reason == MISSING_SCOPE
        assert raised.value.metadata["scope"] == needed


async def test_without_keys_loopback_is_open_until_the_first_key(file):
    access = make_access(file)
    await access.check_start()
    assert (await access.admit(GET, bearer("anything"))).label == ""
    _, secret = keys.create(file, label="Eva", scopes=[Scope.READ])
    access._ring.refresh()
    for metadata, reason in (
        ({}, NO_KEY),
        ({"authorization": secret}, NO_KEY),
        ({"authorization": f"Basic {secret}"}, NO_KEY),
        (bearer("anything"), INVALID_KEY),
        (bearer(secret + "x"), INVALID_KEY),
    ):
        with pytest.raises(errors.Unauthenticated) as raised:
            await access.admit(GET, metadata)
        assert raised.value.reason == reason
        assert secret not in str(raised.value)
    assert (await access.admit(GET, {"authorization": f"bearer  {secret} "})).label == "Eva"


async def test_a_revoked_key_opens_nothing_though_it_was_the_only_one(file):
    key, secret = keys.create(file, label="Eva", scopes=[Scope.READ])
    access = make_access(file)
    assert (await access.admit(GET, bearer(secret))).key_id == key.id
    keys.revoke(file, key.id)
    access._ring.refresh()
    for metadata in ({}, bearer(secret)):
        with pytest.raises(errors.Unauthenticated):
            await access.admit(GET, metadata)


async def test_a_damaged_file_of_keys_lets_nobody_in(file):
    _, secret = keys.create(file, label="Eva", scopes=[Scope.ADMIN])
    file.write_text("{")
    access = make_access(file)
    for metadata in ({}, bearer(secret)):
        with pytest.raises(errors.DataLoss):
            await access.admit(GET, metadata)
    with pytest.raises(errors.DataLoss):
        await make_access(file, host="0.0.0.0", has_tls=True).check_start()  # noqa: S104


async def test_the_services_of_an_installation_call_each_other(file):
    keys.create(file, label="Eva", scopes=[Scope.READ])
    access = make_access(file, service_key=SERVICE_KEY)
    caller = await access.admit("/halftone.v1.SearchService/DeleteImages", bearer(SERVICE_KEY))
    assert caller.is_service
    with pytest.raises(errors.Unauthenticated):
        await access.admit(GET, bearer("s" * 31))
    with pytest.raises(errors.Unauthenticated):
        await make_access(file).admit(GET, bearer(""))


@pytest.mark.parametrize("key", ["short", "s" * 31, "s" * 40 + " ", "ü" * 40])
def test_a_weak_secret_of_the_services_is_refused_and_not_repeated(key):
    with pytest.raises(ValueError, match="32 characters") as raised:
        AccessSettings(service_key=key)
    from halftone.core.settings import explain_invalid  # noqa: PLC0415  # as the services do

    assert key not in explain_invalid(raised.value)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "[::]", "192.168.1.5", "archive.example"])  # noqa: S104
async def test_an_address_that_others_reach_needs_keys_and_tls_or_a_private_network(file, host):
    with pytest.raises(errors.FailedPrecondition) as raised:
        await make_access(file, host=host).check_start()
    assert raised.value.reason == OPEN_ADDRESS
    assert "HALFTONE_PRIVATE_NETWORK" in raised.value.message
    private = make_access(file, host=host, private_network=True)
    await private.check_start()
    await private.admit(GET, {})
    keys.create(file, label="Eva", scopes=[Scope.READ])
    with pytest.raises(errors.FailedPrecondition):
        await make_access(file, host=host).check_start()
    access = make_access(file, host=host, has_tls=True)
    await access.check_start()
    # Without its file it does not become open.
    file.unlink()
    access._ring.refresh()
    with pytest.raises(errors.Unauthenticated):
        await access.admit(GET, {})


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost"])
def test_loopback_is_what_this_machine_alone_reaches(host):
    assert is_loopback(host)


async def test_with_a_proxy_who_does_not_come_through_it_needs_a_key(file):
    for host in ("127.0.0.1", "192.168.1.5"):
        access = make_access(file, host=host, has_proxy=True)
        await access.check_start()
        with pytest.raises(errors.Unauthenticated):
            await access.authorize("Bearer anything", scope=Scope.READ)


async def test_a_service_says_for_whom_it_calls_and_nobody_else_can(file):
    key, secret = keys.create(file, label="Eva", scopes=[Scope.READ])
    access = make_access(file, service_key=SERVICE_KEY)
    visitor = {"x-halftone-caller": "user:f%40x.org;M%C3%BCller; Jean"}
    by_page = await access.admit(GET, {**bearer(SERVICE_KEY), **visitor})
    assert (by_page.id, by_page.label, by_page.is_service) == ("user:f@x.org", "Müller; Jean", True)
    with_key = {"x-halftone-caller": f"key:{key.id};Eva"}
    by_key = await access.admit(GET, {**bearer(SERVICE_KEY), **with_key})
    assert by_key.id == f"key:{key.id}"
    assert access.find_key(by_key).label == "Eva"
    by_herself = await access.admit(GET, {**bearer(secret), **visitor})
    assert (by_herself.id, by_herself.label) == (f"key:{key.id}", "Eva")


@pytest.mark.parametrize(
    ("peer", "origin"),
    [
        ("ipv4:192.0.2.7:4711", "192.0.2.7"),
        ("ipv6:[2001:db8:1:2:3:4:5:6]:4711", "2001:db8:1:2::/64"),
        ("ipv6:%5B2001:db8:1:2::9%5D:4711", "2001:db8:1:2::/64"),
        ("ipv6:[::ffff:192.0.2.7]:1", "192.0.2.7"),
        ("ipv4:127.0.0.1:4711", "ipv4:127.0.0.1:4711"),
        ("unix:/run/halftone.sock", "unix:/run/halftone.sock"),
        ("", ""),
    ],
)
def test_callers_without_keys_are_told_apart_by_address_and_here_by_connection(peer, origin):
    assert find_origin(peer) == origin
