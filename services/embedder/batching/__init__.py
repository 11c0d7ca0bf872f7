"""How requests become batches: admission, waiting, and the threads that own the device.

`door` admits or refuses a request, `schedule` holds what waits and decides what comes next, and
`batcher` runs the threads and ends every request exactly once. Start with `batcher`.
"""
