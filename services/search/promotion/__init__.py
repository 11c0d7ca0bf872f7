"""Promotion: how another model version comes to answer for the archive.

`promotions` is the door. `transitions` holds the steps of a promotion as a table, `job` walks over
them, `sync` embeds the archive anew while searches go on, `compare` refuses a version that finds
less, `switch` moves the archive over, and `journal` writes down how it stands. Start with
`transitions`.
"""
