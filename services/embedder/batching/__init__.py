"""How requests become batches: admission, waiting, and one thread that owns the device.

`door` admits or refuses a request, `waiting` keeps it until its turn, `batcher` runs batches and
ends every request exactly once. Start with `batcher`.
"""
