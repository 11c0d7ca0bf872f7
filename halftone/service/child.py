"""Runs a program as a child process that ends with its parent.

    python -m halftone.service.child PARENT_PID MODULE [ARGUMENT]…
    python -m halftone.service.child PARENT_PID --exec PROGRAM [ARGUMENT]…

However the parent ends, even by `kill -9`, the child is killed with it. A stack that crashed thus
leaves no process behind that holds its ports and its data directory.
"""

from __future__ import annotations

import os
import runpy
import sys

from halftone.core.system import die_with


def main() -> None:
    """Run the command."""
    _, parent, module, *arguments = sys.argv
    die_with(int(parent))
    if module == "--exec":
        os.execv(arguments[0], arguments)  # noqa: S606  # the stack's own program
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
