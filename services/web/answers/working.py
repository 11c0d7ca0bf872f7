"""The work in sight: which services answer, which jobs run, which model versions there are."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from halftone.core import errors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

    from halftone.client import (
        AsyncClient,
        ClusterJob,
        LoadedModel,
        ModelVersion,
        Promotion,
        TrainingJob,
    )

T = TypeVar("T")

_SECONDS: Final = 5.0
_MOST: Final = 10


@dataclass(frozen=True, kw_only=True)
class Part:
    """The state of a service.

    Attributes:
        name: `search`, `embedder` or `trainer`.
        problem: Why it does not answer; None if it does.
        is_missing: Whether the stack runs without it.
        waiting: The number of its jobs that are under way or wait.
    """

    name: str
    problem: errors.HalftoneError | None
    is_missing: bool = False
    waiting: int = 0


@dataclass(frozen=True, kw_only=True)
class Work:
    """All that goes on, and what did last.

    Attributes:
        parts: The services.
        grouping: The newest cluster jobs.
        promotion: The promotion that runs, or the last one; None if there was none.
        training: The newest training jobs.
        versions: The model versions.
        loaded: The versions that the embedder has loaded.
        total: The number of pictures in the archive; None if it is not known.
    """

    parts: tuple[Part, ...]
    grouping: tuple[ClusterJob, ...]
    promotion: Promotion | None
    training: tuple[TrainingJob, ...]
    versions: tuple[ModelVersion, ...]
    loaded: tuple[LoadedModel, ...]
    total: int | None

    @property
    def is_running(self) -> bool:
        """Return whether anything is under way."""
        return (
            any(not job.state.is_over for job in self.grouping)
            or any(not job.state.is_over for job in self.training)
            or (self.promotion is not None and not self.promotion.state.is_over)
        )


async def look(
    client: AsyncClient, *, with_training: bool = True, has_trainer: bool = True
) -> Work:
    """Return what goes on. A service that does not answer is said to be so, and hides no other.

    Args:
        client: The client.
        with_training: Ask for training jobs, and whether their service answers.
        has_trainer: Whether the stack has that service; without it, it is not asked.
    """
    grouping, promotion, training, versions, loaded, total = await asyncio.gather(
        _try(_take(client.cluster_jobs(page_size=_MOST, timeout=_SECONDS))),
        _try(client.promotion(timeout=_SECONDS)),
        _try(_take(client.training_jobs(page_size=_MOST, timeout=_SECONDS)))
        if with_training and has_trainer
        else _skip(),
        _try(_take(client.model_versions(timeout=_SECONDS))),
        _try(client.models(timeout=_SECONDS)),
        _try(client.facets(limit=1, timeout=_SECONDS)),
    )
    return Work(
        parts=(
            Part(name="search", problem=total[1]),
            Part(name="embedder", problem=loaded[1]),
            *([_make_trainer(*training, has_trainer=has_trainer)] if with_training else []),
        ),
        grouping=grouping[0] or (),
        promotion=promotion[0],
        training=training[0] or (),
        versions=versions[0] or (),
        loaded=loaded[0] or (),
        total=total[0].total if total[0] else None,
    )


def _make_trainer(
    jobs: tuple[TrainingJob, ...] | None,
    problem: errors.HalftoneError | None,
    *,
    has_trainer: bool,
) -> Part:
    under_way = [job for job in jobs or () if not job.state.is_over]
    return Part(name="trainer", problem=problem, is_missing=not has_trainer, waiting=len(under_way))


async def _try(call: Awaitable[T]) -> tuple[T | None, errors.HalftoneError | None]:
    try:
        return await call, None
    except errors.HalftoneError as error:
        return None, error


async def _skip() -> tuple[None, None]:
    return None, None


async def _take(items: AsyncIterator[T]) -> tuple[T, ...]:
    taken: list[T] = []
    async for item in items:
        taken.append(item)
        if len(taken) >= _MOST:
            break
    return tuple(taken)
