"""Holds what every other room uses: errors, files, settings, telemetry and wire helpers.

`training` and `training_options` define what a training job may be told, `locks` locks files
between processes, `system` is the one module that knows Linux from macOS, `spelling` finds names in
another of Unicode's forms, `extras` says how to install what is missing, and `bugs` hides
unexpected errors from callers. This room imports nothing of Halftone but the generated contracts.
Something belongs here only if at least two other rooms need it. Start with `errors`, the one table
from exceptions to gRPC codes.
"""
