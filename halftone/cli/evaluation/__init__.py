"""`halftone eval`: how good model versions are.

`evaluate` is the command and judges versions on archives whose reprints are known, `figures` prints
what it found, `press` prints pictures anew and searches for them (`--press`), and `furniture` lays
them into frames, covers and plates (`--furniture`). Start with `evaluate`.
"""
