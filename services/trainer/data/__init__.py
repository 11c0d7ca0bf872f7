"""Training pictures: how data sets are listed, read, split and sampled.

`listing` lists what a data set contains, `dataset` loads the pictures into memory, `splits`
divides them by group, `sampling` chooses the pictures of a step. Nothing here knows of jobs. Start
with `listing`.
"""
