"""Training jobs: their states, where they are kept, and the queue.

`intake` takes jobs in, over gRPC and from Celery clients (`inbox`); `transitions` says what can
happen to them; `store` changes jobs by compare-and-set and holds the leases; `reaper` looks after
jobs whose worker or message is gone. Start with `job` and `transitions`.
"""
