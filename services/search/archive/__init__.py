"""The archive as the service holds it: records, picture bytes, fingerprints, imports.

`holdings` names the parts: open collections, the writer of records, picture bytes and the threads
that use them. `importer` takes records in, `catalogue` lists, changes and deletes them, `payload`
converts them to and from what the store keeps. `parts` holds what all rooms of the service share.
Start with `holdings`.
"""
