"""The shell of every service process: listening, answering, health, draining.

`server.serve` runs a gRPC servicer until SIGTERM and maps exceptions to statuses; `probe` asks a
service for its health; `child` starts a process that ends with its parent. Start with `server`.
"""
