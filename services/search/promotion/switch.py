"""Moves the archive from one version to another, and drops collections that are not needed."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from halftone.core import errors, telemetry
from halftone.services.search.archive.patience import STORE
from halftone.services.search.promotion.transitions import State

if TYPE_CHECKING:
    from halftone.registry.versions import Registry
    from halftone.services.search.archive.holdings import Holdings
    from halftone.services.search.archive.pace import Traffic
    from halftone.services.search.promotion.files import PromotionFiles
    from halftone.services.search.store.port import Store
    from halftone.v1 import models_pb2

_ASK_SECONDS: Final = 0.5

_log = telemetry.get_logger(__name__)


def has_moved(promotion: models_pb2.Promotion, *, store: Store, registry: Registry) -> bool:
    """Return whether the store's alias and the registry's pointer name the new version. Blocks."""
    return store.active() == promotion.model_version == registry.pointer().active


def is_back(promotion: models_pb2.Promotion, *, store: Store) -> bool:
    """Return whether it is sure that the store's alias does not name the new version. Blocks.

    Call it after a failed move. If the store does not answer, it returns False: the alias may have
    moved although the call failed.
    """
    if promotion.model_version == promotion.from_model_version:
        return True
    try:
        return store.active() != promotion.model_version
    except Exception as error:  # noqa: BLE001 - whatever it is, it is not known
        _log.warning("alias_unknown", error=str(error))
        return False


def move(promotion: models_pb2.Promotion, *, store: Store, registry: Registry) -> None:
    """Point the store's alias to the new version, then the registry's pointer. Blocks.

    If one of them cannot be moved, the alias is put back. If both have moved they stay, because
    later writes went only to the new collection.

    Raises:
        errors.HalftoneError: One of them could not be moved. `is_back` tells whether the alias is
            back.
    """
    if has_moved(promotion, store=store, registry=registry):
        return
    try:
        store.set_active(promotion.model_version)
        if promotion.roll_back:
            registry.roll_back(promotion.model_version)
        else:
            registry.promote(promotion.model_version)
    except BaseException:
        with contextlib.suppress(Exception):
            # For example when only the last fsync of the pointer failed.
            if has_moved(promotion, store=store, registry=registry):
                return
        put_back(promotion, store=store)
        raise


def put_back(promotion: models_pb2.Promotion, *, store: Store) -> None:
    """Point the store's alias to the previously active version again. Blocks."""
    if promotion.from_model_version != promotion.model_version:
        store.set_active(promotion.from_model_version)


def recover(files: PromotionFiles, *, store: Store, registry: Registry) -> None:
    """Complete a switch that was interrupted by the end of a process. Blocks.

    Call it before collections are open.

    If a switch cannot be completed because something does not answer, it is left to a later try. If
    it can never be completed, it is put back, and the promotion has failed (or is cancelled, if
    somebody asked for that).

    Args:
        files: The files of the promotion, which say whether a switch was interrupted.
        store: The store, whose alias is moved.
        registry: The registry, whose pointer is moved.
    """
    try:
        promotion = files.read()
    except errors.HalftoneError as error:
        _log.error("promotion_unreadable", error=error.message)
        return
    if promotion is None or promotion.state != State.SWITCHING:
        return
    lock = files.try_lock()
    if lock is None:
        return
    with lock:
        try:
            move(promotion, store=store, registry=registry)
            _log.warning("switch_completed", model_version=promotion.model_version)
        except (*STORE, OSError) as error:
            _log.warning("switch_waits", error=str(error))
        except errors.HalftoneError as error:
            if not is_back(promotion, store=store):
                _log.warning("switch_waits", error=error.message)
                return
            _log.error("switch_undone", error=error.message)
            end_undone(promotion, error=error, files=files)


def end_undone(
    promotion: models_pb2.Promotion, *, error: errors.HalftoneError, files: PromotionFiles
) -> None:
    """Record on disk that a switch was undone and the promotion has ended.

    A failure to write is only logged; a later attempt records it.

    Args:
        promotion: The promotion. It becomes CANCELLED if somebody asked for that, otherwise FAILED.
        error: The error that ended the switch.
        files: The files of the promotion.
    """
    try:
        if files.is_cancelled(promotion.id):
            promotion.state = State.CANCELLED
        else:
            promotion.state = State.FAILED
            promotion.error.CopyFrom(errors.to_status(error))
        promotion.end_time.GetCurrentTime()
        promotion.revision += 1
        files.write(promotion)
    except errors.HalftoneError as problem:
        _log.error("promotion_not_saved", error=problem.message)


async def drop(model_version: str, *, store: Store, holdings: Holdings, traffic: Traffic) -> None:
    """Drop the collection of a version once the searches that use it have ended.

    Args:
        model_version: The version.
        store: The store that drops it.
        holdings: The open collections, which forget it first.
        traffic: The searches in flight.
    """
    await holdings.threads.write("forget", holdings.collections.forget, model_version)
    while traffic.count_using(model_version):  # noqa: ASYNC110 - rare, and not worth an event for each
        await asyncio.sleep(_ASK_SECONDS)
    await holdings.threads.write("drop", store.drop, model_version)
    _log.info("collection_dropped", model_version=model_version)
