"""The embedded store: collections of Qdrant Edge inside the search process.

A collection is an open part that is written to and sealed parts with graphs; `build` seals one in
a process of its own. Start with `store`, then `collection`.
"""
