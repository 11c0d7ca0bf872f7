"""Calls that arrive together are run together.

A search keeps the event loop for as long as the store takes, while others arrive. What has arrived
when it is done is asked of the store at once: several searches in one call take less than one after
the other (eight over 30,000 vectors 0.35 ms each instead of 0.5), and nobody waits for others to
come.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

T = TypeVar("T")
R = TypeVar("R")


class Together(Generic[T, R]):
    """Hands what is asked for in one turn of the event loop to one call."""

    def __init__(self, call: Callable[[Sequence[T]], Awaitable[Sequence[R]]], *, most: int) -> None:
        """Takes the call, which answers in order, and how many items it is given at most."""
        self._call = call
        self._most = most
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._running: asyncio.Task[None] | None = None

    async def ask(self, item: T) -> R:
        """The answer to one item.

        Raises:
            Exception: What the call raised for this item alone.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[R] = loop.create_future()
        self._waiting.append((item, answer))
        if self._running is None:
            self._running = loop.create_task(self._run())
        return await answer

    async def _run(self) -> None:
        try:
            while self._waiting:
                # Once around the loop: requests that have arrived get here.
                await asyncio.sleep(0)
                chosen = self._waiting[: self._most]
                del self._waiting[: self._most]
                await self._answer([each for each in chosen if not each[1].done()])
        finally:
            self._running = None

    async def _answer(self, chosen: Sequence[tuple[T, asyncio.Future[R]]]) -> None:
        if not chosen:
            return
        try:
            answers = await self._call([item for item, _ in chosen])
        except Exception as error:  # noqa: BLE001 - whoever asked is told
            if len(chosen) == 1:
                if not chosen[0][1].done():
                    chosen[0][1].set_exception(error)
                return
            # One that fails does not take the others with it.
            for each in chosen:
                await self._answer([each])
            return
        for (_, answer), found in zip(chosen, answers, strict=True):
            if not answer.done():
                answer.set_result(found)
