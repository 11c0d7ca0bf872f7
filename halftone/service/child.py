"""Runs a program as a child process that ends with its parent.

    python -m halftone.service.child PARENT_PID MODULE [ARGUMENT]…
    python -m halftone.service.child PARENT_PID --exec PROGRAM [ARGUMENT]…

However the parent ends, even by `kill -9`, the child is killed with it. A stack that crashed thus
leaves no process behind that holds its ports and its data directory.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys
import threading
import time

PR_SET_PDEATHSIG = 1


def die_with(parent: int) -> None:
    """Arrange for this process to be killed when the process `parent` ends.

    On Linux the process is killed as soon as the thread that started it ends, so that thread must
    live until the children are stopped.

    The signal is SIGKILL rather than SIGTERM: nobody is left to wait for a drain or to end a child
    that hangs, and everything acknowledged is on disk already.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    else:
        threading.Thread(target=_watch, args=(parent,), name="parent-watch", daemon=True).start()
    # The parent may have ended before `prctl` was called.
    if os.getppid() != parent:
        os._exit(1)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def main() -> None:
    """Run the command."""
    _, parent, module, *arguments = sys.argv
    die_with(int(parent))
    if module == "--exec":
        # Linux keeps this setting across exec. On other systems the program is not watched.
        os.execv(arguments[0], arguments)  # noqa: S606  # the stack's own program
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
