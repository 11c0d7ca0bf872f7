"""Training jobs: their states, their storage, and the queue.

`intake` accepts jobs, over gRPC and from Celery clients (`inbox`); `door` refuses those whose data
cannot work; `transitions` lists the events that can happen to them; `store` changes jobs by
compare-and-set and holds the leases; `reaper` rescues jobs whose worker or message is gone. Start
with `job` and `transitions`.
"""
