"""Benchmarks: `python -m tests.bench`. Ratios, measured beside the bare operation in one run."""
