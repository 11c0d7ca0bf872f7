"""`halftone models …`: model versions, in a directory and in the service that uses them.

Start with `commands`; `context` finds the directory and the service that all commands act on.
"""
