"""Compares pictures in full: a query with its candidates, in a few threads.

Searches and clusters both use this room. `verifier` compares local features within a deadline and
remembers the outcomes; `calibrations` reads the calibration of each model version; `messages`
converts outcomes to the contract. Start with `verifier`.
"""
