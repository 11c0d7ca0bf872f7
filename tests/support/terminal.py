"""Standard input that is a terminal, for commands that ask."""

from __future__ import annotations

import io


class Terminal(io.BytesIO):
    """What a person types; to be given to click's test runner as `input`."""

    def isatty(self) -> bool:
        """It is one."""
        return True
