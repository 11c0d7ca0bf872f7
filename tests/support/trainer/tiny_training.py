"""Training runs of a few seconds."""

TINY = {
    "batch": 8,
    "size": 32,
    "stages": 1,
    "grid": 2,
    "thumbnail": 4,
    "dimension": 12,
    "background": 4,
    "validation": 8,
    "warmup": 2,
    "report_seconds": 0.0,
    "threads": 1,
}
"""Settings of a run of a few seconds."""
