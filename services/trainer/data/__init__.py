"""Training pictures: reads, splits and samples data sets.

`dataset` loads the pictures that `halftone.archive.data_sets` lists into memory, `splits` divides
them by group, `sampling` chooses the pictures of a step. Nothing here knows about jobs. Start with
`dataset`.
"""
