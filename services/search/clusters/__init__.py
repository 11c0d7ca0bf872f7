"""Clusters: which images are printings of one picture, kept in a SQLite file.

A background worker finds candidate pairs, compares them and groups what belongs together;
archivists overrule it by their verdicts. Read `worker` first: it calls `steps`, which read and
write the tables of `store`. `grouping` decides which images belong together and touches no table;
`views` and `lists` answer questions. Of the search service only `archive`, `comparison` and `store`
are imported here.
"""
