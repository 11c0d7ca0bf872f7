"""Clusters: which images are printings of one picture, kept in SQLite.

A background job (`job`, `steps`) finds candidate pairs, compares them and groups them; `verdicts`
holds what archivists say; `views` answers questions. The tables are in `store`. Start with `job`.
"""
