"""Halftone's services, imported as `halftone.services`: embedder, search and trainer.

Each runs as a process of its own (`python -m halftone.services.search`) and imports the library,
never another service; they meet over gRPC and the queue. docs/architecture.md walks through them.
"""
