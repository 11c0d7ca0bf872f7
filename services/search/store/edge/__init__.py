"""The embedded store: collections of Qdrant Edge inside the search process.

A collection has one open part, which takes new points, and sealed parts with graphs; `build` builds
the graphs in a separate process. Start with `store`, then `collection`.
"""
