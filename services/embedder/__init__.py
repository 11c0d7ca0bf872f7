"""The embedder service: takes pictures over gRPC and returns their descriptors.

`servicer` takes the calls, `batching/` forms batches and refuses requests that it cannot answer in
time, `encoders/` runs the network with torch or OpenVINO, and `models` keeps the loaded versions in
step with the registry. Start with `servicer`.
"""
