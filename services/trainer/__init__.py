"""The trainer: takes training jobs over gRPC and the queue, and publishes model versions.

`jobs/` keeps jobs in Redis and puts them on the queue; `worker/` runs one job at a time; `loop/` is
the training process that the worker starts; `data/` reads pictures for it. Start with `jobs/job`.
"""
