"""Embeds the pictures of an import for the active version and for the one being promoted."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, NamedTuple

from halftone.core import errors, telemetry
from halftone.services.search.archive.patience import blames_engine
from halftone.v1 import embedder_pb2

if TYPE_CHECKING:
    from collections.abc import Sequence

    from halftone.services.search.archive.embedder_client import Embedder, ImageDescriptors
    from halftone.services.search.archive.imports.entry import Entry
    from halftone.services.search.archive.open_collections import OpenCollections
    from halftone.services.search.archive.patience import Outage

_TARGET_PATIENCE: Final = 1.0
_TARGET_SECONDS: Final = 10.0
"""The most seconds that an import waits for the version that is being promoted."""

_log = telemetry.get_logger(__name__)


class Vectors(NamedTuple):
    """The descriptor of each picture by one model version, or the error that refused it."""

    model_version: str
    results: Sequence[ImageDescriptors | errors.HalftoneError]


class PictureEmbedder:
    """Calls the embedder for the batches of imports."""

    def __init__(self, embedder: Embedder, *, collections: OpenCollections) -> None:
        self._embedder = embedder
        self._collections = collections

    async def embed(self, entries: Sequence[Entry], *, outage: Outage) -> Vectors:
        """Embed pictures. If a picture is refused, the error becomes its entry's outcome.

        Args:
            entries: The entries, at most as many as one call of the embedder takes.
            outage: The outage of the embedder. All batches of an import share it, so that together
                they wait only as long as it allows.

        Raises:
            errors.HalftoneError: The embedder does not answer, or does not have the version. All
                entries can be tried again.
        """
        model_version = self._collections.active.model_version
        while True:
            started = time.monotonic()
            try:
                results = await self._embedder.embed(
                    _inputs(entries), model_version=model_version, patience=outage.left()
                )
            except (errors.Unavailable, errors.ResourceExhausted, errors.DeadlineExceeded):
                outage.begin(since=started)
                raise
            except errors.NotFound as error:
                # It may have been restarted a moment ago, and load one version after the other.
                await outage.wait(_make_not_loaded(model_version, error))
                continue
            failure = _find_failure(results)
            if failure is None:
                break
            await outage.wait(failure)
        outage.end()
        for entry, result in zip(entries, results, strict=True):
            if isinstance(result, errors.HalftoneError):
                entry.outcome = result
        return Vectors(model_version, results)

    async def embed_for_target(self, entries: Sequence[Entry]) -> Vectors | None:
        """Embed pictures for the version that is being promoted.

        No record is refused here: the promotion embeds the missing pictures itself.

        Returns:
            The descriptors; None if no version is being promoted, or if the embedder failed.
        """
        target = self._collections.target
        if target is None:
            return None
        try:
            results = await self._embedder.embed(
                _inputs(entries),
                model_version=target.model_version,
                patience=_TARGET_PATIENCE,
                deadline=time.monotonic() + _TARGET_SECONDS,
            )
        except errors.HalftoneError as error:
            _log.warning(
                "not_embedded_for_promotion",
                model_version=target.model_version,
                images=len(entries),
                error=error.message,
            )
            return None
        return Vectors(target.model_version, results)


def _inputs(entries: Sequence[Entry]) -> list[embedder_pb2.ImageInput]:
    return [embedder_pb2.ImageInput(content=entry.content) for entry in entries]


def _find_failure(
    results: Sequence[ImageDescriptors | errors.HalftoneError],
) -> errors.HalftoneError | None:
    """Return the first error that is no picture's own fault; None if there is none."""
    refused = (result for result in results if isinstance(result, errors.HalftoneError))
    return next(filter(blames_engine, refused), None)


def _make_not_loaded(model_version: str, error: errors.NotFound) -> errors.Unavailable:
    return errors.Unavailable(
        f"The embedder does not have {model_version} loaded: {error.message}",
        reason="MODEL_NOT_LOADED",
        retry_after=1.0,
    )
