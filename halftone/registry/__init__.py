"""Model versions on disk: published once, verified, resolved, pointed at.

`versions.Registry` is the door: a directory of `name/number` folders and the pointer to the active
one. `golden` checks that a version still computes what it did when it was published. Needs no
torch.
"""
