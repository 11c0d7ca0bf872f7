"""Runs the command line: `python -m halftone.cli`."""

from halftone.cli.app import main

main(prog_name="halftone")
