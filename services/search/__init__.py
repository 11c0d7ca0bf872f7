"""The search service: imports, searches, clusters, verdicts and promotions over one archive.

`api/` answers gRPC. It calls `query/` (searches), `clusters/` and `promotion/`, which do not know
each other. All of them use `archive/`, which holds the records and pictures, and the interface of
`store/`; searches and clusters compare pictures with `comparison/`. Start with `api/engine`.
"""
