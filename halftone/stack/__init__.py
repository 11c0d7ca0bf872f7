"""`halftone up`: every service as a child process on this machine.

`local.LocalStack` starts the services by `python -m`, waits until they are healthy and stops them
in order; `supervisor` restarts children that die; `running` tells other commands where a stack
listens. The room may import `service`, `registry` and `core`, but no service. Read `local` first.
"""
