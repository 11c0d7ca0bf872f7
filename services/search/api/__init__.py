"""The service's gRPC face.

The servicers hand calls on; `engine` builds what answers and admits searches; `clusters` builds
what clusters need. Both take the `Parts` that `__main__` makes once (`archive.parts`). Only
`__main__` imports this room. Start with `engine`.
"""
