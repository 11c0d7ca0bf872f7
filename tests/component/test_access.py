"""Keys and mutual TLS: every call and address against every scope, and no secret comes out."""

from __future__ import annotations

import contextlib
import re
import ssl
import time

import grpc
import httpx
import pytest
from google.protobuf import message_factory

from halftone.client import Client
from halftone.core import errors, keys, wire
from halftone.core.keys import Scope
from halftone.core.settings import read_tls_settings
from halftone.core.tls import open_channel
from halftone.service.access import SCOPES
from halftone.stack import local, training
from tests.support import access_table, certificates

SERVICE_KEY = "component-tests-" + "k" * 32


class Guarded:
    """The stack, its keys, and what it was asked with."""

    def __init__(self, data, folder, addresses):
        self.data, self.folder, self.addresses = data, folder, addresses
        self.file = data / keys.FILE_NAME
        self.secrets = {
            scope: keys.create(self.file, label=f"only {scope}", scopes=[scope]) for scope in Scope
        }
        self.said: list[str] = []

    def address_of(self, path):
        service = path.split("/")[1].rpartition(".")[2]
        return {
            "EmbedderService": self.addresses.embedder,
            "TrainerService": self.addresses.trainer,
        }.get(service, self.addresses.search)

    def call(self, path, method, secret):
        """Call a method with an empty message; return the status, `OK` if it is answered."""
        request = message_factory.GetMessageClass(method.input_type)
        answer = message_factory.GetMessageClass(method.output_type)
        kind = f"{'stream' if method.client_streaming else 'unary'}_" + (
            "stream" if method.server_streaming else "unary"
        )
        with open_channel(
            self.address_of(path), tls=read_tls_settings(), options=wire.CHANNEL_OPTIONS
        ) as channel:
            stub = getattr(channel, kind)(
                path,
                request_serializer=request.SerializeToString,
                response_deserializer=answer.FromString,
            )
            sent = iter([request()]) if method.client_streaming else request()
            try:
                answered = stub(sent, timeout=60, metadata=wire.make_authorization(secret))
                if method.server_streaming:
                    next(answered, None)
                    answered.cancel()
            except grpc.RpcError as failure:
                self.said.append(str(failure))
                return failure.code().name
        return "OK"

    def browse(self, verb, path, secret):
        """Call an address of the page; return the status and the page."""
        path = path.replace("{token}", "a" * 32).replace("{id}", "0")
        with httpx.Client(
            base_url=f"https://{self.addresses.page}",
            verify=ssl.create_default_context(cafile=self.folder / "ca.pem"),
            timeout=120,
        ) as browser:
            token = re.search(r'name="token" value="([0-9a-f]+)"', browser.get("/sign-in").text)[1]
            headers = {"authorization": f"Bearer {secret}"} if secret else {}
            answer = browser.request(
                verb, path, headers=headers, data={"token": token} if verb == "POST" else None
            )
            self.said.append(answer.text)
            return answer.status_code, answer.text


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    certificates.make(folder, "halftone")
    data = tmp_path_factory.mktemp("guarded") / "data"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HALFTONE_TLS_CERTIFICATE", str(folder / "halftone.pem"))
        patch.setenv("HALFTONE_TLS_KEY", str(folder / "halftone.key"))
        patch.setenv("HALFTONE_TLS_CA", str(folder / "ca.pem"))
        patch.setenv("HALFTONE_TLS_REQUIRE_CERTIFICATES", "1")
        patch.setenv("HALFTONE_SERVICE_KEY", SERVICE_KEY)
        patch.setenv("HALFTONE_HEALTH", "key")
        patch.setenv("HALFTONE_REFLECTION", "key")
        with local.LocalStack(
            data,
            ports=local.Ports.any_free(),
            report=print,
            training=training.Training(),
            with_page=True,
        ) as running:
            made = Guarded(data, folder, running.addresses)
            end = time.monotonic() + 120
            for address in (running.addresses.trainer, running.addresses.page):
                assert address
            while True:
                with contextlib.suppress(httpx.TransportError):
                    if made.browse("GET", "/images", made.secrets[Scope.READ][1])[0] == 200:
                        break
                assert time.monotonic() < end
                time.sleep(0.2)
            yield made


def test_every_call_is_open_to_its_scope_only(guarded):
    wrong = []
    for path, method in access_table.list_methods():
        needed = SCOPES[path]
        for scope, (_, secret) in guarded.secrets.items():
            code = guarded.call(path, method, secret)
            is_open = scope in {needed, Scope.ADMIN}
            if (code == "PERMISSION_DENIED") is is_open or code == "UNAUTHENTICATED":
                wrong.append((path, scope, code))
        if guarded.call(path, method, "") != "UNAUTHENTICATED":
            wrong.append((path, "no key"))
    assert not wrong


def test_every_address_of_the_page_is_open_to_its_scopes_only(guarded):
    wrong = []
    for verb, path, needed in access_table.list_addresses():
        for scope, (_, secret) in guarded.secrets.items():
            status, text = guarded.browse(verb, path, secret)
            is_open = scope is Scope.ADMIN or needed <= {scope}
            lacks = status == 403 and "scope" in text
            if lacks is is_open and not (path == "/work/cancel" and lacks):
                wrong.append((verb, path, scope, status))
        if guarded.browse(verb, path, "")[0] != 401:
            wrong.append((verb, path, "no key"))
    assert not wrong


def test_a_revoked_key_is_refused_by_every_process_within_a_second(guarded):
    key, secret = keys.create(guarded.file, label="Eva", scopes=[Scope.ADMIN])
    methods = dict(access_table.list_methods())
    paths = [
        "/halftone.v1.SearchService/ListImages",
        "/halftone.v1.EmbedderService/ListModels",
        "/halftone.v1.TrainerService/ListTrainingJobs",
    ]

    def states():
        codes = [guarded.call(path, methods[path], secret) for path in paths]
        return [*codes, guarded.browse("GET", "/images", secret)[0]]

    end = time.monotonic() + 30
    while states() != ["OK", "OK", "OK", 200]:
        assert time.monotonic() < end
    keys.revoke(guarded.file, key.id)
    time.sleep(1.0)
    assert states() == ["UNAUTHENTICATED"] * 3 + [401]


def test_the_client_works_with_certificates_and_keys_of_the_environment(guarded, monkeypatch):
    monkeypatch.setenv("HALFTONE_KEY", guarded.secrets[Scope.READ][1])
    with Client(guarded.addresses.search) as client:
        assert list(client.list()) == []
        with pytest.raises(errors.PermissionDenied):
            client.delete(["archives/a/images/1"])


def test_no_secret_is_in_a_log_a_listing_or_an_error(guarded):
    secrets = [SERVICE_KEY, *(secret for _, secret in guarded.secrets.values())]
    # The other tests may run later.
    delete = "/halftone.v1.SearchService/DeleteImages"
    guarded.call(delete, dict(access_table.list_methods())[delete], guarded.secrets[Scope.ADMIN][1])
    # The caller has its answer a moment before that is written down.
    audit = guarded.data / "audit.jsonl"
    ends = time.monotonic() + 60
    while not (audit.exists() and "DeleteImages" in audit.read_text()):
        assert time.monotonic() < ends
        time.sleep(0.05)
    logs = [*guarded.data.glob("logs/*"), *guarded.data.glob("*.json*")]
    assert len(logs) > 5
    written = {path.name: path.read_text(errors="replace") for path in logs}
    assert "DeleteImages" in written["audit.jsonl"]
    assert "only admin" in written["audit.jsonl"]
    assert "Health/Check" not in written["audit.jsonl"]
    for secret in secrets:
        # Neither as a whole nor its random part.
        for text in (secret, secret.rpartition("_")[2]):
            assert not [name for name, content in written.items() if text in content]
            assert not [said for said in guarded.said if text in said]
