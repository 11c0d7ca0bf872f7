"""What everything else stands on: errors, files, settings, telemetry and wire helpers.

This room imports nothing of Halftone but the generated contracts. Something belongs here only if
at least two other rooms need it. Start with `errors`, the one table from exceptions to gRPC codes.
"""
