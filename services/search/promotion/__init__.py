"""Promotion: makes another model version the active one of the archive.

`promotions` is the door. `transitions` has the steps of a promotion as a table, and `job` walks
over them: `embedding` and `sync` embed the archive again while searches go on, `compare` refuses a
version that finds less, and `switch` moves the archive over. `journal`, `files` and `progress`
record its state, `cancellation` stops it, and `follower` keeps the other processes in step. Start
with `transitions`.
"""
