"""Keys to the services: how they are made, kept, revoked and recognised.

A key is a random secret of 256 bits with a label, scopes and, if wanted, an end. The file of keys
holds the SHA-256 of each secret and never the secret itself, which is shown once, when it is made.
Services read the file again as soon as it changes, so a key that is revoked is refused at once by
every process that sees the file.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import math
import re
import secrets
import threading
import time
import unicodedata
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from pydantic import TypeAdapter, ValidationError

from halftone.core import errors, files
from halftone.core.locks import LockHeldError, locked
from halftone.core.quotas import Quota  # noqa: TC001  # pydantic reads the file of keys by it

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

FILE_NAME: Final = "keys.json"
"""The name of the file of keys in a data directory."""
MAX_LABEL: Final = 200
MAX_KEYS: Final = 1_000

_PREFIX: Final = "halftone"
_SECRET: Final = re.compile(r"halftone_[0-9a-f]{12}_[A-Za-z0-9_-]{43}")
_SECRET_BYTES: Final = 32
_FORMAT: Final = 1
_LOCK_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 0.2
_TRUST_SECONDS: Final = 0.6


class Scope(StrEnum):
    """What a key allows. `ADMIN` allows everything."""

    READ = "read"
    """Records, thumbnails, parts of pictures, facets, clusters, verdicts, model versions."""
    SEARCH = "search"
    """Searches, comparisons, embeddings."""
    JUDGE = "judge"
    """Verdicts."""
    IMPORT = "import"
    """Imports, changes of records, cluster jobs."""
    TRAIN = "train"
    """Training jobs."""
    ADMIN = "admin"
    """Everything, also deletions and promotions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key, without its secret.

    Attributes:
        id: 12 hexadecimal digits, which the secret begins with.
        label: Who or what it is for; verdicts are signed with it.
        sha256: Hash of the secret, in hexadecimal.
        scopes: What it allows.
        create_time: When it was made.
        expire_time: When it ends; None: never.
        revoke_time: When it was revoked; None if it was not.
        quotas: What it may use; empty: what the settings say.
    """

    id: str
    label: str
    sha256: str
    scopes: frozenset[Scope]
    create_time: dt.datetime
    expire_time: dt.datetime | None = None
    revoke_time: dt.datetime | None = None
    quotas: tuple[Quota, ...] = ()

    def allows(self, scope: Scope) -> bool:
        """Return whether the key has a scope."""
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def is_valid(self, now: dt.datetime) -> bool:
        """Return whether the key is neither revoked nor at its end."""
        return self.revoke_time is None and (self.expire_time is None or now < self.expire_time)


_KEYS: Final = TypeAdapter(tuple[Key, ...])


def create(
    path: Path,
    *,
    label: str,
    scopes: Iterable[Scope],
    expire_time: dt.datetime | None = None,
    quotas: Iterable[Quota] = (),
) -> tuple[Key, str]:
    """Make a key, store it, and return it with its secret, which is kept nowhere.

    Args:
        path: The file of keys; it is created if it is missing, for its owner only.
        label: Who or what the key is for.
        scopes: What it allows, at least one.
        expire_time: When it ends; None: never.
        quotas: What it may use; empty: what the settings say.

    Raises:
        errors.InvalidArgument: The label is empty, too long or has control characters, there is no
            scope, or the end has passed.
        errors.FailedPrecondition: The file has too many keys, or is being changed for too long.
        errors.DataLoss: The file of keys is damaged.
    """
    now = _now()
    label = label.strip()
    controls = any(unicodedata.category(character) == "Cc" for character in label)
    if not label or len(label) > MAX_LABEL or controls:
        raise errors.InvalidArgument(
            f"label: 1 to {MAX_LABEL} characters without control characters.", field="label"
        )
    wanted = frozenset(scopes)
    if not wanted:
        raise errors.InvalidArgument(f"scopes: at least one of {', '.join(Scope)}.", field="scopes")
    if expire_time is not None and expire_time <= now:
        raise errors.InvalidArgument("expire_time: it has passed.", field="expire_time")
    key_id = secrets.token_hex(6)
    secret = f"{_PREFIX}_{key_id}_{secrets.token_urlsafe(_SECRET_BYTES)}"
    key = Key(
        id=key_id,
        label=label,
        sha256=_hash(secret),
        scopes=wanted,
        create_time=now,
        expire_time=expire_time,
        quotas=tuple(quotas),
    )
    with _locked(path):
        keys = read(path)
        if len(keys) >= MAX_KEYS:
            raise errors.FailedPrecondition(
                f"{path} holds {len(keys):,} keys, which is the limit.", subject=str(path)
            )
        _write(path, (*keys, key))
    return key, secret


def revoke(path: Path, key_id: str) -> Key:
    """Revoke a key and return it. Revoking it again changes nothing.

    Raises:
        errors.NotFound: The file has no such key.
        errors.DataLoss: The file of keys is damaged.
    """
    with _locked(path):
        keys = read(path)
        found = next((key for key in keys if key.id == key_id), None)
        if found is None:
            # What was given may be a secret, so it is not repeated.
            raise errors.NotFound(
                f"{path} has no key with that id; `halftone keys list` shows the ids.",
                resource_type="key",
            )
        if found.revoke_time is None:
            revoked = replace(found, revoke_time=_now())
            _write(path, tuple(revoked if key.id == key_id else key for key in keys))
            found = revoked
    return found


def check_key(secret: str) -> str:
    """Return a key as it is sent; a key that a caller was given may be any text of ASCII.

    Raises:
        errors.InvalidArgument: It has spaces or other characters that cannot be sent. The error
            does not repeat it.
    """
    secret = secret.strip()
    if not all("!" <= character <= "~" for character in secret):
        raise errors.InvalidArgument(
            "The key (HALFTONE_KEY) has characters that no key has.", field="key"
        )
    return secret


def read(path: Path) -> tuple[Key, ...]:
    """Return the keys of a file, in the order in which they were made; none if it is missing.

    Raises:
        errors.DataLoss: The file is damaged.
        errors.Unavailable: The file cannot be read.
    """
    try:
        content: dict[str, Any] = files.read_object(path)
        return _KEYS.validate_json(json.dumps(content["keys"]))
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise errors.Unavailable(
            f"The keys in {path} cannot be read: {error.strerror or error}.", reason="KEYS"
        ) from error
    except (KeyError, ValidationError) as error:
        raise errors.DataLoss(f"{path} holds no keys.", reason="KEYS") from error


class Keyring:
    """The keys of a file, read again when the file changes. Safe to share between threads.

    Whoever asks calls `refresh` first, in a thread, if `is_stale` says so.
    """

    def __init__(self, path: Path) -> None:
        """Create the ring of a file, which need not exist. Nothing is read yet."""
        self._path = path
        self._lock = threading.Lock()
        self._seen: tuple[int, ...] | None = None
        self._looked = -math.inf
        self._keys: dict[str, Key] = {}
        self._error: errors.HalftoneError | None = None

    def is_stale(self) -> bool:
        """Return whether the last look at the file is longer ago than a fifth of a second."""
        return time.monotonic() - self._looked >= _LOOK_SECONDS

    def is_trusted(self) -> bool:
        """Return whether the last look at the file is recent enough to answer by what it saw.

        A key that was revoked since is let in for so long at most, well below a second.
        """
        return time.monotonic() - self._looked < _TRUST_SECONDS

    def refresh(self) -> None:
        """Read the file if it has changed. Blocks for a look at its state, some microseconds."""
        with self._lock:
            started = time.monotonic()
            seen = _state_of(self._path)
            if seen != self._seen:
                try:
                    self._keys = {key.sha256: key for key in read(self._path)}
                    self._error = None
                except errors.HalftoneError as error:
                    # Nobody gets in with keys that may have been revoked meanwhile.
                    self._keys, self._error = {}, error
                self._seen = seen
            self._looked = started

    def has_keys(self) -> bool:
        """Return whether the file has keys, whether they are valid or not.

        Raises:
            errors.HalftoneError: The file is damaged or cannot be read.
        """
        return bool(self._get())

    def find(self, secret: str) -> Key | None:
        """Return the valid key that a secret belongs to; None if there is none.

        Raises:
            errors.HalftoneError: The file is damaged or cannot be read.
        """
        # Comparing hashes of random secrets tells nothing of a secret, however long it takes.
        key = self._get().get(_hash(secret)) if _SECRET.fullmatch(secret) else None
        return key if key is not None and key.is_valid(_now()) else None

    def get(self, key_id: str) -> Key | None:
        """Return the valid key with an id; None if there is none.

        Raises:
            errors.HalftoneError: The file is damaged or cannot be read.
        """
        now = _now()
        found = (key for key in self._get().values() if key.id == key_id and key.is_valid(now))
        return next(found, None)

    def _get(self) -> dict[str, Key]:
        with self._lock:
            if self._error is not None:
                raise self._error
            return self._keys


def _state_of(path: Path) -> tuple[int, ...]:
    """Return what changes whenever a file is replaced: `files.replace_file` makes a new inode."""
    try:
        status = path.stat()
    except OSError as error:
        return (error.errno or 0,)
    return (status.st_ino, status.st_dev, status.st_mtime_ns, status.st_size)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _locked(path: Path) -> Any:
    files.with_folders(path)
    try:
        return locked(path.with_name(f".{path.name}.lock"), seconds=_LOCK_SECONDS)
    except LockHeldError as error:
        raise errors.FailedPrecondition(
            f"{path} is being changed by another process.", subject=str(path)
        ) from error


def _write(path: Path, keys: tuple[Key, ...]) -> None:
    content = {"format": _FORMAT, "keys": _KEYS.dump_python(keys, mode="json")}
    for each in content["keys"]:
        each["scopes"] = sorted(each["scopes"])
    files.replace_file(path, files.to_json(content), mode=0o600)
