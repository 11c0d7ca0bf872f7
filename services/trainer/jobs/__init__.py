"""Training jobs: their states, where they are kept, and the queue.

`intake` is the one way in for gRPC and Celery; `store` changes jobs by compare-and-set and holds
the leases; `reaper` looks after jobs whose worker or message is gone. Start with `job`.
"""
