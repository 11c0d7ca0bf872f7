"""Runs every service as a child process on this machine, for `halftone up`.

`local.LocalStack` starts the services by `python -m`, waits until they are healthy and stops them
in order; `supervisor` restarts children that die; `running` tells other commands where a stack
listens. `data_directory` holds the layout and the lock of the data directory, `parts` the commands
and ports of the children, `training` the queue and the workers. The room may import `service`,
`registry` and `core`, but no service. Read `local` first.
"""
