"""`halftone keys`: what is made, what is printed and what is not."""

from __future__ import annotations

import datetime as dt
import json

import pytest
from click.testing import CliRunner

from halftone.cli.app import main
from halftone.cli.keys import describe_state, read_end
from halftone.client import Client
from halftone.core import errors, keys
from halftone.core.keys import Keyring, Scope
from tests.support.client.fake_search import FakeSearch

NOW = dt.datetime(2027, 1, 1, tzinfo=dt.UTC)


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("HALFTONE_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("HALFTONE_KEYS_FILE", raising=False)
    return lambda *arguments: CliRunner().invoke(main, ["keys", *map(str, arguments)])


def test_a_key_is_made_listed_and_revoked(run, tmp_path):
    made = run("create", "Eva \x07", "--scope", "read")
    assert made.exit_code == 2
    made = run("create", "Eva", "--scope", "read", "--scope", "judge", "--expires", "90d")
    assert made.exit_code == 0
    secret = made.stdout.strip()
    file = tmp_path / "data" / "keys.json"
    ring = Keyring(file)
    ring.refresh()
    key = ring.find(secret)
    assert key.scopes == {Scope.READ, Scope.JUDGE}
    listed = run("list")
    assert key.id in listed.output
    assert "valid until" in listed.output
    for output in (listed.output, run("list", "--json").output, made.stderr):
        assert secret not in output
        assert key.sha256 not in output
    assert run("revoke", key.id).exit_code == 0
    ring.refresh()
    assert ring.find(secret) is None
    (shown,) = json.loads(run("list", "--json").output)
    assert shown["state"].startswith("revoked on")
    refused = run("revoke", secret)
    assert refused.exit_code == 1
    assert secret not in refused.output


def test_the_file_may_be_named(run, tmp_path, monkeypatch):
    assert run("create", "Eva", "--scope", "admin", "--file", tmp_path / "k.json").exit_code == 0
    monkeypatch.setenv("HALFTONE_KEYS_FILE", str(tmp_path / "k.json"))
    assert "Eva" in run("list").output
    assert not (tmp_path / "data").exists()


def test_without_a_scope_there_is_no_key(run):
    assert run("create", "Eva").exit_code == 2
    assert run("create", "Eva", "--scope", "fly").exit_code == 2
    assert run("list").output == "There are no keys.\n"


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("90d", dt.datetime(2027, 4, 1, tzinfo=dt.UTC)),
        ("1 Y", dt.datetime(2028, 1, 1, tzinfo=dt.UTC)),
        ("2027-02-03", dt.datetime.combine(dt.date(2027, 2, 3), dt.time.max, tzinfo=dt.UTC)),
    ],
)
def test_when_a_key_ends(text, end):
    assert read_end(text, now=NOW) == end


@pytest.mark.parametrize("text", ["", "soon", "90", "-3d", "2027-13-01", "99999d"])
def test_other_ends_are_refused(text):
    with pytest.raises(errors.InvalidArgument, match="--expires"):
        read_end(text, now=NOW)


def test_the_state_of_a_key_in_words(tmp_path):
    key, _ = keys.create(tmp_path / "keys.json", label="Eva", scopes=[Scope.READ])
    assert describe_state(key) == "valid"


def test_the_client_sends_the_key_with_every_call(monkeypatch):
    with FakeSearch() as fake:
        fake.add("archives/a/images/1")
        monkeypatch.setenv("HALFTONE_KEY", "from-the-environment")
        with Client(fake.address) as client:
            client.get("archives/a/images/1")
        with Client(fake.address, key="given") as client:
            client.get("archives/a/images/1")
            client.import_images([])
        with Client(fake.address, key="") as client:
            client.get("archives/a/images/1")
        sent = [dict(each).get("authorization") for each in fake.metadata]
        assert sent[:2] == ["Bearer from-the-environment", "Bearer given"]
        assert sent[-1] is None
        with pytest.raises(errors.InvalidArgument) as raised:
            Client(fake.address, key="two words")
        assert "two words" not in str(raised.value)
