"""Imports: a stream of records goes in, one acknowledgement for each comes out, in their order.

    stream → reading (read ahead, prepare in threads, group) → window (a few batches at a time)
           → batches (look up; bytes, fingerprints and embeddings side by side; store)
           → acknowledgements

Each step knows nothing of the one before it. Start with `importer`, which connects them.
"""
