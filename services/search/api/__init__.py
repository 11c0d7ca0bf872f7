"""The service's gRPC face and its composition root.

The servicers translate messages and hand calls on; `engine` builds every part once and admits
searches; `clusters` builds what clusters need. Nothing else in the service imports this room.
Start with `engine`.
"""
