"""The archive as the service holds it: records, picture bytes, fingerprints, imports.

`holdings` owns the collections and the threads that use them; `importer` takes records in;
`payload` translates records to and from what the store keeps; `catalogue` lists and deletes. Start
with `holdings`.
"""
