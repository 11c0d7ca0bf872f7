"""Comparing pictures in full: a query with its candidates, in a few threads.

Searches and clusters both come in here. `verifier` reads local features, runs the verification of
`halftone.matching` within a deadline, and remembers what it read.
"""
