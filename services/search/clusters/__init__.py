"""Clusters: groups of images that are printings of one picture, kept in a SQLite file.

A background worker finds candidate pairs, compares them and groups the images; verdicts of
archivists overrule it. Read `worker` first: it calls `steps`, which read and write the tables of
`store`. `grouping` decides which images belong together and touches no table; `views` and `lists`
answer requests. From the search service this room imports only `archive`, `comparison` and `store`.
"""
