"""Runs several pieces of work at a time and yields their results in order."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine

A = TypeVar("A")
B = TypeVar("B")


async def run_in_order(
    items: AsyncGenerator[A, None],
    process: Callable[[A], Coroutine[Any, Any, B]],
    *,
    window: int,
    started: Callable[[asyncio.Task[B]], None],
) -> AsyncGenerator[B, None]:
    """Process several items at a time and yield their results in the order of the items.

    Closing the generator early cancels the running tasks and waits for them to end.

    Args:
        items: The items. They are taken only while the window has room, and closed at the end.
        process: Processes one item.
        window: The most items in progress, including the one whose result is yielded next.
        started: Called with each task as it begins.

    Raises:
        Exception: An exception of `items` or `process`, after the results before it.
    """
    # The item at the front is awaited while others wait in the queue.
    under_way: asyncio.Queue[asyncio.Task[B] | None] = asyncio.Queue(maxsize=max(window - 1, 1))

    async def start(item: A) -> None:
        task = asyncio.create_task(process(item))
        started(task)
        try:
            await under_way.put(task)
        except asyncio.CancelledError:
            # It is in no queue, so nobody else would wait for it.
            task.cancel()
            await asyncio.wait({task})
            raise

    async def produce() -> None:
        try:
            async with contextlib.aclosing(items):
                async for item in items:
                    await start(item)
        finally:
            # Also after a failure, which is raised after the results before it were yielded.
            await under_way.put(None)

    producer = asyncio.create_task(produce())
    task: asyncio.Task[B] | None = None
    try:
        while (task := await under_way.get()) is not None:
            yield await task
        await producer
    finally:
        await _abandon(under_way, [producer] if task is None else [producer, task])


async def _abandon(
    under_way: asyncio.Queue[asyncio.Task[B] | None], tasks: list[asyncio.Task[Any]]
) -> None:
    """Cancel tasks, including those in a queue, and wait for them to end."""
    while not under_way.empty():
        if (waiting := under_way.get_nowait()) is not None:
            tasks.append(waiting)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
