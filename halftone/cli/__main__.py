"""Runs the command line: `halftone`, or `python -m halftone.cli`."""

from __future__ import annotations

import sys


def run() -> None:
    """Run the command line and exit.

    The commands are imported here, which takes a second on a slow machine, so that Ctrl-C ends
    the program quietly from the beginning.
    """
    try:
        from halftone.cli.app import main  # noqa: PLC0415
    except KeyboardInterrupt:
        sys.exit(130)
    main(prog_name="halftone")


if __name__ == "__main__":
    run()
