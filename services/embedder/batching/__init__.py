"""How requests become batches: admission, queues, and the threads that use the device.

`door` admits or refuses a request, `schedule` keeps the queues and chooses the next work, and
`batcher` runs the threads and ends every request exactly once. Start with `batcher`.
"""
