"""The client for asyncio.

The folder `blocking` is generated from the folder `asynchronous` by `make client`. Whatever differs
between the two by more than `async` and `await` is in two modules of `halftone.client`: one for
asyncio, one for threads. Read `connection` first: it makes the calls that the other modules
describe.
"""

from halftone.client.asynchronous.client import AsyncClient

__all__ = ["AsyncClient"]
