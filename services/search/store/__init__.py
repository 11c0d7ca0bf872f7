"""Where vectors and payloads are kept: one port, two adapters.

`port` is the interface. `edge/` keeps collections inside the process with Qdrant Edge, `server`
keeps them on a Qdrant server. One contract suite runs over both (tests/contract/test_store.py).
Start with `port`.
"""
