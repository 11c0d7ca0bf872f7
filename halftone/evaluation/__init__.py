"""Measures how good a model version is: figures with intervals, calibration, benchmarks, reports.

`metrics` defines the figures with NumPy alone, `truth` says which pictures match, `resampling`
gives intervals, and `evaluate` puts the figures together. `calibration` fits probabilities.
`labelled` judges archives whose reprints are known, for `halftone eval` and for the end of a
training run, by the descriptor alone or by `whole_search`; `judged` holds the result, `comparison`
compares versions, `tracking` sends figures to MLflow. `press/` prints pictures anew in known ways
and searches for them; `report/` writes the pages. Start with `metrics`.
"""
