"""TLS on a real server: who is trusted, who has to show a certificate, and renewed certificates."""

from __future__ import annotations

import asyncio
import ssl

import grpc
import pytest

from halftone.client import AsyncClient, RetryPolicy
from halftone.core import errors, keys
from halftone.core.keys import Scope
from halftone.core.settings import AccessSettings, TlsSettings
from halftone.core.tls import open_aio_channel
from halftone.service import probe
from halftone.service.access import OPEN_ADDRESS
from halftone.service.certificates import ServerCertificate, read_server_certificate
from halftone.v1 import embedder_pb2, embedder_pb2_grpc
from tests.support import certificates
from tests.support.served import Running


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("tls")
    certificates.make(made, "embedder", "search")
    return made


async def ask(address, tls, *, metadata=()):
    """List the models of a server, over a connection of its own."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with open_aio_channel(address, tls=tls, options=options) as channel:
        stub = embedder_pb2_grpc.EmbedderServiceStub(channel)
        return await stub.ListModels(
            embedder_pb2.ListModelsRequest(), timeout=30, metadata=metadata
        )


async def refusal_of(address, tls):
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await ask(address, tls)
    return raised.value.details()


async def test_who_trusts_the_authority_is_answered_and_nobody_else(folder, tmp_path):
    certificates.make(tmp_path, "embedder")
    async with Running(tls=certificates.settings(folder, "embedder")) as running:
        await ask(running.address, TlsSettings(ca=folder / "ca.pem"))
        assert "CERTIFICATE_VERIFY_FAILED" in await refusal_of(
            running.address, TlsSettings(ca=tmp_path / "ca.pem")
        )
        await refusal_of(running.address, TlsSettings())
        await refusal_of(running.address, TlsSettings(ca="system"))


async def test_another_name_is_refused_unless_it_is_expected(folder):
    async with Running(tls=certificates.settings(folder, "embedder")) as running:
        wrong = TlsSettings(ca=folder / "ca.pem", server_name="archive.example")
        await refusal_of(running.address, wrong)
        await ask(running.address, TlsSettings(ca=folder / "ca.pem", server_name="embedder"))


async def test_mutual_tls_asks_callers_for_a_certificate_of_the_authority(folder, tmp_path):
    certificates.make(tmp_path, "search")
    tls = certificates.settings(folder, "embedder", require_certificates=True)
    async with Running(tls=tls) as running:
        await ask(running.address, certificates.settings(folder, "search"))
        await refusal_of(running.address, TlsSettings(ca=folder / "ca.pem"))
        foreign = certificates.settings(tmp_path, "search")
        await refusal_of(running.address, foreign.model_copy(update={"ca": folder / "ca.pem"}))


async def test_a_renewed_certificate_counts_without_a_restart_and_a_broken_one_does_not(tmp_path):
    certificates.make(tmp_path, "embedder")

    async def serial():
        """Return the serial number of the certificate that a new connection sees."""
        _, writer = await asyncio.open_connection(
            "127.0.0.1", running.port, ssl=context, server_hostname="localhost"
        )
        seen = writer.get_extra_info("peercert")["serialNumber"]
        writer.close()
        return seen

    async with Running(tls=certificates.settings(tmp_path, "embedder")) as running:
        context = ssl.create_default_context(cafile=tmp_path / "ca.pem")
        context.set_alpn_protocols(["h2"])
        first = await serial()
        (tmp_path / "embedder.pem").write_text("half of a cert")
        assert await serial() == first
        certificates.make(tmp_path, "embedder")
        assert await serial() != first
        await ask(running.address, TlsSettings(ca=tmp_path / "ca.pem"))


async def test_a_context_for_the_page_follows_its_files(tmp_path):
    certificates.make(tmp_path, "web")
    certificate = ServerCertificate(tmp_path / "web.pem", tmp_path / "web.key")
    context = certificate.make_context()
    certificate.refresh(context)

    async def close(_reader, writer):
        writer.close()

    server = await asyncio.start_server(close, "127.0.0.1", 0, ssl=context)
    trusting = ssl.create_default_context(cafile=tmp_path / "ca.pem")

    async def serial():
        _, writer = await asyncio.open_connection(
            "127.0.0.1",
            server.sockets[0].getsockname()[1],
            ssl=trusting,
            server_hostname="localhost",
        )
        seen = writer.get_extra_info("peercert")["serialNumber"]
        writer.close()
        return seen

    async with server:
        first = await serial()
        certificates.make(tmp_path, "web")
        certificate.refresh(context)
        assert await serial() != first


@pytest.mark.parametrize("missing", ["certificate", "key"])
def test_a_certificate_and_its_key_belong_together(folder, tmp_path, missing):
    tls = certificates.settings(folder, "embedder")
    with pytest.raises(ValueError, match="together"):
        TlsSettings(**{**tls.model_dump(), missing: None})
    with pytest.raises(errors.FailedPrecondition) as raised:
        read_server_certificate(tls.model_copy(update={missing: tmp_path / "none.pem"}))
    assert raised.value.reason == "TLS"
    other = {"certificate": folder / "search.pem", "key": folder / "search.key"}
    with pytest.raises(errors.FailedPrecondition, match="cannot be used"):
        read_server_certificate(tls.model_copy(update={missing: other[missing]}))


def test_mutual_tls_needs_an_authority(folder):
    tls = certificates.settings(folder, "embedder").model_dump()
    for ca in (None, "system"):
        with pytest.raises(ValueError, match="authorities"):
            TlsSettings(**{**tls, "ca": ca, "require_certificates": True})


async def test_strangers_reach_a_service_only_with_keys_and_tls(folder, tmp_path):
    file = tmp_path / "keys.json"
    access = AccessSettings(keys_file=file)
    tls = certificates.settings(folder, "embedder")
    anywhere = "0.0.0.0"  # noqa: S104

    async def refuse(**given):
        with pytest.raises(errors.FailedPrecondition) as raised:
            async with Running(host=anywhere, access=access, **given):
                pass
        assert raised.value.reason == OPEN_ADDRESS
        return raised.value.message

    assert "HALFTONE_TLS_CERTIFICATE" in await refuse()
    message = await refuse(tls=tls)
    assert "halftone keys create" in message
    assert "HALFTONE_TLS_CERTIFICATE" not in message
    _, secret = keys.create(file, label="Eva", scopes=[Scope.READ])
    message = await refuse()
    assert "HALFTONE_TLS_CERTIFICATE" in message
    assert "halftone keys create" not in message
    async with Running(host=anywhere, access=access, tls=tls) as running:
        bearer = (("authorization", f"Bearer {secret}"),)
        await ask(running.address, TlsSettings(ca=folder / "ca.pem"), metadata=bearer)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await ask(running.address, TlsSettings(ca=folder / "ca.pem"))
        assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_the_client_and_the_probe_take_certificates_from_the_environment(folder, monkeypatch):
    tls = certificates.settings(folder, "embedder", require_certificates=True)
    async with Running(tls=tls) as running:
        assert not await asyncio.to_thread(probe.is_serving, running.address)
        monkeypatch.setenv("HALFTONE_TLS_CA", str(folder / "ca.pem"))
        monkeypatch.setenv("HALFTONE_TLS_CERTIFICATE", str(folder / "search.pem"))
        monkeypatch.setenv("HALFTONE_TLS_KEY", str(folder / "search.key"))
        assert await asyncio.to_thread(probe.is_serving, running.address)
        async with AsyncClient(embedder=running.address) as client:
            assert await client.models() == ()
        monkeypatch.delenv("HALFTONE_TLS_CERTIFICATE")
        monkeypatch.delenv("HALFTONE_TLS_KEY")
        once = RetryPolicy(attempts=1)
        async with AsyncClient(embedder=running.address, retries=once) as client:
            with pytest.raises(errors.Unavailable):
                await client.models()
        async with AsyncClient(
            embedder=running.address,
            certificate=folder / "search.pem",
            certificate_key=folder / "search.key",
        ) as client:
            assert await client.models() == ()


async def test_health_and_reflection_ask_for_a_key_where_the_settings_say_so(tmp_path):
    file = tmp_path / "keys.json"
    _, secret = keys.create(file, label="Probe", scopes=[Scope.READ])
    access = AccessSettings(keys_file=file, health="key", reflection="key")
    async with Running(access=access, max_concurrent_calls=1) as running:

        async def is_serving(**given):
            return await asyncio.to_thread(probe.is_serving, running.address, **given)

        assert not await is_serving()
        assert await is_serving(key=secret)
        assert not await is_serving(key=secret + "x")
    async with Running(access=AccessSettings(keys_file=file)) as running:
        assert await is_serving()


async def test_a_client_is_told_what_is_wrong_with_tls(folder, tmp_path):
    certificates.make(tmp_path, "embedder")
    own = {"certificate": folder / "search.pem", "certificate_key": folder / "search.key"}

    async def problem(address, **given):
        once = RetryPolicy(attempts=1)
        async with AsyncClient(embedder=address, retries=once, **given) as client:
            with pytest.raises(errors.Unavailable) as raised:
                await client.models()
        assert raised.value.reason == "TLS_TROUBLE"
        assert address in raised.value.message
        return raised.value.message

    tls = certificates.settings(folder, "embedder", require_certificates=True)
    async with Running(tls=tls) as running:
        address = running.address
        assert "HALFTONE_TLS_CA" in await problem(address)
        assert "_CERTIFICATE" in await problem(address, ca=folder / "ca.pem")
        assert "not trusted" in await problem(address, ca=tmp_path / "ca.pem", **own)
    async with Running() as running:
        assert "does not speak TLS" in await problem(running.address, ca=folder / "ca.pem")
