"""The shell of every service process: listening, keys, limits, statuses, health, draining, paging.

`server.serve` runs gRPC servicers until SIGTERM and turns exceptions into statuses; `access`
decides who may call, and `limits` how many calls run at a time; `paging` reads page sizes and
tokens for servicers. `probe` asks a service for its health, and `child` starts a process that ends
with its parent. Start with `server`.
"""
