"""Keeps dropped pictures for a while, so that a search by one has an address that can be shared.

A picture's token is made of its bytes. Dropping the same picture again therefore leads to the same
address, also after it had expired, and nobody can guess the token of a picture that he does not
have.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import contextvars
import functools
import hashlib
import os
import re
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

from halftone.core import errors, files
from halftone.imaging import images
from halftone.imaging.pool.inline import Inline

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from halftone.imaging.pool.inline import Runner

P = ParamSpec("P")
T = TypeVar("T")

_TOKEN: Final = re.compile(r"[a-z2-7]{32}")
_TOKEN_BYTES: Final = 20
_PREVIEW_SIDE: Final = 1024
_BLOCK: Final = 4096
# A picture that is looked at again and again is not written to each time.
_TOUCH_SECONDS: Final = 3600.0


@dataclass(frozen=True, kw_only=True)
class Upload:
    """A picture that was dropped.

    Attributes:
        token: Its name in addresses.
        content: The encoded picture as it came.
        width: Width of the upright picture in pixels.
        height: Height of the upright picture in pixels.
    """

    token: str
    content: bytes
    width: int
    height: int


class Uploads:
    """Keeps pictures and their previews in a directory, bounded in bytes and in time.

    All methods but `run` block; call them in a thread. Those that decode run in threads of their
    own: a crowd of large pictures then keeps nobody from reading a page.

    Args:
        directory: Created with the first picture.
        max_bytes: The most bytes of all pictures and their previews on the disk; those not looked
            at for longest go first.
        max_seconds: The time after which a picture that nobody looked at goes.
        max_pixels: Larger pictures are refused.
        runner: Decodes the pictures; None: in the threads.
        min_free_bytes: No picture is kept when the disk has less room left.
        now: Returns the time in seconds since 1970.
    """

    def __init__(
        self,
        directory: Path,
        *,
        max_bytes: int,
        max_seconds: float,
        max_pixels: int,
        runner: Runner | None = None,
        min_free_bytes: int = 0,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._max_seconds = max_seconds
        self._max_pixels = max_pixels
        self._min_free_bytes = min_free_bytes
        self._now = now
        self._lock = threading.Lock()
        self._runner = runner or Inline()
        self._threads = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="picture")
        # The bytes on the disk; None until they have been counted.
        self._bytes: int | None = None

    async def run(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a method that decodes, in a thread for such methods, and return its result."""
        context = contextvars.copy_context()
        work = functools.partial(context.run, call, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def close(self) -> None:
        """End the threads. What waits for one is not begun any more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def keep(self, content: bytes) -> Upload:
        """Keep a picture and return it with its token.

        It is decoded once, so that a file that is no picture is refused here.

        Raises:
            errors.ImageRejected: The file is no picture that can be searched by.
            errors.StorageFull: The disk is full.
        """
        token = make_token(content)
        path = self._path(token)
        preview = self._preview_path(token)
        if not preview.exists() or not path.exists():
            small = self._runner.run(
                images.make_thumbnail,
                content,
                max_pixels=self._max_pixels,
                longest_side=_PREVIEW_SIDE,
            )
            files.with_folders(path)
            if shutil.disk_usage(self._directory).free < self._min_free_bytes + len(content):
                raise errors.StorageFull("The disk of this page is full, so it takes no pictures.")
            with self._lock:
                files.replace_file(preview, small)
                files.replace_file(path, content)
                if self._bytes is not None:
                    self._bytes += _measure(len(content)) + _measure(len(small))
                # Thousands of pictures are not looked through for each that comes.
                if self._bytes is None or self._bytes > self._max_bytes:
                    self._tidy(spare=token)
        self._touch(path)
        width, height = images.size(content)
        return Upload(token=token, content=content, width=width, height=height)

    def get(self, token: str) -> Upload:
        """Return the picture of a token.

        Raises:
            errors.NotFound: There is no such picture, or it is not kept any more.
        """
        path = self._path(_check_token(token))
        content = _read(path)
        self._touch(path)
        width, height = images.size(content)
        return Upload(token=token, content=content, width=width, height=height)

    def read_preview(self, token: str) -> bytes:
        """Return a JPEG of a picture, at most 1,024 pixels a side.

        Raises:
            errors.NotFound: There is no such picture, or it is not kept any more.
        """
        return _read(self._preview_path(_check_token(token)))

    def cut_out(self, token: str, *, region: images.Region, longest_side: int) -> bytes:
        """Return a JPEG of a part of a picture in full detail.

        Args:
            token: The picture's token.
            region: The part, in pixels of the upright picture.
            longest_side: The most pixels of its longer side.

        Raises:
            errors.NotFound: There is no such picture, or it is not kept any more.
            errors.ImageRejected: The part does not lie in the picture.
        """
        content = _read(self._path(_check_token(token)))
        return self._runner.run(
            images.make_thumbnail,
            content,
            max_pixels=self._max_pixels,
            region=region,
            longest_side=longest_side,
        )

    def remove_expired(self) -> None:
        """Remove the pictures that nobody has looked at for too long."""
        with self._lock:
            self._tidy()

    def _path(self, token: str) -> Path:
        return self._directory / f"{token}.picture"

    def _preview_path(self, token: str) -> Path:
        return self._directory / f"{token}.jpg"

    def _touch(self, path: Path) -> None:
        now = self._now()
        try:
            if now - path.stat().st_mtime > _TOUCH_SECONDS:
                os.utime(path, (now, now))
        except FileNotFoundError:
            pass

    def _tidy(self, *, spare: str = "") -> None:
        entries = []
        for path in self._directory.glob("*.picture"):
            stat = path.stat()
            size = _measure(stat.st_size)
            with contextlib.suppress(FileNotFoundError):
                size += _measure(path.with_suffix(".jpg").stat().st_size)
            entries.append((stat.st_mtime, size, path))
        total = sum(size for _, size, _ in entries)
        for touched, size, path in sorted(entries):
            too_old = self._now() - touched > self._max_seconds
            if path.stem != spare and (too_old or total > self._max_bytes):
                path.unlink(missing_ok=True)
                path.with_suffix(".jpg").unlink(missing_ok=True)
                total -= size
        self._bytes = total


def _measure(size: int) -> int:
    """Return the bytes that a file takes on the disk, which come in blocks."""
    return -(-size // _BLOCK) * _BLOCK


def make_token(content: bytes) -> str:
    """Return the token of a picture's bytes: 32 letters and digits."""
    digest = hashlib.sha256(content).digest()[:_TOKEN_BYTES]
    return base64.b32encode(digest).decode().lower()


def _check_token(token: str) -> str:
    if not _TOKEN.fullmatch(token):
        raise _make_missing(token)
    return token


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise _make_missing(path.stem) from None


def _make_missing(token: str) -> errors.NotFound:
    return errors.NotFound(
        "This picture is not kept here any more. Drop it again, and this address works again.",
        resource_type="upload",
        reason="UPLOAD_GONE",
        resource_name=token,
    )
