"""Keys: made, stored as hashes, revoked, and read again when their file changes."""

from __future__ import annotations

import datetime as dt
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from halftone.core import errors, keys
from halftone.core.keys import Keyring, Scope

NOW = dt.datetime.now(dt.UTC)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "data" / "keys.json"


def make(file, *, label="Eva", scopes=(Scope.READ,), **fields):
    return keys.create(file, label=label, scopes=scopes, **fields)


def ring_of(file):
    ring = Keyring(file)
    ring.refresh()
    return ring


def test_a_key_is_found_by_its_secret_alone(file):
    key, secret = make(file, scopes=[Scope.READ, Scope.JUDGE])
    ring = ring_of(file)
    assert ring.find(secret) == key
    assert key.allows(Scope.JUDGE)
    assert not key.allows(Scope.ADMIN)
    for wrong in ("", secret[:-1], secret + "x", secret.upper(), key.sha256, "ü", key.id):
        assert ring.find(wrong) is None


def test_secrets_are_random_and_stored_nowhere(file):
    made = [make(file)[1] for _ in range(3)]
    assert len({secret.rpartition("_")[2] for secret in made}) == 3
    assert all(len(secret) >= 43 + len("halftone_") for secret in made)
    everything = b"".join(
        path.read_bytes() for path in file.parent.rglob("*") if path.is_file()
    ).decode()
    assert not any(secret.split("_", 2)[2] in everything for secret in made)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_admin_allows_everything(file):
    key, _ = make(file, scopes=[Scope.ADMIN])
    assert all(key.allows(scope) for scope in Scope)


def test_a_revoked_key_is_refused_by_rings_that_are_open(file):
    key, secret = make(file)
    other, other_secret = make(file)
    ring = ring_of(file)
    revoked = keys.revoke(file, key.id)
    assert revoked.revoke_time is not None
    assert keys.revoke(file, key.id) == revoked
    ring.refresh()
    assert ring.find(secret) is None
    assert ring.find(other_secret) == other
    assert ring.has_keys()


def test_a_key_ends(file):
    _, secret = make(file, expire_time=NOW + dt.timedelta(days=1))
    (key,) = keys.read(file)
    assert ring_of(file).find(secret) == key
    assert key.is_valid(NOW)
    assert not key.is_valid(NOW + dt.timedelta(days=1, seconds=1))
    with pytest.raises(errors.InvalidArgument, match="passed"):
        make(file, expire_time=NOW - dt.timedelta(days=1))


@pytest.mark.parametrize("label", ["", "  ", "x" * 201, "a\x1b[31m", "a\nb"])
def test_a_label_is_a_line_of_text(file, label):
    with pytest.raises(errors.InvalidArgument):
        make(file, label=label)
    assert not file.exists()


def test_a_key_allows_something(file):
    with pytest.raises(errors.InvalidArgument):
        make(file, scopes=[])


def test_an_unknown_id_is_not_repeated(file):
    _, secret = make(file)
    with pytest.raises(errors.NotFound) as raised:
        keys.revoke(file, secret)
    assert secret not in str(raised.value)


def test_a_ring_sees_a_file_that_comes_later(file):
    ring = ring_of(file)
    assert not ring.has_keys()
    key, secret = make(file)
    ring.refresh()
    assert ring.find(secret) == key


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"no", b'{"keys": [{"id": 1}]}'])
def test_a_damaged_file_lets_nobody_in(file, content):
    _, secret = make(file)
    ring = ring_of(file)
    file.write_bytes(content)
    ring.refresh()
    for call in (ring.has_keys, lambda: ring.find(secret)):
        with pytest.raises(errors.DataLoss) as raised:
            call()
        assert secret not in str(raised.value)
    with pytest.raises(errors.DataLoss):
        make(file)


def test_keys_that_are_made_together_are_all_there(file):
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: make(file)[0].id, range(8)))
    assert sorted(key.id for key in keys.read(file)) == sorted(made)


@pytest.mark.parametrize("secret", ["a b", "ü", "a\n", "\x7f"])
def test_what_cannot_be_sent_is_refused_and_not_repeated(secret):
    if secret.strip() == "a":
        assert keys.check_key(secret) == "a"
        return
    with pytest.raises(errors.InvalidArgument) as raised:
        keys.check_key(secret)
    assert secret not in str(raised.value)
