"""Training pictures: lists, reads, splits and samples data sets.

`listing` lists the contents of a data set, `dataset` loads the pictures into memory, `splits`
divides them by group, `sampling` chooses the pictures of a step. Nothing here knows about jobs.
Start with `listing`.
"""
