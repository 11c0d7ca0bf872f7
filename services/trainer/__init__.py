"""The trainer: jobs in over gRPC and the queue, model versions out.

`jobs/` keeps jobs in Redis and puts them on the queue; `worker/` runs one at a time; `loop/` is
the training process that the worker starts; `data/` reads pictures for it. Start with `jobs/job`.
"""
