"""`halftone eval`: how good model versions are.

`evaluate` is the command and judges versions on archives whose reprints are known, `figures` prints
what it found, and `press` prints pictures anew and searches for them (`--press`). Start with
`evaluate`.
"""
