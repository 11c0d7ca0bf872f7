"""How good a model version is: figures with intervals, calibration, benchmarks, reports.

`metrics` defines the figures with NumPy alone; `labelled` is the one judge of archives whose
reprints are known, for `halftone eval` and for the end of a training run; `press/` prints pictures
anew in known ways and searches for them; `report/` writes the pages. Start with `metrics`.
"""
