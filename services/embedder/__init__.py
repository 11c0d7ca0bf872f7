"""The embedder: pictures in, descriptors out, over gRPC.

`servicer` takes the calls, `batching/` forms batches and refuses what it cannot do in time,
`encoders/` runs the network with torch or OpenVINO, and `models` keeps the loaded versions in step
with the registry. Start with `servicer`.
"""
