"""A port at which nobody listens yet, and that is given to nobody else meanwhile."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from halftone.stack.parts import LOOPBACK, HeldPorts

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def hold_port() -> Iterator[int]:
    """The port's number; a server of the test's own may listen on it while the context lasts."""
    with HeldPorts() as held:
        number = held.hold(LOOPBACK, 0, what="a test", variable="none")
        held.let_children_in()
        yield number
