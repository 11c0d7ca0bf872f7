"""The archive as the search service holds it: records, picture bytes, fingerprints, imports.

`holdings` combines the open collections (`open_collections`), the writer of records
(`record_writer`), picture bytes (`blobs`, `originals`) and `threads`. `imports/` takes records in
(`imports/importer`), `catalogue`, `lookups` and `listing` read, change and delete them, `regions`
cuts parts out of their pictures, and `payload` converts them to and from payloads of the store.
`embedder_client` calls the embedder, `fingerprints` computes hashes, words and local features, and
`pace` and `patience` slow background work down and wait for services that do not answer. `parts`
has the parts that all rooms of the service share. Start with `holdings`.
"""
