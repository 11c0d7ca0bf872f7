"""The gRPC servicers of the search service, and the parts that answer them.

The servicers hand calls on; `engine` builds the parts that answer and admits searches; `clusters`
builds the parts that clusters need. Both take the `Parts` that `__main__` makes once
(`archive.parts`). Only `__main__` imports this room. Start with `engine`.
"""
