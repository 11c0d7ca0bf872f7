"""Runs several pieces of work side by side and yields their results in order."""

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
    """Process items side by side and yield what became of each, in the order of the items.

    Closing the generator early cancels what is under way, and waits for it to end.

    Args:
        items: The items; they are taken only as far as there is room in the window. Closed at the
            end.
        process: The work on one item.
        window: Items under way at a time, the one whose result is yielded next included.
        started: Called with each task as it begins.

    Raises:
        Exception: What `items` or `process` raised, after the results before it.
    """
    # The item at the front is awaited while others wait in the queue.
    under_way: asyncio.Queue[asyncio.Task[B] | None] = asyncio.Queue(maxsize=max(window - 1, 1))

    async def start(item: A) -> None:
        task = asyncio.create_task(process(item))
        started(task)
        try:
            await under_way.put(task)
        except asyncio.CancelledError:
            task.cancel()
            raise

    async def produce() -> None:
        try:
            async with contextlib.aclosing(items):
                async for item in items:
                    await start(item)
        finally:
            # Also after a failure, which is raised when the results before it are yielded.
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
    """Cancel tasks and those in a queue, and wait for them to end."""
    while not under_way.empty():
        if (waiting := under_way.get_nowait()) is not None:
            tasks.append(waiting)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
