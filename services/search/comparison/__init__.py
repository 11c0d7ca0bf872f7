"""Compares the local features of a query and its candidates, in a few threads.

Searches and clusters both use this room. `verifier` compares within a deadline and remembers the
outcomes; `calibrations` reads the calibration of each model version; `messages` converts outcomes
to messages of the contract. Start with `verifier`.
"""
