"""The search service: imports, searches, clusters, verdicts and promotions over one archive.

`api/` answers gRPC; `query/`, `clusters/` and `promotion/` are the three things it does and do not
know each other; all use `comparison/` and `archive/`, which alone uses `store/`. Start with
`api/engine`.
"""
