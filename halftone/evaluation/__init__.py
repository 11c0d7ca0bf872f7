"""How good a model version is: figures with intervals, calibration, benchmarks, reports.

`metrics` defines the figures with NumPy alone; `labelled` runs a version over an archive whose
reprints are known; `press/` prints pictures anew in known ways and searches for them; `report/`
writes the pages. The training loop and `halftone eval` both come in here. Start with `metrics`.
"""
