"""Training pictures: what data sets name, how they are read, split and sampled.

`listing` reads what a data set contains, `dataset` loads the pictures into memory, `splits`
divides them by group, `sampling` says which pictures a step sees. Knows nothing of jobs. Start
with `listing`.
"""
