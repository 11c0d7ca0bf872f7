"""Imports a stream of records and acknowledges each of them in order.

    stream → reading (read ahead, prepare in threads, group) → window (a few batches at a time)
           → batches (look up; bytes, fingerprints and embeddings side by side; store)
           → acknowledgements

No step knows the one before it. Start with `importer`, which connects them.
"""
