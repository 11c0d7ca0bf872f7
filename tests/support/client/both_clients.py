"""The two clients behind one face, so that one suite runs over both."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

from halftone.client import AsyncClient, Client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Iterator
    from typing import Self


class DrivenAsyncClient:
    """An `AsyncClient` that is used like a `Client`: its event loop runs in a thread."""

    def __init__(self, *args: object, **options: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._client = AsyncClient(*args, **options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self._run(self._loop.shutdown_asyncgens())
        self._run(self._loop.shutdown_default_executor())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._client, name)
        if not callable(attribute):
            return attribute

        def call(*args: object, **options: object) -> Any:
            outcome = attribute(*args, **options)
            return self._iterate(outcome) if hasattr(outcome, "__anext__") else self._run(outcome)

        return call

    def _run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def _iterate(self, items: AsyncIterator[Any]) -> Iterator[Any]:
        async def following() -> Any:
            return await anext(items, self)

        try:
            while (item := self._run(following())) is not self:
                yield item
        finally:
            self._run(items.aclose())


CLIENTS = {"blocking": Client, "asynchronous": DrivenAsyncClient}
