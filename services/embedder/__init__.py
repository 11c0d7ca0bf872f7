"""The embedder: pictures in, descriptors out, over gRPC.

`servicer` takes the calls, `batching/` forms batches and refuses what it cannot do in time,
`encoders/` run the network with torch or OpenVINO, `models` keeps the versions that are loaded.
Start with `servicer`.
"""
