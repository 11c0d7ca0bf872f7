"""`halftone up`: every service as a child process on this machine.

`local.LocalStack` starts the services by `python -m`, waits until they are healthy and stops them
in order; `supervisor` restarts what dies; `running` tells other commands where a stack listens. No
service is imported. Start with `local`.
"""
