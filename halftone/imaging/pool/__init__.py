"""Decodes strangers' pictures in processes that may be killed.

`pool` hands a function and a picture's bytes to one of a few worker processes and waits for the
result, no longer than the caller does. `nursery` is a process that has imported what the functions
need and forks the workers, and `processes` is how the pool sees both; `worker` is what a worker
does, within limits on memory and CPU seconds; `messages` carries bytes and results through shared
memory. `inline` runs the same functions without processes. Functions come in by reference, as
`module.function`; results are plain data, arrays, pictures and Halftone's own classes. Start with
`pool.Pool.run`.
"""
